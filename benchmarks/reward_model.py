"""Tokens per second of a served reward model, beside a padded pipeline and the model's own bare forward pass.

    python benchmarks/reward_model.py                               # shapes that suit this machine
    python benchmarks/reward_model.py --shape 8b                    # Qwen3-8B's shape, on a GPU
    python benchmarks/reward_model.py --shape 8b --layers 2 --words 8000 --completions 16    # does it run at all?

Weights are random: speed does not hang on them. Lengths are those of rollouts in RL: eight completions a prompt,
log-normal with a standard deviation of 1 of their logarithm, between an eighth and eight times the median (32 to 2048
tokens at the GPU shapes), prompts of a quarter of the median. Counted are real tokens, padding not among them.

*Ceiling* is the bare forward pass on tensors that are ready, in full batches sorted by length, at the fastest of three
batch sizes. *Pipeline* is transformers' own, with padding, in the order the completions come; *allowed* is how many
times as many tokens it computes as there are. On a CPU one thread computes and its own seconds are counted, on a GPU
the clock's.

Needs the extra ``local``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from rlar_graph.rewards.model_batches import planned
from rlar_graph.rewards.model_process import LoadOrder, ModelProcess
from rlar_graph.testing.models import TEMPLATE, make_tokenizer

WORDS = [f"w{number}" for number in range(4_000)]
GROUP = 8
"""Completions of a prompt."""
LONGEST = 8
"""How many times the median the longest completion has, and the median the shortest."""


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
    """Median tokens of a completion."""
    tokens: int | None = None
    """Tokens of a batch; None for what is used where nothing is set."""
    rows: int = 32
    """Batch size of the pipeline."""


SHAPES = {
    "small": Shape(256, 768, 4, 4, 2, 8_000, 256, 64),
    "0.6b": Shape(1_024, 3_072, 28, 16, 8, 151_936, 2_048, 256),
    "8b": Shape(4_096, 12_288, 36, 32, 8, 151_936, 768, 256),
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
    """Return prompts and completions of mixed lengths, eight completions a prompt."""
    random = Random(0)
    pairs = []
    for number in range(shape.completions):
        if number % GROUP == 0:
            prompt = " ".join(random.choices(WORDS, k=_length(random, shape.median // 4)))
        pairs.append((prompt, " ".join(random.choices(WORDS, k=_length(random, shape.median)))))
    return pairs


def _length(random: Random, median: int) -> int:
    return round(min(LONGEST * median, max(median / LONGEST, random.lognormvariate(0, 1) * median)))


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

    bare: Mapping[int, Callable[[], None]]
    """The bare forward pass, by tokens of a batch."""
    pipeline: Callable[[], None]
    """transformers' pipeline."""
    tokens: int
    """Real tokens of the work."""
    padded: int
    """Tokens that the pipeline computes."""


def rivals(shape: Shape, folder: Path, pairs: list[tuple[str, str]], dtype: str) -> Rivals:
    """Return the rivals, loaded and warm."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from rlar_graph.rewards.network import TOKENS_CPU, TOKENS_GPU

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
    budget = shape.tokens or (TOKENS_GPU if device.type == "cuda" else TOKENS_CPU)

    def bare(tokens: int) -> Callable[[], None]:
        batches = []
        for members in planned([len(row) for row in rows], tokens):
            some = {"input_ids": [rows[index] for index in members]}
            padded = tokenizer.pad(some, return_tensors="pt").to(device)
            batches.append((padded["input_ids"], padded["attention_mask"]))

        def forward() -> None:
            with torch.inference_mode():
                found = [
                    model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
                    for tokens, mask in batches
                ]
                torch.cat(found).float().cpu()  # waits for the GPU

        return forward

    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device)

    def padded_pipeline() -> None:
        with torch.inference_mode():
            classify(texts, batch_size=shape.rows, padding=True, function_to_apply="none")

    parts = [rows[start : start + shape.rows] for start in range(0, len(rows), shape.rows)]
    padded = sum(len(part) * max(map(len, part)) for part in parts)
    sizes = {tokens: bare(tokens) for tokens in (budget // 2, budget, 2 * budget)}
    sizes[budget]()
    return Rivals(sizes, padded_pipeline, sum(map(len, rows)), padded)


def measured(name: str, shape: Shape, runs: int, exact: bool | None, dtype: str | None) -> dict[str, object]:
    """Return the figures of one shape."""
    import torch

    gpu = torch.cuda.is_available()
    dtype = dtype or ("bfloat16" if gpu else "float32")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    pairs = work(shape)
    with tempfile.TemporaryDirectory() as place:
        made(shape, Path(place), dtype)
        others = rivals(shape, Path(place), pairs, dtype)
        limit = (48 if gpu else 8) << 30
        order = LoadOrder(place, "scalar", "chat", 16_384, limit, dtype, tokens=shape.tokens, exact=exact)
        process = ModelProcess(order)
        try:
            process.read(pairs)
            calls: dict[str, Callable[[], object]] = {"ours": lambda: process.read(pairs)}
            calls |= {f"ceiling {tokens}": call for tokens, call in others.bare.items()}
            calls["pipeline"] = others.pipeline
            clock = time.perf_counter if gpu else partial(processor_seconds, process.pid)
            seconds = fastest(runs, calls, clock)
        finally:
            process.close()
    best = min((who for who in seconds if who.startswith("ceiling")), key=lambda who: seconds[who])
    shown = {"ours": seconds["ours"], "ceiling": seconds[best], "pipeline": seconds["pipeline"]}
    return {
        "shape": name,
        "layers": shape.layers,
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "dtype": dtype,
        "exact": bool(process.told["exact"]),
        "completions": len(pairs),
        "tokens": others.tokens,
        **{f"{who}_tokens_per_second": round(others.tokens / some) for who, some in shown.items()},
        "ceiling_batch_tokens": int(best.split()[1]),
        "of_the_ceiling": round(shown["ceiling"] / shown["ours"], 3),
        "times_the_pipeline": round(shown["pipeline"] / shown["ours"], 2),
        "allowed": round(others.padded / others.tokens, 2),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", choices=SHAPES, action="append", help="by default small on a CPU, all on a GPU"
    )
    parser.add_argument("--layers", type=int, help="fewer layers, to see that a large shape runs")
    parser.add_argument("--words", type=int, help="a smaller vocabulary, for the same")
    parser.add_argument("--completions", type=int, help="other than the shape's")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--exact", action=argparse.BooleanOptionalAction, help="16-bit floats one by one")
    parser.add_argument("--runs", type=int, default=3, help="the fastest of so many runs counts")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args()
    # One thread for all three, so that a busy machine's scheduler does not decide between them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    shapes = options.shape or (["0.6b", "8b"] if torch.cuda.is_available() else ["small"])
    for name in shapes:
        asked = {field: getattr(options, field) for field in ("layers", "words", "completions")}
        shape = replace(SHAPES[name], **{field: number for field, number in asked.items() if number})
        found = measured(name, shape, options.runs, options.exact, options.dtype)
        if options.json:
            print(json.dumps(found))
            continue
        print(f"{found['shape']} on {found['device']}, {found['dtype']}: {found['tokens']} tokens")
        for who in ("ours", "ceiling", "pipeline"):
            print(f"  {who:<9}{found[f'{who}_tokens_per_second']:>9} tokens/s")
        print(
            f"  {found['of_the_ceiling']} of the ceiling, {found['times_the_pipeline']} times the pipeline,"
            f" which computes {found['allowed']} times the tokens"
        )


if __name__ == "__main__":
    main()
