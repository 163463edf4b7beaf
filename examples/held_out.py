"""What a policy can do: its answers to held-out prompts, judged by the evidence of each prompt.

Verdicts are those of :class:`rlar_graph.AgentReward`: tests are run, constraints checked, answers compared. For the
made tasks a plain rule that shares no code with it is reported beside them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mixed_tasks
import torch

from rlar_graph import AgentReward
from rlar_graph.types import Score


@dataclass(frozen=True, slots=True)
class Decoding:
    """How completions are made; the same for every policy that is to be compared."""

    max_tokens: int
    """Longest completion."""
    samples: int
    """Completions sampled for each prompt, besides the greedy one."""
    temperature: float
    """Temperature of the sampled ones."""
    batch: int
    """Prompts at a time."""
    seed: int
    """Seed of the sampling."""
    bf16: bool
    """Whether the forward pass runs in bfloat16."""


def examine(
    model: Any, tokenizer: Any, tasks: Sequence[mixed_tasks.Task], reward: AgentReward, how: Decoding
) -> dict[str, Any]:
    """Return accuracy by kind of task under ``by_kind``, and each task with its completions and values.

    Args:
        model: The policy.
        tokenizer: Its tokenizer, which pads on the left.
        tasks: Held-out tasks.
        reward: Gives the verdicts.
        how: How completions are made.
    """
    said = complete(model, tokenizer, [task["prompt"] for task in tasks], how)
    scores = reward.score([dict(task, completions=texts) for task, texts in zip(tasks, said, strict=True)])
    by_kind: dict[str, list[tuple[mixed_tasks.Task, list[str], list[Score]]]] = defaultdict(list)
    for item in zip(tasks, said, scores, strict=True):
        by_kind[str(item[0]["task"])].append(item)
    items = [
        {"task": task["task"], "prompt": task["prompt"], "completions": texts}
        | {"values": [score.value for score in row]}
        for task, texts, row in zip(tasks, said, scores, strict=True)
    ]
    return {"by_kind": {kind: _accuracy(rows) for kind, rows in by_kind.items()}, "items": items}


def complete(model: Any, tokenizer: Any, prompts: Sequence[Any], how: Decoding) -> list[list[str]]:
    """Return for each prompt the greedy completion first, then those sampled with a fixed seed."""
    torch.manual_seed(how.seed)
    model.eval()
    said: list[list[str]] = []
    for start in range(0, len(prompts), how.batch):
        inputs = tokenizer.apply_chat_template(
            list(prompts[start : start + how.batch]),
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        ).to(model.device)
        greedy = _generate(model, tokenizer, inputs, how, {"do_sample": False})
        sampling = {"do_sample": True, "temperature": how.temperature, "top_k": 0, "top_p": 1.0}
        texts = _generate(model, tokenizer, inputs, how, {**sampling, "num_return_sequences": how.samples})
        for index, first in enumerate(greedy):
            said.append([first, *texts[index * how.samples : (index + 1) * how.samples]])
    return said


def _generate(
    model: Any, tokenizer: Any, inputs: Mapping[str, Any], how: Decoding, options: Mapping[str, Any]
) -> list[str]:
    with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=how.bf16):
        ids = model.generate(
            **inputs, **options, max_new_tokens=how.max_tokens, pad_token_id=tokenizer.pad_token_id
        )
    texts: list[str] = tokenizer.batch_decode(
        ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return texts


def _accuracy(rows: Sequence[tuple[mixed_tasks.Task, list[str], list[Score]]]) -> dict[str, Any]:
    """Return the figures of one kind; what was not judged counts as wrong, and is counted."""
    greedy = [is_right(scores[0]) for _, _, scores in rows]
    sampled = [is_right(score) for _, _, scores in rows for score in scores[1:]]
    plain = [mixed_tasks.plainly_right(task, texts[0]) for task, texts, _ in rows]
    return {
        "n": len(rows),
        "greedy": sum(greedy) / len(greedy),
        "greedy_95": wilson(sum(greedy), len(greedy)),
        "sampled": sum(sampled) / len(sampled),
        "sampled_n": len(sampled),
        "abstained": sum(score.value is None for _, _, scores in rows for score in scores),
        "greedy_by_plain_rule": None if None in plain else sum(map(bool, plain)) / len(plain),
    }


def is_right(score: Score) -> bool:
    """Say whether a verdict calls a completion right."""
    return score.value is not None and score.value >= 0.5


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson)."""
    z2 = 1.96**2
    middle = right + z2 / 2
    half = (z2 * (right * (count - right) / count + z2 / 4)) ** 0.5
    return (middle - half) / (count + z2), (middle + half) / (count + z2)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return by how much two policies differ in the share of right sampled completions, and a 95 % interval of it.

    The interval is a bootstrap over the prompts, which both have answered.

    Args:
        before: What :func:`examine` returned for one policy.
        after: The same for the other one.
    """
    shares = [
        [
            sum((value or 0) >= 0.5 for value in item["values"][1:]) / len(item["values"][1:])
            for item in found["items"]
        ]
        for found in (before, after)
    ]
    gains = [new - old for old, new in zip(*shares, strict=True)]
    chooser = random.Random(0)  # noqa: S311 - a bootstrap, not a secret
    means = sorted(sum(chooser.choices(gains, k=len(gains))) / len(gains) for _ in range(2000))
    return sum(gains) / len(gains), means[49], means[1949]
