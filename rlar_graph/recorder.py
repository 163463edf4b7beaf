"""What was scored, on its way to the registry: counters, sampled decisions, drift, cost, written now and then.

A registry transaction costs about half a millisecond; trainers that score one completion a call would pay it every
time. So what is due is kept here and written at most once a second. A killed process loses that second's counters.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rlar_graph.drift import DriftMonitor
from rlar_graph.errors import RegistryError, UnknownTool
from rlar_graph.registry.records import Decision, Outcome, Usage
from rlar_graph.resources import Resources
from rlar_graph.scoring import Planned
from rlar_graph.types import Score

if TYPE_CHECKING:
    from rlar_graph.llm.ledger import Usage as Spent

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
RETRY_SECONDS = 5.0
"""Wait after a write that failed: a server that is gone may take seconds to say so."""
DECISIONS_WAITING = 10_000
"""Decisions kept while they cannot be written; the oldest make room."""
REASON_CHARS = 160
REASONS_KEPT = 200
"""Kinds of abstention that one process tells apart; a reason may quote data, and the registry has to stay small."""
OTHER = "other reasons"
NUMBER = re.compile(r"(?<![\w.])\d[\d,.]*(?!\w)")


class Recorder:
    """Collects usage and decisions. Safe to share between threads.

    Args:
        resources: Where the registry is, and the share of rollouts to keep as decisions.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._threshold = int(resources.settings.decision_sample * 2**32)
        self._lock = threading.Lock()
        self._usage: list[Usage] = []
        self._decisions: list[Decision] = []
        self._outcomes: Counter[tuple[str, str | None, str | None]] = Counter()
        self._reasons: set[str] = set()
        self._due = time.monotonic() + FLUSH_SECONDS
        self._monitor: DriftMonitor | None = None
        self._accounting = threading.Lock()
        self._spent: Mapping[str, Spent] = {}

    @property
    def monitor(self) -> DriftMonitor:
        """What watches the tools for drift."""
        if self._monitor is None:
            self._monitor = DriftMonitor(self._resources.registry)
        return self._monitor

    def record(
        self,
        plan: Sequence[Planned],
        scores: Sequence[Sequence[Score]],
        usage: Sequence[Usage],
        step: int | None = None,
    ) -> None:
        """Keep what one batch of the trainer's step came to, and write it if a second has passed.

        No score depends on it, so what cannot be written now is tried again later.
        """
        sampled = [
            decision
            for planned, row in zip(plan, scores, strict=True)
            if self._is_sampled(planned.rollout.prompt)
            for decision in _decisions(planned, row)
        ]
        self.monitor.observe_batch(scores)
        with self._lock:
            self._usage += [replace(each, step=step) for each in usage]
            self._tally(plan, scores)
            self._decisions += sampled
            due = time.monotonic() >= self._due
        if due:
            try:
                self.flush()
            except RegistryError as error:
                # The trainer's own batch is scored and must not be lost for the sake of our counters.
                log.warning("what was scored is written later: %s", error)

    def flush(self) -> None:
        """Write everything that is due.

        Raises:
            RegistryError: The registry cannot be written; what was due stays due.
        """
        with self._lock:
            usage, self._usage = self._usage, []
            decisions, self._decisions = self._decisions, []
            tally, self._outcomes = self._outcomes, Counter()
            self._due = time.monotonic() + FLUSH_SECONDS
        outcomes = [Outcome(*key, count) for key, count in tally.items()]
        try:
            if usage or outcomes:
                self._resources.registry.record(merge(usage), decisions, outcomes)
        except UnknownTool:
            raise  # another registry lies there now: what the old one's tools did has no place in it
        except RegistryError:
            with self._lock:
                self._usage = [*merge(usage), *self._usage]
                self._decisions = [*decisions, *self._decisions][-DECISIONS_WAITING:]
                self._outcomes += tally
                self._due = time.monotonic() + RETRY_SECONDS
            raise
        self._keep_spend()
        if self._monitor is not None:
            self._monitor.look()

    def close(self) -> None:
        """Write everything that is due, when the language model is about to be closed; see :meth:`flush`."""
        self.flush()
        self._spent = {}

    def _keep_spend(self) -> None:
        """Add what the language model was used for since the last time to the registry's account."""
        with self._accounting:
            spent = self._resources.spent()
            if spent == self._spent:
                return
            from rlar_graph.registry.workshop_records import Spend

            new = {
                role: used - self._spent[role] if role in self._spent else used
                for role, used in spent.items()
            }
            self._resources.registry.spend(
                [
                    Spend(
                        role, used.calls, used.prompt_tokens, used.completion_tokens, used.seconds, used.cost
                    )
                    for role, used in new.items()
                    if used.calls
                ]
            )
            self._spent = spent

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

    def _is_sampled(self, prompt: str) -> bool:
        """Pick prompts by a hash, so that a replay keeps the same ones."""
        return self._threshold > 0 and zlib.crc32(prompt.encode("utf-8", "surrogatepass")) < self._threshold


def merge(usage: Sequence[Usage]) -> list[Usage]:
    """Add up what several batches of the same step asked of the same versions."""
    sums: dict[tuple[str, int, int | None], Usage] = {}
    for each in usage:
        key = (each.tool, each.version, each.step)
        before = sums.get(key)
        sums[key] = (
            each
            if before is None
            else Usage(
                each.tool,
                each.version,
                before.completions + each.completions,
                before.abstentions + each.abstentions,
                before.errors + each.errors,
                before.seconds + each.seconds,
                before.total + each.total,
                before.squares + each.squares,
                each.step,
            )
        )
    return list(sums.values())


def _decisions(planned: Planned, row: Sequence[Score]) -> list[Decision]:
    """Return one decision per completion of a sampled rollout."""
    rollout = planned.rollout
    prompt_hash = hashlib.sha256(rollout.prompt.encode("utf-8", "surrogatepass")).hexdigest()
    return [
        Decision(
            signature=planned.route.signature.key,
            prompt_hash=prompt_hash,
            rollout_id=rollout.id,
            family=rollout.data_source,
            tool=score.tool,
            version=score.version,
            value=score.value,
            abstained=score.abstained,
            excerpt=completion[:500],
        )
        for completion, score in zip(rollout.completions, row, strict=True)
    ]
