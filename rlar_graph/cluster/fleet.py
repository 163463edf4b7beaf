"""A fleet: Ray actors that all do the same work, kept at their number while the cluster has room for them.

An actor that dies, alone or with its node, is replaced by a new one, which Ray places wherever there is room, now or
later. An actor that cannot even start is tried again with growing pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rlar_graph.cluster.connection import is_joined, ray_module

log = logging.getLogger(__name__)

START_SECONDS = 60.0
"""How long a fleet without a single actor waits for one."""
LONGEST_PAUSE = 60.0
REASON_CHARS = 300
NOT_INSTALLED = "No module named 'rlar_graph'"


@dataclass(eq=False)
class Member:
    """One actor of a fleet."""

    handle: Any
    """Ray's handle on it."""
    hello: Any
    """Reference to what it says of itself once it has started."""
    told: Any = None
    """What it said."""
    gone: bool = False
    """Whether it is given up; what it was doing is done by others."""
    flights: list[Any] = field(default_factory=list)
    """References to its unfinished work, in the order in which it does it."""
    since: float = 0.0
    """When the first of them began, or may have."""
    alone: object = None
    """Who has reserved it, to give it one work alone; others leave it be."""
    why: str = ""
    """What is known of its end."""


class Fleet:
    """Actors of one kind. Safe to share between threads; close it to end them.

    Args:
        kind: Class of the actors; it has a method ``hello``, and does one thing at a time.
        arguments: What its constructor is given.
        count: How many there are to be.
        cpus: CPUs of the cluster that one reserves.
        gpus: GPUs that one reserves.
        start_seconds: How long to wait for the first.
    """

    def __init__(
        self,
        kind: type,
        arguments: tuple[object, ...],
        count: int,
        *,
        cpus: float = 1.0,
        gpus: float = 0.0,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.count = count
        self.closed = False
        self._arguments = arguments
        self._start_seconds = start_seconds
        self._needs = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        # Ray must neither restart an actor nor run its work again: what is lost is given out again here.
        self._actor = (
            ray_module()
            .remote(kind)
            .options(
                num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
            )
        )
        self._lock = threading.RLock()
        self._ready: list[Member] = []
        self._starting: list[Member] = []
        self._pause, self._next_start = 0.0, 0.0
        self._alone_since = time.monotonic()
        self.last_loss = ""
        """What is known of the last actor that died or did not start."""

    def open(self) -> list[Any]:
        """Start the actors, wait for the first, and return what those that are ready say of themselves.

        Raises:
            ConnectionError: None started in time.
        """
        while not self.ready():
            reason = self.hopeless() or ("" if self.hellos() else self.last_loss)
            if reason:
                self.close()
                raise ConnectionError(reason)
            self.wait(0.2)
        return [member.told for member in self.ready()]

    def ready(self) -> list[Member]:
        """Return the actors that can work now; those that have died are replaced on the way."""
        with self._lock:
            if not self.closed and is_joined():
                self._look()
                self._complete()
            return list(self._ready)

    def hellos(self) -> list[Any]:
        """Return the references that are fulfilled when another actor has started."""
        with self._lock:
            return [member.hello for member in self._starting]

    def wait(self, seconds: float) -> None:
        """Wait for another actor, or so long."""
        hellos = self.hellos()
        if hellos:
            ray_module().wait(hellos, num_returns=1, timeout=seconds)
        else:
            time.sleep(seconds)

    def hopeless(self) -> str:
        """Return why no actor will work soon; empty while there is one, or one may still start."""
        with self._lock:
            if self.closed:
                return "it was closed"
            if not is_joined():
                return "the connection to the Ray cluster was shut down"
            if self._ready or time.monotonic() - self._alone_since < self._start_seconds:
                return ""
            return self.last_loss or (
                f"the Ray cluster gave no actor within {self._start_seconds:g} s: each needs {self._needs}"
            )

    def lost(self, member: Member, why: str) -> bool:
        """Give an actor up that died or is no good any more; False if that was done before."""
        with self._lock:
            if member.gone:
                return False
            member.gone, member.why, self.last_loss = True, why, why
            if member in self._ready:
                self._ready.remove(member)
                if not self._ready:
                    self._alone_since = time.monotonic()
        log.warning("a Ray actor was lost and is replaced: %s", why)
        _end(member)
        return True

    def close(self) -> None:
        """End every actor; may be called twice."""
        with self._lock:
            self.closed = True
            members = [*self._ready, *self._starting]
            self._ready.clear()
            self._starting.clear()
        for member in members:
            member.gone, member.why = True, "it was closed"
            _end(member)

    def _look(self) -> None:
        """Move the actors that have started, and drop those that could not."""
        if not self._starting:
            return
        ray = ray_module()
        started, _ = ray.wait(self.hellos(), num_returns=len(self._starting), timeout=0)
        for member in [member for member in self._starting if member.hello in started]:
            self._starting.remove(member)
            try:
                member.told = ray.get(member.hello, timeout=self._start_seconds)
            except ray.exceptions.RayError as error:
                self.last_loss = reason_of(error)
                self._pause = min(max(1.0, 2 * self._pause), LONGEST_PAUSE)
                self._next_start = time.monotonic() + self._pause
                log.warning(
                    "a Ray actor did not start, the next try is in %g s: %s", self._pause, self.last_loss
                )
                continue
            self._ready.append(member)
            self._pause = 0.0

    def _complete(self) -> None:
        """Start as many actors as are missing."""
        if time.monotonic() < self._next_start:
            return
        while len(self._ready) + len(self._starting) < self.count:
            handle = self._actor.remote(*self._arguments)
            self._starting.append(Member(handle, handle.hello.remote()))


def reason_of(error: BaseException) -> str:
    """Return what a Ray error comes to, in one line; Ray's own text is a page with a traceback."""
    text = str(error)
    if NOT_INSTALLED in text:
        return "rlar-graph is not installed on a node of the Ray cluster: install it there"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:REASON_CHARS]


def _end(member: Member) -> None:
    with suppress(Exception):  # it is dead already, or Ray is shut down; there is nothing to end then
        if is_joined():
            ray_module().kill(member.handle)
