"""The trainer's handle on one worker: a child that has defined one verifier and serves batches of calls to it."""

from __future__ import annotations

import mmap
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from struct import iter_unpack

from rlar_graph.sandbox.base import Outcome, Status
from rlar_graph.sandbox.launcher import Child, Zygote
from rlar_graph.sandbox.memory import sealed_file, shared_pages
from rlar_graph.sandbox.wire import (
    ASK,
    ASK_BYTES,
    ASK_HEAD,
    BATCH_CALLS,
    DOORBELL,
    INBOX,
    INBOX_BYTES,
    LOADED,
    RECORD,
    REPLY_SLOT,
    SHARED_BYTES,
    SLOT_BYTES,
    SLOTS,
    TEXT_BYTES,
    TEXTS,
    Code,
    Kind,
)

_MARKS = tuple(range(1, BATCH_CALLS + 1))
_INBOX_MB = SHARED_BYTES >> 20
_STATUS: dict[int, Status] = {
    Code.OK: "ok",
    Code.ERROR: "error",
    Code.MEMORY: "memory",
    Code.INVALID: "invalid",
    Code.REFUSED: "refused",
    Code.CRASHED: "crashed",
}


@dataclass(slots=True)
class Batch:
    """Calls that a worker holds and has not finished."""

    indices: range
    """Places of the calls in the caller's list."""
    slot: int
    """Which half of the shared memory it uses."""
    asked: int = 0
    """Requests made during it."""
    seen: int = 0
    """Records counted so far."""
    since: float = 0.0
    """When the count last changed: a call's clock starts when the call before it ends."""
    started: float = 0.0
    """When the worker began with it."""


def text_of(raw: bytes) -> str:
    """A text that a child wrote: bounded, always printable."""
    text = raw.rstrip(b"\0").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Worker:
    """One worker process. Used by one thread at a time."""

    def __init__(self, zygote: Zygote, source: bytes, memory_mb: int) -> None:
        """Fork a worker and hand it its source; :meth:`load` waits for it."""
        self.calls = 0
        self.batches: deque[Batch] = deque()
        shared, self._memory = shared_pages(SHARED_BYTES)
        ours, theirs = socket.socketpair()
        self.bell = ours
        try:
            self._child: Child = zygote.spawn(
                Kind.WORKER,
                memory_mb + _INBOX_MB,
                0,
                [source_file := sealed_file(source), shared, theirs.fileno()],
            )
        except BaseException:
            ours.close()
            self._memory.close()
            raise
        finally:
            theirs.close()
            os.close(shared)
            os.close(source_file)

    def load(self, seconds: float) -> Outcome | None:
        """Wait until the source is defined.

        Returns:
            None when it is; else what came of it.
        """
        begun = time.monotonic()
        if not wait_any([self], seconds):
            self._child.kill()
            spent = time.monotonic() - begun
            return Outcome("timeout", None, f"the source took over {seconds:g} s", spent, fault="program")
        try:
            answer = self.bell.recv(LOADED.size, socket.MSG_DONTWAIT)
        except OSError:
            answer = b""
        spent = time.monotonic() - begun
        if len(answer) != LOADED.size:
            return Outcome(
                "crashed", None, "the process ended while the source was defined", spent, fault="program"
            )
        code, raw = LOADED.unpack(answer)
        if code == Code.OK:
            return None
        return Outcome(_STATUS.get(code, "error"), None, text_of(raw), spent, fault="program")

    def free_slot(self) -> int | None:
        """A slot that holds no batch."""
        used = {batch.slot for batch in self.batches}
        return next((slot for slot in range(SLOTS) if slot not in used), None)

    def send(self, function: bytes, block: bytes | memoryview, indices: range, slot: int) -> None:
        """Hand over a batch. What the worker's death keeps from arriving shows when the batch is looked at."""
        base = slot * SLOT_BYTES
        self._memory[base : base + RECORD.size * len(indices)] = bytes(RECORD.size * len(indices))
        start = INBOX + slot * INBOX_BYTES
        middle, end = start + len(function), start + len(function) + len(block)
        self._memory[start:middle] = function
        self._memory[middle:end] = block
        now = time.monotonic()
        self.batches.append(Batch(indices, slot, since=now, started=now))
        self.calls += len(indices)
        try:
            self.bell.send(DOORBELL.pack(slot, len(indices), end - start, len(function)), socket.MSG_NOSIGNAL)
        except OSError:
            return

    def word(self) -> bytes:
        """What the worker says: that its oldest batch is done, or that it asks something; empty when it hung up."""
        try:
            return self.bell.recv(1, socket.MSG_DONTWAIT)
        except OSError:
            return b""

    def request(self) -> tuple[bytes, bytes] | None:
        """The program and the packed tests the worker asks to have run, both unread; None when it talks nonsense."""
        program, job = ASK_HEAD.unpack(self._memory[ASK : ASK + ASK_HEAD.size])
        start = ASK + ASK_HEAD.size
        if ASK_HEAD.size + program + job > ASK_BYTES:
            return None
        content = self._memory[start : start + program + job]
        return content[:program], content[program:]

    def reply(self, outcome: Outcome) -> None:
        """Tell what came of a request: 0 graded, 1 the program's fault, 2 not the program's fault."""
        code = 0 if outcome.status == "ok" else 1 if outcome.fault == "program" else 2
        frame = DOORBELL.pack(REPLY_SLOT, code, outcome.passed, outcome.total)
        with suppress(OSError):  # a worker that is gone is found out when its batch is looked at
            self.bell.send(frame, socket.MSG_NOSIGNAL)

    def progress(self, batch: Batch, now: float) -> float:
        """Seconds since the batch last advanced."""
        base, total = batch.slot * SLOT_BYTES, len(batch.indices)
        seen = batch.seen
        while seen < total:
            at = base + seen * RECORD.size + RECORD.size - 4
            if int.from_bytes(self._memory[at : at + 4], "little") != seen + 1:
                break
            seen += 1
        if seen != batch.seen:
            batch.seen, batch.since = seen, now
        return now - batch.since

    def harvest(self, batch: Batch) -> list[Outcome]:
        """The outcomes of a batch as far as they are whole: copied once, then checked."""
        base, total = batch.slot * SLOT_BYTES, len(batch.indices)
        copy = self._memory[base : base + total * RECORD.size]
        each = (time.monotonic() - batch.started) / total
        values, codes, marks = zip(*iter_unpack(RECORD.format, copy), strict=True)
        whole = total
        if marks != _MARKS[:total]:
            whole = next(place for place, mark in enumerate(marks) if mark != place + 1)
        # Most batches hold few distinct values; 0.0 and -0.0 are one key, and nobody's reward depends on a zero's sign.
        common = {value: _checked(value, each) for value in set(values)}
        if whole == total and not any(codes):
            return [common[value] for value in values]
        return [
            self._broken(base, place, codes[place], each) if codes[place] else common[values[place]]
            for place in range(whole)
        ]

    def _broken(self, base: int, index: int, code: int, seconds: float) -> Outcome:
        at = base + TEXTS + index * TEXT_BYTES
        status = _STATUS.get(code, "invalid")
        return Outcome(status, None, text_of(self._memory[at : at + TEXT_BYTES]), seconds, fault="program")

    def kill(self) -> None:
        """End the process now."""
        self._child.kill()

    @property
    def handle(self) -> int:
        """The process's pidfd."""
        return self._child.handle

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._child.wait(0.0)

    def trim(self) -> None:
        """Give pages that a very large argument touched back to the machine."""
        self._memory.madvise(mmap.MADV_REMOVE, INBOX, SHARED_BYTES - INBOX)

    def close(self) -> None:
        """End the process and let go of everything shared with it."""
        self._child.kill()
        self._child.close()
        self.bell.close()
        self._memory.close()


def _checked(value: float, seconds: float) -> Outcome:
    if not isfinite(value):
        return Outcome("invalid", None, "not finite", seconds, fault="program")
    # A frozen dataclass sets its fields one by one, at 1.4 us: more than all else a call costs the trainer.
    outcome = object.__new__(Outcome)
    object.__setattr__(outcome, "__dict__", {"status": "ok", "value": value, "seconds": seconds})
    return outcome


def wait_any(workers: Sequence[Worker], seconds: float) -> list[Worker]:
    """The workers that finished a batch or hung up within ``seconds``."""
    poller = select.poll()
    # The pidfd as well: a fork of the trainer may hold the other end of the bell open after the worker is dead.
    by_number = {number: worker for worker in workers for number in (worker.bell.fileno(), worker.handle)}
    for number in by_number:
        poller.register(number, select.POLLIN)
    ready = (by_number[number] for number, _ in poller.poll(max(0.0, seconds) * 1000))
    return list(dict.fromkeys(ready))
