"""Tokens per second of a served reward model, beside a padded pipeline and the model's own bare forward pass.

    python benchmarks/reward_model.py                 # shapes that suit this machine
    python benchmarks/reward_model.py --shape 8b      # Qwen3-8B's shape, on a GPU

Weights are random: speed does not hang on them. Completions have mixed lengths, as rollouts do. Counted are real
tokens, padding not among them. *Ceiling* is the bare forward pass on tensors that are ready, in full batches sorted by
length; *pipeline* is transformers' own, with padding, in the order the completions come. On a CPU one thread computes
and its own seconds are counted, on a GPU the clock's.

Needs the extra ``local``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from rlar_graph.rewards.model_batches import planned
from rlar_graph.rewards.model_process import LoadOrder, ModelProcess
from rlar_graph.testing_models import TEMPLATE, make_tokenizer

WORDS = [f"w{number}" for number in range(4_000)]
PROMPT_WORDS = 40


@dataclass(frozen=True, slots=True)
class Shape:
    """A network's shape and the work it is given."""

    hidden: int
    """Size of its hidden states."""
    inner: int
    """Size of its feed-forward layers."""
    layers: int
    """Its layers."""
    heads: int
    """Its attention heads."""
    groups: int
    """Its key and value heads."""
    words: int
    """Its vocabulary."""
    completions: int
    """Completions to read."""
    median: int
    """Median tokens of a completion; a few are eight times as long."""
    tokens: int
    """Tokens of a batch."""
    rows: int
    """Batch size of the pipeline."""


SHAPES = {
    "small": Shape(256, 768, 4, 4, 2, 8_000, 240, 60, 4_096, 32),
    "0.6b": Shape(1_024, 3_072, 28, 16, 8, 151_936, 2_048, 250, 32_768, 32),
    "8b": Shape(4_096, 12_288, 36, 32, 8, 151_936, 768, 250, 32_768, 32),
}


def made(shape: Shape, folder: Path, dtype: str) -> None:
    """Save a network of a shape with random weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = make_tokenizer([" ".join(WORDS)], TEMPLATE)
    tokenizer.model_max_length = 16_384
    config = Qwen3Config(
        vocab_size=shape.words,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        head_dim=shape.hidden // shape.heads if shape.hidden < 1_024 else 128,
        max_position_embeddings=16_384,
        pad_token_id=0,
        num_labels=1,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = Qwen3ForSequenceClassification(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def work(shape: Shape) -> list[tuple[str, str]]:
    """Return prompts and completions of mixed lengths, four completions a prompt."""
    random = Random(0)
    pairs = []
    for number in range(shape.completions):
        if number % 4 == 0:
            prompt = " ".join(random.choices(WORDS, k=PROMPT_WORDS))
        length = min(8 * shape.median, max(1, int(random.lognormvariate(0, 0.8) * shape.median)))
        pairs.append((prompt, " ".join(random.choices(WORDS, k=length))))
    return pairs


def fastest(
    runs: int, calls: Mapping[str, Callable[[], object]], clock: Callable[[], float]
) -> dict[str, float]:
    """Return the seconds of each call's fastest run; they take turns, so that a busy moment hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            began = clock()
            call()
            found[name].append(clock() - began)
    return {name: min(times) for name, times in found.items()}


def processor_seconds(pid: int) -> float:
    """Return the seconds that this process and another have spent computing: other work on the machine is left out."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Rivals:
    """What the served model is compared with."""

    bare: Callable[[], None]
    """The bare forward pass."""
    pipeline: Callable[[], None]
    """transformers' pipeline."""
    tokens: int
    """Real tokens of the work."""


def rivals(shape: Shape, folder: Path, pairs: list[tuple[str, str]], dtype: str) -> Rivals:
    """Return the rivals, loaded and warm."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.to(device).eval()
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}], tokenize=False
        )
        for prompt, text in pairs
    ]
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    batches = []
    for members in planned([len(row) for row in rows], shape.tokens):
        some = {"input_ids": [rows[index] for index in members]}
        padded = tokenizer.pad(some, return_tensors="pt").to(device)
        batches.append((padded["input_ids"], padded["attention_mask"]))

    def bare() -> None:
        with torch.inference_mode():
            found = [
                model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
                for tokens, mask in batches
            ]
            torch.cat(found).float().cpu()  # waits for the GPU

    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device)

    def padded_pipeline() -> None:
        with torch.inference_mode():
            classify(texts, batch_size=shape.rows, padding=True, function_to_apply="none")

    bare()
    return Rivals(bare, padded_pipeline, sum(map(len, rows)))


def measured(name: str, runs: int) -> dict[str, object]:
    """Return the figures of one shape."""
    import torch

    shape, gpu = SHAPES[name], torch.cuda.is_available()
    dtype = "bfloat16" if gpu else "float32"
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    pairs = work(shape)
    with tempfile.TemporaryDirectory() as place:
        made(shape, Path(place), dtype)
        others = rivals(shape, Path(place), pairs, dtype)
        order = LoadOrder(
            place, "scalar", "chat", 16_384, (48 if gpu else 8) << 30, dtype, tokens=shape.tokens
        )
        process = ModelProcess(order)
        try:
            process.read(pairs)
            calls = {"ours": lambda: process.read(pairs), "ceiling": others.bare, "pipeline": others.pipeline}
            clock = time.perf_counter if gpu else partial(processor_seconds, process.pid)
            seconds = fastest(runs, calls, clock)
        finally:
            process.close()
    return {
        "shape": name,
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "dtype": dtype,
        "completions": len(pairs),
        "tokens": others.tokens,
        **{f"{who}_tokens_per_second": round(others.tokens / some) for who, some in seconds.items()},
        "of_the_ceiling": round(seconds["ceiling"] / seconds["ours"], 3),
        "times_the_pipeline": round(seconds["pipeline"] / seconds["ours"], 2),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", choices=SHAPES, action="append", help="by default small on a CPU, all on a GPU"
    )
    parser.add_argument("--runs", type=int, default=3, help="the fastest of so many runs counts")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args()
    # One thread for all three, so that a busy machine's scheduler does not decide between them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    shapes = options.shape or (["0.6b", "8b"] if torch.cuda.is_available() else ["small"])
    for name in shapes:
        found = measured(name, options.runs)
        if options.json:
            print(json.dumps(found))
            continue
        print(f"{found['shape']} on {found['device']}, {found['dtype']}: {found['tokens']} tokens")
        for who in ("ours", "ceiling", "pipeline"):
            print(f"  {who:<9}{found[f'{who}_tokens_per_second']:>9} tokens/s")
        print(f"  {found['of_the_ceiling']} of the ceiling, {found['times_the_pipeline']} times the pipeline")


if __name__ == "__main__":
    main()
