"""The pool: which processes live, who may use them, and how many work at once.

A permit is the right to keep one process busy; there are as many as ``workers``. Idle workers stay with their verifier
defined, the least recently used ones ended first.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

from rlar_graph.errors import SandboxClosed, SandboxError
from rlar_graph.sandbox.flavours import flavour_for
from rlar_graph.sandbox.launcher import Zygote
from rlar_graph.sandbox.worker import Worker

RECYCLE_CALLS = 2_000
"""Calls after which a worker is replaced: what it leaked or let drift goes with it."""


@dataclass(frozen=True)
class Verifier:
    """What a worker is made for."""

    source: bytes
    """The code."""
    digest: bytes
    """Its hash."""
    flavour: str
    """The zygote it needs."""
    memory_mb: int
    """The address space it may use."""


def verifier_for(source: str, memory_mb: int) -> Verifier:
    """The key of ``source`` in the pool."""
    text = source.encode("utf-8", "surrogatepass")
    return Verifier(text, hashlib.blake2b(text, digest_size=16).digest(), flavour_for(source), memory_mb)


class Pool:
    """Zygotes, idle workers and permits of one sandbox."""

    def __init__(self, workers: int, *, confine: bool) -> None:
        """Start nothing yet: the first call starts the zygote it needs.

        Args:
            workers: Processes that may work at once.
            confine: False for the ``unsafe`` engine.
        """
        self.workers = workers
        self.confine = confine
        self._free = workers
        self._condition = threading.Condition()
        self._idle: OrderedDict[int, tuple[tuple[bytes, int], Worker]] = OrderedDict()
        self._busy: set[Worker] = set()
        self._zygotes: dict[str, Zygote] = {}
        self._starting = threading.Lock()
        self._closed = False

    def zygote(self, flavour: str) -> Zygote:
        """The running zygote of that flavour, started when there is none."""
        found = self._zygotes.get(flavour)
        if found is not None and found.alive:
            return found
        with self._starting:
            if self._closed:
                raise SandboxClosed("the sandbox is closed")
            found = self._zygotes.get(flavour)
            if found is None or not found.alive:
                if found is not None:
                    found.close()
                found = self._zygotes[flavour] = Zygote(flavour, confine=self.confine)
            return found

    @property
    def started(self) -> tuple[Zygote, ...]:
        """Every zygote that runs."""
        return tuple(self._zygotes.values())

    def acquire(self, most: int) -> int:
        """Take up to ``most`` permits, at least one; wait while there is none."""
        with self._condition:
            while self._free == 0 and not self._closed:
                self._condition.wait()
            if self._closed:
                raise SandboxClosed("the sandbox is closed")
            taken = min(most, self._free)
            self._free -= taken
            return taken

    def release(self, permits: int) -> None:
        """Give permits back."""
        with self._condition:
            self._free += permits
            self._condition.notify_all()

    def take(self, verifier: Verifier) -> tuple[Worker, bool]:
        """A worker for ``verifier``, and whether it has the source defined already."""
        key = (verifier.digest, verifier.memory_mb)
        with self._condition:
            for number, (found, worker) in reversed(self._idle.items()):
                if found == key:
                    del self._idle[number]
                    self._busy.add(worker)
                    break
            else:
                worker = None
        if worker is not None:
            if not worker.ended and worker.calls < RECYCLE_CALLS:
                return worker, True
            self.discard(worker)
        return self.fork(verifier), False

    def fork(self, verifier: Verifier) -> Worker:
        """A new worker whose source is not defined yet."""
        try:
            worker = Worker(self.zygote(verifier.flavour), verifier.source, verifier.memory_mb)
        except SandboxClosed:
            raise
        except SandboxError:
            # A zygote the machine killed (out of memory) is replaced once; a second failure is the caller's to see.
            worker = Worker(self.zygote(verifier.flavour), verifier.source, verifier.memory_mb)
        with self._condition:
            self._busy.add(worker)
            closed = self._closed
        if closed:
            self.discard(worker)
            raise SandboxClosed("the sandbox is closed")
        return worker

    def give(self, verifier: Verifier, worker: Worker) -> None:
        """Put a sound worker back."""
        surplus: list[Worker] = []
        with self._condition:
            self._busy.discard(worker)
            if self._closed or worker.calls >= RECYCLE_CALLS:
                surplus.append(worker)
            else:
                self._idle[id(worker)] = ((verifier.digest, verifier.memory_mb), worker)
                while len(self._idle) > 2 * self.workers + 4:
                    surplus.append(self._idle.popitem(last=False)[1][1])
        for old in surplus:
            old.close()

    def discard(self, worker: Worker) -> None:
        """End a worker that can no longer be trusted."""
        with self._condition:
            self._busy.discard(worker)
        worker.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """End every process. Busy workers die; the threads that wait for them see it and let go of them."""
        with self._condition:
            self._closed = True
            idle = [worker for _, worker in self._idle.values()]
            self._idle.clear()
            for worker in self._busy:
                worker.kill()
            self._condition.notify_all()
        for worker in idle:
            worker.close()
        with self._starting:
            zygotes = list(self._zygotes.values())
            self._zygotes.clear()
        for zygote in zygotes:
            zygote.close()
