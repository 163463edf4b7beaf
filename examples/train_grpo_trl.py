"""Train a small policy with TRL's GRPO on mixed tasks, ``AgentReward`` the only reward function.

Install with ``pip install . -r examples/train_requirements.txt``, then:

    python examples/train_grpo_trl.py --smoke                        # 2 steps of a random model, no download
    python examples/train_grpo_trl.py --model HuggingFaceTB/SmolLM2-135M-Instruct --rewards agent maths
    python examples/train_grpo_trl.py --model FOLDER --gguf smollm2-135m.gguf --threads 2   # weights in a GGUF file
    python examples/train_grpo_trl.py --model Qwen/Qwen3-0.6B --data mine.jsonl --held-out 200 --max-tokens 256
    ... --trainer use_vllm=true vllm_mode=colocate vllm_gpu_memory_utilization=0.3    # any other field of GRPOConfig

A GPU is used if there is one. ``--rewards`` names the arms, trained one after the other from the same weights, prompts
and seed: ``agent``, and two static rewards to compare with, ``maths`` (math-verify on everything) and ``overlap``
(words shared with the reference). OUT then holds ``untrained.json``; for each arm ``trained.json`` (held-out accuracy
by kind of task, every completion), ``steps.csv`` and ``log.json``; and ``curves.png`` over all arms in OUT.

Ctrl-C ends after the step under way and saves; the same command with ``--resume`` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from held_out import Decoding, difference, examine
from math_verify import parse, verify
from mixed_tasks import Task, load_tasks, make_tasks
from training_curves import draw, write_steps
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from rlar_graph import AgentReward, Settings
from rlar_graph.types import completion_text

ARMS = ("agent", "maths", "overlap")


def maths(completions: Sequence[Any], reference: Sequence[object], **columns: object) -> list[float]:
    """Reward without routing: math-verify on whatever comes; what it cannot read is 0."""
    return [
        float(verify(parse(str(right)), parse(completion_text(said))))
        for said, right in zip(completions, reference, strict=True)
    ]


def overlap(completions: Sequence[Any], reference: Sequence[object], **columns: object) -> list[float]:
    """Reward without routing: F1 of the words that completion and reference share."""
    values = []
    for said, right in zip(completions, reference, strict=True):
        words, wanted = (Counter(text.lower().split()) for text in (completion_text(said), str(right)))
        values.append(2 * (words & wanted).total() / max(1, words.total() + wanted.total()))
    return values


class StopOnInterrupt(TrainerCallback):  # type: ignore[misc]
    """The first Ctrl-C ends training after the step under way, with a checkpoint; the second one ends it at once."""

    stopped = False

    def _stop(self, *_: object) -> None:
        self.stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("stopping after this step; Ctrl-C again stops at once", flush=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Listen for Ctrl-C."""
        signal.signal(signal.SIGINT, self._stop)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave Ctrl-C as it was."""
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask the trainer to save and to stop."""
        if self.stopped:
            control.should_save = control.should_training_stop = True


def load_policy(args: argparse.Namespace) -> tuple[Any, Any]:
    """Return the policy, its weights in float32, and its tokenizer."""
    extra = {"gguf_file": args.gguf} if args.gguf else {}
    tokenizer = AutoTokenizer.from_pretrained(args.model, padding_side="left", **extra)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, **extra)
    if args.gguf:  # they are plain numbers now, and saved as such
        model.hf_quantizer, model.is_quantized = None, False
        del model.config.quantization_config
    if args.train_layers is not None:
        model.requires_grad_(False)
        model.get_decoder().layers[-args.train_layers :].requires_grad_(True)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def configure(args: argparse.Namespace, folder: Path) -> GRPOConfig:
    """Return the trainer's options; ``--trainer`` has the last word."""
    size = args.prompts * args.generations
    micro_batch = min(size, args.micro_batch)
    if size % micro_batch:
        raise SystemExit(f"--micro-batch {micro_batch} does not divide the {size} completions of a step")
    options = {
        "output_dir": str(folder),
        "max_steps": args.steps,
        "num_generations": args.generations,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": size // micro_batch,
        "max_completion_length": args.max_tokens,
        "temperature": args.temperature,
        "learning_rate": args.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": min(10, args.steps // 4),
        "seed": args.seed,
        "bf16": args.bf16,
        "gradient_checkpointing": False,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "log_completions": True,  # also the source of steps.csv
        "num_completions_to_print": 2,
        "report_to": "none",
        "save_steps": args.save_steps,
        "save_total_limit": 1,
        "disable_tqdm": True,
    }
    for setting in args.trainer:
        name, _, value = setting.partition("=")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return GRPOConfig(**options)


def train(name: str, args: argparse.Namespace, tasks: Sequence[Task], held_out: Sequence[Task]) -> bool:
    """Train one arm and examine it before (once for all arms) and after; say whether it went to its end."""
    folder, before = args.out / name, args.out / "untrained.json"
    if args.resume and (folder / "trained.json").exists():
        return True
    if not args.resume and folder.exists():
        raise SystemExit(f"{folder} holds a run: go on with --resume, or name another --out")
    model, tokenizer = load_policy(args)
    how = Decoding(
        args.max_tokens, args.eval_samples, args.temperature, batch=40, seed=args.seed, bf16=args.bf16
    )
    rows = Dataset.from_list([dict(task) for task in tasks])
    measured = f"sqlite:///{args.out / 'measured.db'}"  # so that the registry shows what trained, and no more
    with (
        AgentReward(Settings.load(registry_url=args.registry)) as reward,
        AgentReward(Settings.load(registry_url=measured)) as judge,
    ):
        if not before.exists():
            write_json(before, examine(model, tokenizer, held_out, judge, how))
        stop = StopOnInterrupt()
        trainer = GRPOTrainer(
            model=model,
            reward_funcs={"agent": reward, "maths": maths, "overlap": overlap}[name],
            args=configure(args, folder),
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[stop],
        )
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)) if args.resume else None)
        write_json(folder / "log.json", trainer.state.log_history)
        write_steps(folder, tasks, judge, trainer.reward_func_names[0])
        if stop.stopped:
            print(f"{name} stopped at step {trainer.state.global_step}; the same with --resume goes on")
            return False
        write_json(folder / "trained.json", examine(model, tokenizer, held_out, judge, how))
    if args.save_model:
        trainer.save_model(str(folder / "model"))
    return True


def write_json(path: Path, content: object) -> None:
    """Write a file of figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def report(out: Path) -> None:
    """Print held-out accuracy of every policy in a folder, and what training changed in it."""
    untrained = json.loads((out / "untrained.json").read_text(encoding="utf-8"))
    for path in [out / "untrained.json", *sorted(out.glob("*/trained.json"))]:
        found = json.loads(path.read_text(encoding="utf-8"))
        change, low, high = difference(untrained, found)
        name = f"{path.parent.name}: {change:+.3f} [{low:+.3f}, {high:+.3f}] in what it samples"
        print(name if path.parent != out else "untrained")
        for kind, figures in found["by_kind"].items():
            low, high = figures["greedy_95"]
            print(
                f"  {kind:12} sampled {figures['sampled']:.3f} of {figures['sampled_n']},"
                f" greedy {figures['greedy']:.3f} [{low:.2f}, {high:.2f}] of {figures['n']}"
            )


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="name on the Hub, or folder")
    add("--gguf", help="file in it to read the weights from")
    add("--rewards", nargs="+", choices=ARMS, default=["agent"], help="arms to train")
    add("--data", type=Path, help="your own prompts, JSON lines; by default made tasks of four kinds")
    add("--held-out", type=int, default=50, help="held-out tasks: of each kind, or of --data in all")
    add("--out", type=Path, default=Path("grpo-run"), help="folder for figures and checkpoints")
    add("--registry", help="registry URL; by default rlar.db in OUT")
    add("--steps", type=int, default=200)
    add("--prompts", type=int, default=8, help="prompts of a step")
    add("--generations", type=int, default=8, help="completions of a prompt")
    add("--micro-batch", type=int, default=32, help="completions of one backward pass")
    add("--max-tokens", type=int, default=32, help="longest completion")
    add("--temperature", type=float, default=1.0)
    add("--learning-rate", type=float, default=1e-5)
    add("--train-layers", type=int, help="train the last so many layers only: half the time on a CPU")
    add("--eval-samples", type=int, default=4, help="sampled completions of a held-out prompt")
    add("--save-steps", type=int, default=50)
    add("--save-model", action="store_true", help="keep the trained weights")
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="of the CPU")
    add("--bf16", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    add("--trainer", nargs="*", default=[], metavar="FIELD=VALUE", help="further fields of GRPOConfig")
    add("--resume", action="store_true", help="go on from the last checkpoint in OUT")
    add("--smoke", action="store_true", help="2 steps of a random tiny model")
    return parser.parse_args()


def main() -> None:
    """Train the arms that were asked for, and show what came of it."""
    args = arguments()
    args.registry = args.registry or f"sqlite:///{args.out / 'rlar.db'}"
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.smoke:
        from rlar_graph.testing.models import make_model

        words = "the answer is a number , letter or def f ( x ) : return 1 2 3 4 5 6 7 8 9"
        args.model, args.gguf = make_model(args.out / "tiny", [words], kind="words"), None
        args.steps, args.held_out, args.max_tokens, args.prompts, args.generations = 2, 2, 8, 4, 2
    split = make_tasks(args.held_out, args.seed)
    if args.data:
        split = load_tasks(args.data, args.held_out, args.seed)
    if all(train(name, args, *split) for name in args.rewards):
        report(args.out)
    print(f"curves: {draw(args.out) or 'none, matplotlib is not installed'}")
    if "agent" in args.rewards:
        print(
            f"the tools, and what they did: rlar report --registry {args.registry} --out {args.out}/report.html"
        )


if __name__ == "__main__":
    main()
