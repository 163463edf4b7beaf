"""What waits to be written to the registry: counters that add up, and a bounded number of decisions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rlar_graph.registry.records import Decision, Outcome, Stamp, Usage
from rlar_graph.registry.workshop_records import Spend
from rlar_graph.scoring import Planned
from rlar_graph.types import Score

DECISIONS_WAITING = 10_000
"""Decisions kept while they cannot be written; the oldest make room."""
USAGE_WAITING = 1_000
"""Entries of usage after which they are added up, so that a registry that is away for hours fills no memory."""
REASON_CHARS = 160
REASONS_KEPT = 200
"""Kinds of abstention that one process tells apart; a reason may quote data, and the registry has to stay small."""
OTHER = "other reasons"
NUMBER = re.compile(r"(?<![\w.])\d[\d,.]*(?!\w)")


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written in one transaction."""

    stamp: Stamp
    """Makes it safe to write it again."""
    usage: Sequence[Usage]
    """What was asked of which version."""
    decisions: Sequence[Decision]
    """Verdicts to keep."""
    outcomes: Sequence[Outcome]
    """What it came to."""
    spend: Sequence[Spend]
    """What the language model was used for."""

    @property
    def completions(self) -> int:
        """Return how many completions it counts."""
        return sum(outcome.completions for outcome in self.outcomes)


class Waiting:
    """What was scored and is in no batch yet. One thread at a time."""

    def __init__(self) -> None:
        self.dropped = 0
        """Decisions that had to make room."""
        self._usage: list[Usage] = []
        self._decisions: list[Decision] = []
        self._outcomes: Counter[tuple[str, str | None, str | None]] = Counter()
        self._reasons: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._outcomes

    @property
    def completions(self) -> int:
        """Return how many completions wait."""
        return self._outcomes.total()

    def add(
        self,
        plan: Sequence[Planned],
        scores: Sequence[Sequence[Score]],
        usage: Iterable[Usage],
        decisions: Sequence[Decision],
    ) -> None:
        """Add what one batch of the trainer's came to."""
        self._usage += usage
        if len(self._usage) > USAGE_WAITING:
            self._usage = merge(self._usage)
        self._tally(plan, scores)
        if decisions:
            self._decisions += decisions
            beyond = len(self._decisions) - DECISIONS_WAITING
            if beyond > 0:
                del self._decisions[:beyond]
                self.dropped += beyond

    def take(self, stamp: Stamp, spend: Sequence[Spend]) -> Batch:
        """Return all that waits, and let nothing wait any more."""
        outcomes = [Outcome(*key, count) for key, count in self._outcomes.items()]
        batch = Batch(stamp, merge(self._usage), self._decisions, outcomes, spend)
        self._usage, self._decisions, self._outcomes = [], [], Counter()
        return batch

    def _tally(self, plan: Sequence[Planned], scores: Sequence[Sequence[Score]]) -> None:
        """Count outcomes by signature, tool and reason."""
        for planned, row in zip(plan, scores, strict=True):
            signature = planned.route.signature.key
            reasons = [score.abstained for score in row if score.abstained is not None]
            if len(row) > len(reasons):
                self._outcomes[signature, row[0].tool, None] += len(row) - len(reasons)
            for reason in reasons:
                self._outcomes[signature, row[0].tool, self._kind(reason)] += 1

    def _kind(self, reason: str) -> str:
        """Return a reason without its numbers, or :data:`OTHER` once there are too many kinds."""
        kind = NUMBER.sub("#", reason[:REASON_CHARS])
        if kind not in self._reasons:
            if len(self._reasons) >= REASONS_KEPT:
                return OTHER
            self._reasons.add(kind)
        return kind


def merge(usage: Sequence[Usage]) -> list[Usage]:
    """Add up what several batches of the same step asked of the same versions."""
    sums: dict[tuple[str, int, int | None], Usage] = {}
    for each in usage:
        key = (each.tool, each.version, each.step)
        before = sums.get(key)
        sums[key] = each if before is None else _sum(before, each)
    return list(sums.values())


def _sum(one: Usage, other: Usage) -> Usage:
    return replace(
        one,
        completions=one.completions + other.completions,
        abstentions=one.abstentions + other.abstentions,
        errors=one.errors + other.errors,
        seconds=one.seconds + other.seconds,
        total=one.total + other.total,
        squares=one.squares + other.squares,
    )
