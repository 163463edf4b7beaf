"""What was scored, on its way to the registry: counters, sampled decisions, drift, written together now and then.

A registry transaction costs about half a millisecond; trainers that score one completion a call would pay it every
time. So what is due is kept here and written at most once a second. A killed process loses that second's counters.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zlib
from collections.abc import Sequence

from rlar_graph.drift import DriftMonitor
from rlar_graph.registry.records import Decision, Usage
from rlar_graph.resources import Resources
from rlar_graph.scoring import Planned
from rlar_graph.types import Score

FLUSH_SECONDS = 1.0


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
        self._due = time.monotonic() + FLUSH_SECONDS
        self._monitor: DriftMonitor | None = None

    @property
    def monitor(self) -> DriftMonitor:
        """What watches the tools for drift."""
        if self._monitor is None:
            self._monitor = DriftMonitor(self._resources.registry)
        return self._monitor

    def record(
        self, plan: Sequence[Planned], scores: Sequence[Sequence[Score]], usage: Sequence[Usage]
    ) -> None:
        """Keep what one batch came to, and write it if a second has passed.

        Raises:
            RegistryError: The registry cannot be written; the scores themselves are not affected.
        """
        sampled = [
            decision
            for planned, row in zip(plan, scores, strict=True)
            if self._is_sampled(planned.rollout.prompt)
            for decision in _decisions(planned, row)
        ]
        self.monitor.observe_batch(scores)
        with self._lock:
            self._usage += usage
            self._decisions += sampled
            due = time.monotonic() >= self._due
        if due:
            self.flush()

    def flush(self) -> None:
        """Write everything that is due."""
        with self._lock:
            usage, self._usage = self._usage, []
            decisions, self._decisions = self._decisions, []
            self._due = time.monotonic() + FLUSH_SECONDS
        if usage or decisions:
            self._resources.registry.record(merge(usage), decisions)
        if self._monitor is not None:
            self._monitor.look()

    def _is_sampled(self, prompt: str) -> bool:
        """Pick prompts by a hash, so that a replay keeps the same ones."""
        return self._threshold > 0 and zlib.crc32(prompt.encode("utf-8", "surrogatepass")) < self._threshold


def merge(usage: Sequence[Usage]) -> list[Usage]:
    """Add up what several batches asked of the same versions."""
    sums: dict[tuple[str, int], Usage] = {}
    for each in usage:
        key = (each.tool, each.version)
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
