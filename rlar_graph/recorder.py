"""What was scored, on its way to the registry: counters, sampled decisions, drift, cost, written now and then.

A registry transaction costs about half a millisecond; trainers that score one completion a call would pay it every
time. So what is due waits here and is written once a second: by the call that comes then, else by a thread of its own.
A killed process loses that second's counters. A write whose answer was lost is repeated under its old number, which
the registry knows, so that nothing is counted twice.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import threading
import time
import uuid
import weakref
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from rlar_graph.drift import DriftMonitor
from rlar_graph.errors import RegistryError, UnknownTool
from rlar_graph.registry.records import Decision, Stamp, Usage
from rlar_graph.registry.workshop_records import Spend
from rlar_graph.resources import Resources
from rlar_graph.scoring import Planned
from rlar_graph.types import Score
from rlar_graph.waiting import Batch, Waiting

if TYPE_CHECKING:
    from rlar_graph.llm.ledger import Usage as Spent

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
RETRY_SECONDS = 5.0
"""Wait after a write that failed: a server that is gone may take seconds to say so."""
REMIND_SECONDS = 60.0
"""Between two warnings that nothing can be written."""


class Recorder:
    """Collects usage and decisions. Safe to share between threads; a forked child begins with nothing of its parent's.

    Args:
        resources: Where the registry is, and the share of rollouts to keep as decisions.
    """

    _lock: threading.Lock
    _writing: threading.Lock
    _waiting: Waiting
    _doubtful: Batch | None
    _spent: Mapping[str, Spent] | None
    _monitor: DriftMonitor | None

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._threshold = int(resources.settings.decision_sample * 2**32)
        self._begin()
        self._spent = {}
        _every_recorder().add(self)

    def _begin(self) -> None:
        """Be as new, in a forked child too: locks that nobody holds, and nothing that the parent writes as well."""
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._waiting, self._doubtful = Waiting(), None
        self._writer, self._number = uuid.uuid4().hex, 0
        self._due = time.monotonic() + FLUSH_SECONDS
        self._timer: threading.Timer | None = None
        self._fails = self._closed = False
        self._remind_at = 0.0
        self._monitor = None
        self._spent = None  # a child learns at its first write what its parent had spent

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
            self._waiting.add(plan, scores, [replace(each, step=step) for each in usage], sampled)
            self._closed, due = False, time.monotonic() >= self._due
        if due:
            self._flush_quietly()
        with self._lock:
            if self._has_more:
                self._wind_up()

    def flush(self) -> None:
        """Write everything that is due.

        Raises:
            RegistryError: The registry cannot be written; what was due stays due.
        """
        with self._writing:
            self._flush()

    def close(self) -> None:
        """Write everything that is due, when the language model is about to be closed; see :meth:`flush`."""
        with self._lock:
            self._closed = True
        self.flush()
        self._spent = {}

    @property
    def _has_more(self) -> bool:
        """Whether something is to be written, and somebody is there who wants it written."""
        return not self._closed and (self._doubtful is not None or not self._waiting.is_empty)

    def _wind_up(self) -> None:
        """Have a thread write what waits, where no call comes in time; under the lock."""
        if self._timer is None:
            timer = threading.Timer(max(FLUSH_SECONDS, self._due - time.monotonic()), self._late)
            timer.daemon = True
            with suppress(
                RuntimeError
            ):  # no thread is to be had: at the interpreter's end, or beyond a limit
                timer.start()
                self._timer = timer

    def _late(self) -> None:
        """Be the thread."""
        with self._lock:
            self._timer = None
        if self._has_more:
            self._flush_quietly()
        with self._lock:
            if self._has_more:
                self._wind_up()

    def _last(self) -> None:
        """Write what waits when the process ends."""
        with self._writing:
            pass  # a thread that writes now would be cut off
        if self._has_more:
            self._flush_quietly()

    def _flush_quietly(self) -> None:
        """Write what is due, unless another thread does; the trainer's own batch must not be lost for our counters."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            self._flush()
        except RegistryError as error:
            self._complain(error)
        finally:
            self._writing.release()

    def _flush(self) -> None:
        """Write what is in doubt, then what waits; one thread at a time."""
        if self._doubtful is not None:
            self._write(self._doubtful)
        with self._lock:
            self._due = time.monotonic() + FLUSH_SECONDS
            self._number += 1
            batch = self._waiting.take(Stamp(self._writer, self._number), self._new_spend())
            self._doubtful = batch if batch.completions or batch.spend else None
        if self._doubtful is not None:
            self._write(self._doubtful)
        self._relax()
        if self._monitor is not None:
            self._monitor.look()

    def _write(self, batch: Batch) -> None:
        """Write a batch, which stays in doubt until the registry says that it is done."""
        try:
            self._resources.registry.record(
                batch.usage, batch.decisions, batch.outcomes, batch.spend, stamp=batch.stamp
            )
        except UnknownTool:
            # Another registry lies there now: what the old one's tools did has no place in it.
            self._doubtful = None
            raise
        except RegistryError:
            with self._lock:
                self._due, self._fails = time.monotonic() + RETRY_SECONDS, True
            raise
        self._doubtful = None

    def _complain(self, error: RegistryError) -> None:
        """Say now and then that nothing can be written, how much waits and what was dropped."""
        if time.monotonic() < self._remind_at:
            return
        self._remind_at = time.monotonic() + REMIND_SECONDS
        with self._lock:
            waits = self._waiting.completions + (self._doubtful.completions if self._doubtful else 0)
            dropped = self._waiting.dropped
        log.warning("what was scored is written later (%d completions%s): %s", waits, _and(dropped), error)

    def _relax(self) -> None:
        """Say that what was scored is written again, where it was not."""
        if self._fails:
            with self._lock:
                dropped, self._waiting.dropped = self._waiting.dropped, 0
            self._fails, self._remind_at = False, 0.0
            log.warning("what was scored is written again%s", _and(dropped))

    def _new_spend(self) -> list[Spend]:
        """Return what the language model was used for since the last batch."""
        spent = self._resources.spent()
        before, self._spent = spent if self._spent is None else self._spent, spent
        if spent == before:
            return []
        new = {role: used - before[role] if role in before else used for role, used in spent.items()}
        return [
            Spend(role, used.calls, used.prompt_tokens, used.completion_tokens, used.seconds, used.cost)
            for role, used in new.items()
            if used.calls
        ]

    def _is_sampled(self, prompt: str) -> bool:
        """Pick prompts by a hash, so that a replay keeps the same ones."""
        return self._threshold > 0 and zlib.crc32(prompt.encode("utf-8", "surrogatepass")) < self._threshold


@cache
def _every_recorder() -> weakref.WeakSet[Recorder]:
    """Return the recorders of this process; the first has forked children begin anew, and the end write what waits."""
    recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()

    def begin_anew() -> None:
        for recorder in list(recorders):
            recorder._begin()

    def end() -> None:
        for recorder in list(recorders):
            recorder._last()

    os.register_at_fork(after_in_child=begin_anew)
    atexit.register(end)
    return recorders


def _and(dropped: int) -> str:
    return f"; {dropped} sampled decisions were dropped" if dropped else ""


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
