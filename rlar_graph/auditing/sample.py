"""Which scored rollouts are audited: a share of them by hash, some of every tool, and never more than is paid for.

The hash is of prompt and step, so that no policy can learn to be left out, all completions of a prompt go together,
and a replay picks the same. Until a version has a baseline, all of its rollouts are picked: what a policy does at first
is what later audits are compared with.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

from rlar_graph.audit_gap import BASELINE_AUDITS
from rlar_graph.scoring import Planned
from rlar_graph.types import Score

FLOOR = 2
"""Rollouts of each tool that are picked in a minute whatever the hash says."""
RESERVED = 4
"""One in so many of a minute's rollouts is kept for tools that are still short of :data:`FLOOR`."""
MINUTE = 60.0
BASELINE_PICKS = 2 * BASELINE_AUDITS
"""Completions of one version that one process picks for its baseline; the auditor may not know all of them."""


class Sample:
    """Picks rollouts to be audited. Safe to share between threads.

    Args:
        share: Share of rollouts to pick.
        most: Rollouts a minute at most.
        clock: Seconds that only go forward.
    """

    def __init__(self, share: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold, self._most, self._clock = int(share * 2**32), most, clock
        self._lock = threading.Lock()
        self._settled: set[tuple[str, int]] = set()
        self._first: Counter[tuple[str, int]] = Counter()
        self._minute: Counter[tuple[str, int]] = Counter()
        self._room = most
        self._until = clock() + MINUTE
        self._calls = 0

    def settle(self, version: tuple[str, int]) -> None:
        """Note that a version, given by name and number, has its baseline."""
        with self._lock:
            self._settled.add(version)

    def pick(self, plan: Sequence[Planned], scores: Sequence[Sequence[Score]], step: int | None) -> list[int]:
        """Return the places of the rollouts to be audited.

        Args:
            plan: A batch that was scored.
            scores: What its tools said.
            step: The trainer's step; where it is not known, the number of the call stands for it.
        """
        with self._lock:
            self._calls += 1
            self._turn_the_minute()
            seed = zlib.crc32(f"{self._calls if step is None else step}".encode())
            return [
                place
                for place, (planned, row) in enumerate(zip(plan, scores, strict=True))
                if self._room > 0 and self._takes(planned, row, seed)
            ]

    def _takes(self, planned: Planned, row: Sequence[Score], seed: int) -> bool:
        """Say whether a rollout is picked, and count it."""
        if isinstance(planned.tool, str):
            return False
        version = (planned.tool.name, planned.tool.version)
        if self._minute[version] >= FLOOR and not self._is_chosen(version, planned.rollout.prompt, seed):
            return False
        if all(score.value is None for score in row):
            return False
        self._minute[version] += 1
        self._first[version] += len(row)
        self._room -= 1
        return True

    def _is_chosen(self, version: tuple[str, int], prompt: str, seed: int) -> bool:
        """Say whether a rollout is picked beyond the floor: for the baseline, or by its hash."""
        if self._room <= self._most // RESERVED:
            return False
        if version not in self._settled and self._first[version] < BASELINE_PICKS:
            return True
        return zlib.crc32(prompt.encode("utf-8", "surrogatepass"), seed) < self._threshold

    def _turn_the_minute(self) -> None:
        now = self._clock()
        if now >= self._until:
            self._until = now + MINUTE
            self._room = self._most
            self._minute.clear()
