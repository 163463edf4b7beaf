"""What a process holds of the engine of its machine: a line like the one in front of a reward function of its own.

One thread of the process owns the connection. It sends what callers put in line, hands them their scores, and when the
engine is gone it finds or starts another and asks again, once: scoring twice gives the same. What fails then too is an
error with a reason, never a number. A forked child begins anew, because a connection is one process's lifetime.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rlar_graph.errors import EngineError, InputError
from rlar_graph.machine import frames
from rlar_graph.machine.link import Gone, Link, hush
from rlar_graph.machine.rendezvous import Meeting
from rlar_graph.microbatch import Rows, completions_of
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout

log = logging.getLogger(__name__)

TRIES = 2
"""How often a call is sent: what one engine dies of, a second may not."""


@dataclass(slots=True)
class Call:
    """One caller's rollouts, and where its scores go."""

    rollouts: Sequence[Rollout]
    """What it wants scored."""
    step: int | None
    """The trainer's step."""
    result: Future[Rows] = field(default_factory=Future)
    """Its scores, or the error they came to."""
    tries: int = 0
    """How often it was sent, or could not be."""

    def begin(self) -> bool:
        """Say whether anybody still waits for it; from then on it cannot be cancelled."""
        return self.result.running() or self.result.set_running_or_notify_cancel()


class MachineEngine:
    """The engine that this process shares with others of its machine. For any number of threads and event loops.

    Nothing is connected or started before the first call.

    Args:
        settings: What to use; processes with other settings have another engine.
    """

    _lock: threading.Lock
    _calls: deque[Call]
    _sent: dict[int, Call]
    _thread: threading.Thread | None
    _meeting: Meeting | None
    _closed: bool

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._link: Link | None = None
        self._bell = -1
        self._begin()
        _every_client().add(self)

    def submit(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Future[Rows]:
        """Send rollouts to be scored.

        Args:
            rollouts: Rollouts with their completions.
            step: The trainer's step, where it is known.

        Returns:
            Where the scores will be, one list per rollout; an EngineError where no engine gave them.

        Raises:
            InputError: A rollout has no completions.
            RuntimeError: This was closed.
        """
        completions_of(rollouts)
        call = Call(rollouts, step)
        with self._lock:
            if self._closed:
                raise RuntimeError("scoring was asked for after it was closed")
            if self._thread is None:
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                thread = threading.Thread(target=self._live, name="rlar-engine-client", daemon=True)
                thread.start()
                self._thread = thread
            self._calls.append(call)
            if len(self._calls) == 1:  # else it was rung for the first
                os.eventfd_write(self._bell, 1)
        return call.result

    def score(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Rows:
        """Score rollouts; see :meth:`submit`.

        Raises:
            EngineError: No engine could be had, or two ended over these rollouts.
        """
        return self.submit(rollouts, step=step).result()

    async def ascore(self, rollouts: Sequence[Rollout]) -> Rows:
        """Score rollouts without blocking the event loop; see :meth:`score`."""
        return await asyncio.wrap_future(self.submit(rollouts))

    def close(self) -> None:
        """Wait for what is in the making, and leave the engine; may be called twice."""
        with self._lock:
            self._closed = True
            thread = self._thread
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)
        if thread is not None:
            thread.join()
            with self._lock:
                if self._bell >= 0:
                    os.close(self._bell)
                    self._bell = -1

    def _begin(self) -> None:
        """Be as new; in a forked child, let go of what belongs to its parent."""
        if self._link is not None:
            self._link.close()
        if self._bell >= 0:
            os.close(self._bell)
        self._link, self._bell = None, -1
        self._lock = threading.Lock()
        self._calls, self._sent, self._number = deque(), {}, 0
        self._thread, self._closed, self._meeting = None, False, None

    def _live(self) -> None:
        """Be the thread: connect when there is something to ask, and stay connected to the end."""
        while self._calls or self._sent or not self._closed:
            try:
                self._turn()
            except Gone as gone:
                self._lost(gone)
            except EngineError as error:
                self._fail(error)
            except Exception as error:
                log.exception("the connection to the engine of this machine broke")
                self._fail(EngineError(f"the connection broke: {type(error).__name__}: {error}"))
        self._hang_up()

    def _turn(self) -> None:
        """Do what can be done now, or wait."""
        link = self._link
        if link is None:
            if self._calls:
                self._connect()
            else:
                waiting = select.poll()  # select() cannot wait for a descriptor of 1024 or above
                waiting.register(self._bell, select.POLLIN)
                waiting.poll()
                hush(self._bell)
            return
        self._send(link)
        for message in link.turn(self._bell, due=bool(self._sent)):
            self._take(message)

    def _connect(self) -> None:
        if self._meeting is None:
            self._meeting = Meeting.at(self.settings)
        self._link = Link(*self._meeting.connect(), self.settings.engine_silent_seconds)

    def _send(self, link: Link) -> None:
        """Send what is in line, as far as there is room."""
        while self._calls and link.has_room:
            with self._lock:
                call = self._calls.popleft()
            if not call.begin():
                continue
            self._number += 1
            try:
                rows = list(map(frames.rollout_row, call.rollouts))
                link.send(frames.framed(frames.SCORE, self._number, call.step, rows))
            except InputError as error:
                call.result.set_exception(error)
                continue
            call.tries += 1
            self._sent[self._number] = call

    def _take(self, message: list[Any]) -> None:
        """Hand over what the engine says."""
        kind, *rest = message
        if kind not in {frames.SCORES, frames.ERROR}:
            return
        call = self._sent.pop(rest[0])
        if kind == frames.ERROR:
            call.result.set_exception(frames.error_in(*rest[1:]))
        else:
            call.result.set_result(frames.scores_in(rest[1]))

    def _lost(self, gone: Gone) -> None:
        """Put what was sent back in line, or give it up after the second time."""
        link = self._link
        self._hang_up()
        again = [call for call in self._sent.values() if call.tries < TRIES]
        given_up = [call for call in self._sent.values() if call.tries >= TRIES]
        self._sent.clear()
        with self._lock:
            self._calls.extendleft(reversed(again))
        if again or given_up:
            log.warning("the engine of this machine %s; %d calls are asked again", gone, len(again))
        for call in given_up:
            call.result.set_exception(EngineError(f"the engine of this machine {gone}, for the second time"))
        if gone.silent and link is not None and self._meeting is not None:
            try:
                self._meeting.abandon(link.mark)
            except EngineError as error:  # the next try says it to the callers
                log.warning("%s", error)

    def _fail(self, error: EngineError) -> None:
        """Count a try that came to nothing, and give up what had its second."""
        self._hang_up()
        with self._lock:
            waiting = [*self._sent.values(), *self._calls]
            self._calls.clear()
        self._sent.clear()
        for call in waiting:
            call.tries += 1
            if call.tries < TRIES:
                with self._lock:
                    self._calls.append(call)
            elif call.begin():
                call.result.set_exception(error)

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


@cache
def _every_client() -> weakref.WeakSet[MachineEngine]:
    """Return the clients of this process; the first of them has forked children begin anew."""
    clients: weakref.WeakSet[MachineEngine] = weakref.WeakSet()

    def begin_anew() -> None:
        for client in list(clients):
            client._begin()

    os.register_at_fork(after_in_child=begin_anew)
    return clients
