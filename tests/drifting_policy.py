"""A policy in training, as far as it matters to a grader: it writes numbers, and does more of what was rewarded."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.registry import Provenance
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.types import Rollout, Score

FAMILY = "source:multiples"
TOOL = "of-the-house"
GROUP = 8
WAYS = ("try", "nought")
"""What it may do: try, with the skill it has, or write 0, which is divisible by everything."""


class Policy:
    """Chooses among :data:`WAYS` by the group-relative policy gradient, and gets better at trying meanwhile."""

    def __init__(self, seed: int, *, prompts: int = 24, rate: float = 1.0) -> None:
        self._chance = random.Random(seed)  # noqa: S311
        self._prompts, self._rate = prompts, rate
        self.skill = 0.3
        self.logits = [0.0, -4.0]
        self._chosen: list[list[int]] = []

    def shares(self) -> list[float]:
        total = sum(map(math.exp, self.logits))
        return [math.exp(logit) / total for logit in self.logits]

    def rollouts(self) -> list[Rollout]:
        self._chosen = [
            self._chance.choices(range(len(WAYS)), self.shares(), k=GROUP) for _ in range(self._prompts)
        ]
        return [self._rollout(ways) for ways in self._chosen]

    def learn(self, scores: Sequence[Sequence[Score]]) -> None:
        gradient = [0.0] * len(WAYS)
        shares = self.shares()
        for ways, row in zip(self._chosen, scores, strict=True):
            values = [score.value or 0.0 for score in row]
            mean = sum(values) / GROUP
            spread = math.sqrt(sum((value - mean) ** 2 for value in values) / GROUP) + 1e-4
            for chosen, value in zip(ways, values, strict=True):
                for way, share in enumerate(shares):
                    gradient[way] += (value - mean) / spread * ((way == chosen) - share)
        self.skill = min(0.8, self.skill + 0.003)
        count = GROUP * self._prompts
        self.logits = [
            logit + self._rate * each / count for logit, each in zip(self.logits, gradient, strict=True)
        ]

    def _rollout(self, ways: Sequence[int]) -> Rollout:
        digits, divisor = self._chance.randint(3, 6), self._chance.randint(3, 19)
        prompt = f"Write one whole number of exactly {digits} digits that is divisible by {divisor}. Only the digits."
        low, high = 10 ** (digits - 1), 10**digits - 1
        right = [self._chance.randint(-(-low // divisor), high // divisor) * divisor for _ in ways]
        tried = [number if self._chance.random() < self.skill else number + 1 for number in right]
        texts = tuple(
            "0" if WAYS[way] == "nought" else str(number) for way, number in zip(ways, tried, strict=True)
        )
        return Rollout(prompt, texts, data_source="multiples")


def exactly(rollouts: Sequence[Rollout]) -> list[list[float | None]]:
    """Audit by the rule itself, written apart from any verifier."""
    found: list[list[float | None]] = []
    for rollout in rollouts:
        digits, divisor = map(int, re.findall(r"\d+", rollout.prompt)[:2])
        found.append(
            [
                float(len(text) == digits and not text.startswith("0") and int(text) % divisor == 0)
                for text in rollout.completions
            ]
        )
    return found


def register(registry: Registry, source: str) -> None:
    """Have a verifier of the user's own serve the family, whatever a gate would have said of it."""
    report = AdmissionReport(TOOL, "verifier", "", False, {}, "", 0.0, (Check("by hand", True),))
    registry.adopt(
        ToolSpec(TOOL, "verifier", "The user's own."),
        source=source,
        provenance=Provenance("user"),
        report=report,
        keys=[FAMILY],
    )
