"""Calls with one completion each, gathered for a few milliseconds and scored as one batch.

Most trainers hand over one sample a call, from many threads or tasks at a time; a batch costs a tool little more
than a single completion does. So calls wait here until a few milliseconds have passed or the batch is full. Several
batches may be scored at a time, so that one with slow programs in it does not hold up the rest.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

from rlar_graph.errors import InputError
from rlar_graph.types import Rollout, Score

Rows: TypeAlias = list[list[Score]]
ScoreBatch: TypeAlias = Callable[..., Rows]
"""Scores rollouts; ``step=`` is the trainer's step, where calls bring one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One caller's rollouts, and where its scores go."""

    rollouts: Sequence[Rollout]
    """What it wants scored."""
    completions: int
    """How many completions that is."""
    step: int | None = None
    """The trainer's step, where it is known."""
    result: Future[Rows] = field(default_factory=Future)
    """Its scores, or the error they came to."""
    since: float = field(default_factory=time.monotonic)
    """When it came."""


class Microbatch:
    """Gathers calls and scores them together. For any number of threads and event loops; a context manager.

    Args:
        score: Scores a batch; called from a few threads at a time.
        wait_seconds: How long the first call of a batch waits for company.
        most: Completions after which a batch does not wait any longer.
        lanes: Batches that may be in the making at a time.
    """

    def __init__(
        self, score: ScoreBatch, *, wait_seconds: float = 0.003, most: int = 512, lanes: int = 4
    ) -> None:
        self._score, self._wait_seconds, self._most = score, wait_seconds, most
        self._lanes = [
            threading.Thread(target=self._lane, name=f"rlar-lane-{n}", daemon=True) for n in range(lanes)
        ]
        self._changed = threading.Condition()
        self._gathering = threading.Lock()
        self._calls: deque[Call] = deque()
        self._completions = 0
        self._started = self._closed = False

    def submit(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Future[Rows]:
        """Put a call in line.

        Args:
            rollouts: Rollouts with their completions.
            step: The trainer's step, where it is known; calls of different steps share no batch.

        Returns:
            Where the scores will be, one list per rollout; cancelling it before it is its turn takes it out of line.

        Raises:
            InputError: A rollout has no completions.
            RuntimeError: This was closed.
        """
        call = Call(rollouts, completions_of(rollouts), step)
        with self._changed:
            if self._closed:
                raise RuntimeError("scoring was asked for after it was closed")
            if not self._started:
                self._started = True
                for lane in self._lanes:
                    lane.start()
            self._calls.append(call)
            self._completions += call.completions
            if len(self._calls) == 1 or self._completions >= self._most:
                self._changed.notify()  # a wake-up for each call would cost more than scoring it
        return call.result

    def score(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Rows:
        """Score rollouts, together with what other callers have; see :meth:`submit`."""
        return self.submit(rollouts, step=step).result()

    async def ascore(self, rollouts: Sequence[Rollout]) -> Rows:
        """Score rollouts without blocking the event loop; see :meth:`submit` for the errors."""
        return await asyncio.wrap_future(self.submit(rollouts))

    def close(self) -> None:
        """Score what is in line and end the threads; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            if lane.is_alive():
                lane.join()

    def _lane(self) -> None:
        """Gather and score until there is nothing left to come."""
        while batch := self._gather():
            calls = [call for call in batch if call.result.set_running_or_notify_cancel()]
            if calls:
                self._serve(calls)

    def _gather(self) -> list[Call]:
        """Return the next batch; empty once closed. One lane gathers while the others score."""
        with self._gathering, self._changed:
            while not self._calls and not self._closed:
                self._changed.wait()
            if not self._calls:
                return []
            due = self._calls[0].since + self._wait_seconds
            while self._completions < self._most and not self._closed:
                left = due - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._take()

    def _take(self) -> list[Call]:
        """Take calls out of line until the batch is full; a call is never split."""
        batch: list[Call] = []
        size = 0
        while self._calls and (
            not batch
            or (size + self._calls[0].completions <= self._most and self._calls[0].step == batch[0].step)
        ):
            call = self._calls.popleft()
            size += call.completions
            batch.append(call)
        self._completions -= size
        return batch

    def _serve(self, calls: Sequence[Call]) -> None:
        """Score calls as one batch and give each its own; a call that cannot be read fails alone."""
        rollouts = [rollout for call in calls for rollout in call.rollouts]
        try:
            step = calls[0].step
            rows = iter(self._score(rollouts) if step is None else self._score(rollouts, step=step))
            shares = [[next(rows) for _ in call.rollouts] for call in calls]
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the callers that wait for it
            if isinstance(error, InputError) and len(calls) > 1:
                for call in calls:
                    self._serve([call])
                return
            for call in calls:
                call.result.set_exception(error)
            return
        for call, share in zip(calls, shares, strict=True):
            call.result.set_result(share)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def completions_of(rollouts: Sequence[Rollout]) -> int:
    """Return how many completions a call is about.

    Raises:
        InputError: A rollout has none.
    """
    counts = [len(rollout.completions) for rollout in rollouts]
    if 0 in counts:
        raise InputError("a rollout has no completions to score", field="completions")
    return sum(counts)
