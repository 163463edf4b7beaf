"""One batch of calls, driven over several workers by the calling thread.

Calls go out in chunks, two to a worker, so that no worker waits while the trainer packs the next. The clock of a call
is the worker's progress: when the record count stands still for longer than the limit, the worker is killed, the call
it stood at is the culprit, and the calls behind it go to a new worker.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from rlar_graph.errors import SandboxClosed
from rlar_graph.sandbox.base import Limits, Outcome, Status
from rlar_graph.sandbox.plain import fast_packer, pack
from rlar_graph.sandbox.pool import Pool, Verifier
from rlar_graph.sandbox.wire import ASKED, BATCH_BYTES, BATCH_CALLS, DONE, INBOX_BYTES
from rlar_graph.sandbox.worker import Batch, Worker, wait_any

_TICK = 0.02
_LOADS = 3
"""Tries to define a source: a process the machine killed while it loaded says nothing about the source."""
_LOAD_SECONDS = 1.0
"""Least time for a second try to define a source."""
_REQUESTS = 4
"""Programs a verifier may have run per call, on average of its batch."""
_TRIM_BYTES = 1 << 20


class BatchRun:
    """The state of one :meth:`run`; used once, by one thread."""

    def __init__(
        self,
        pool: Pool,
        verifier: Verifier,
        function: str,
        arguments: Sequence[Mapping[str, object]],
        limits: Limits,
        answer: Callable[[Worker, Limits], bool],
    ) -> None:
        self._answer = answer
        self._pool, self._verifier, self._limits = pool, verifier, limits
        self._name = function.encode("utf-8", "replace")
        self._arguments = list(arguments)
        self._outcomes: list[Outcome | None] = [None] * len(arguments)
        self._pending: deque[range] = deque([range(len(arguments))])
        self._packer = fast_packer()
        self._typical = BATCH_BYTES // 16
        self._workers: list[Worker] = []
        self._large: set[Worker] = set()
        self._retried: set[int] = set()
        self._has_loaded = False
        self._chunk = BATCH_CALLS
        self._tick = min(_TICK, limits.seconds / 4)

    def run(self) -> list[Outcome]:
        """Run every call; one outcome each, in order."""
        count = len(self._arguments)
        permits = self._pool.acquire(max(1, min(self._pool.workers, count)))
        # Chunks small enough that workers end together, large enough that waking one up costs nothing.
        self._chunk = max(1, min(BATCH_CALLS, -(-count // (4 * permits))))
        try:
            self._drive(permits)
        except SandboxClosed:
            self._fill(Outcome("crashed", None, "the sandbox was closed", fault="sandbox"))
        finally:
            for worker in list(self._workers):
                self._drop(worker)
            self._pool.release(permits)
        return [outcome or _LOST for outcome in self._outcomes]

    def _drive(self, permits: int) -> None:
        while self._pending or any(worker.batches for worker in self._workers):
            while self._pending and len(self._workers) < permits:
                if not self._hire():
                    return
            for worker in self._workers:
                self._feed(worker)
            busy = [worker for worker in self._workers if worker.batches]
            if not busy:
                continue
            for worker in wait_any(busy, self._tick):
                self._hear(worker)
            self._watch()
        for worker in list(self._workers):
            self._workers.remove(worker)
            if worker in self._large:
                worker.trim()
            self._pool.give(self._verifier, worker)

    def _hear(self, worker: Worker) -> None:
        word, batch = worker.word(), worker.batches[0]
        if word == DONE:
            self._collect(worker)
        elif word == ASKED and batch.asked < _REQUESTS * len(batch.indices):
            batch.asked += 1
            if not self._answer(worker, self._limits):
                self._bury(worker, "crashed", "the worker broke its protocol")
                return
            for other in self._workers:  # nobody's clock ran while we were busy
                if other.batches:
                    other.progress(other.batches[0], time.monotonic())
                    other.batches[0].since = time.monotonic()
        else:
            self._bury(worker, "crashed", "the process ended during the call")

    def _hire(self) -> bool:
        """Get one more worker; False when the source cannot be defined, which then is every call's outcome."""
        problem: Outcome | None = None
        allowed = self._limits.seconds
        for _ in range(_LOADS):
            worker, loaded = self._pool.take(self._verifier)
            problem = None if loaded else worker.load(allowed)
            if problem is None:
                self._workers.append(worker)
                self._has_loaded = True
                return True
            self._pool.discard(worker)
            if self._pool.closed:
                raise SandboxClosed("the sandbox is closed")
            if not self._may_be_the_machine(problem, allowed):
                break
            allowed = max(allowed, _LOAD_SECONDS)
        self._fill(problem or _LOST)
        return False

    def _may_be_the_machine(self, problem: Outcome, allowed: float) -> bool:
        """Whether a failed definition may say more about a busy machine than about the source.

        It would be every call's outcome, so it has to be sure: a source that was defined before is not to blame, and a
        limit meant for one short call may be too short for a fork and a compilation.
        """
        if problem.status == "crashed" or self._has_loaded:
            return True
        return problem.status == "timeout" and allowed < _LOAD_SECONDS

    def _feed(self, worker: Worker) -> None:
        while self._pending and (slot := worker.free_slot()) is not None:
            part, block = self._take_chunk()
            with block:
                if part:
                    worker.send(self._name, block, part, slot)
                if len(block) > _TRIM_BYTES:
                    self._large.add(worker)
            self._packer.reset()

    def _take_chunk(self) -> tuple[range, memoryview]:
        """The next calls and their packed arguments; about :data:`BATCH_BYTES` of them."""
        ahead = self._pending.popleft()
        part = ahead[: max(1, min(self._chunk, BATCH_BYTES // self._typical))]
        try:
            # Straight into one buffer: bytes per call and a join would cost more than all else the trainer does.
            deque(map(self._packer.pack, self._arguments[part.start : part.stop]), maxlen=0)
            block = self._packer.getbuffer()
        except (TypeError, ValueError, OverflowError, RecursionError):
            part, block = self._pack_slowly(part)  # one of them cannot be sent as it is: find it
        if len(block) + len(self._name) > INBOX_BYTES:
            block.release()
            part, block = self._pack_slowly(part)
        self._typical = max(1, len(block) // max(1, len(part)))
        done = max(1, len(part))
        if len(ahead) > done:
            self._pending.appendleft(ahead[done:])
        return part, block

    def _pack_slowly(self, part: range) -> tuple[range, memoryview]:
        """Pack one by one, up to the first call that must be refused or does not fit; refuse it if it is first."""
        payloads: list[bytes] = []
        size = len(self._name)
        for index in part:
            try:
                payload = pack(self._arguments[index])
                if len(payload) + len(self._name) > INBOX_BYTES:
                    raise ValueError(f"they take more than {INBOX_BYTES >> 20} MiB")
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                if not payloads:
                    self._outcomes[index] = _refuse(f"the arguments cannot be sent: {error}")
                break
            size += len(payload)
            if size > INBOX_BYTES:
                break
            payloads.append(payload)
        return part[: len(payloads)], memoryview(b"".join(payloads))

    def _collect(self, worker: Worker) -> None:
        batch = worker.batches.popleft()
        outcomes = worker.harvest(batch)
        self._keep(batch, outcomes)
        if worker.batches:
            worker.batches[0].since = worker.batches[0].started = time.monotonic()
        if len(outcomes) != len(batch.indices):
            # It said it was done without a record for every call: nothing more it says can be believed.
            self._outcomes[batch.indices[len(outcomes)]] = Outcome(
                "crashed", None, "the worker broke its protocol", fault="program"
            )
            self._requeue(batch.indices[len(outcomes) + 1 :])
            self._drop(worker)
        elif any(outcome.status == "memory" for outcome in outcomes):
            self._drop(worker)  # what an allocation failure left behind in the interpreter is anyone's guess

    def _watch(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.batches and worker.progress(worker.batches[0], now) > self._limits.seconds:
                self._bury(worker, "timeout", f"over {self._limits.seconds:g} s")

    def _bury(self, worker: Worker, status: Status, detail: str) -> None:
        """End a worker; keep its whole results, blame the call it stood at, send the rest to another."""
        worker.kill()
        batch = worker.batches.popleft()
        self._drop_records(worker, batch, status, detail)
        self._drop(worker)
        if self._pool.closed:
            raise SandboxClosed("the sandbox is closed")

    def _drop_records(self, worker: Worker, batch: Batch, status: Status, detail: str) -> None:
        spent = time.monotonic() - batch.since
        outcomes = worker.harvest(batch)
        self._keep(batch, outcomes)
        rest = batch.indices[len(outcomes) :]
        if not rest:
            return
        culprit = rest.start
        if status == "crashed" and culprit not in self._retried:
            # The machine may have killed it, for want of memory say: only a call that dies twice is to blame.
            self._retried.add(culprit)
            self._requeue(rest)
            return
        self._outcomes[culprit] = Outcome(status, None, detail, spent, fault="program")
        self._requeue(rest[1:])

    def _keep(self, batch: Batch, outcomes: list[Outcome]) -> None:
        start = batch.indices.start
        self._outcomes[start : start + len(outcomes)] = outcomes

    def _requeue(self, indices: range) -> None:
        if indices:
            self._pending.appendleft(indices)

    def _drop(self, worker: Worker) -> None:
        for batch in reversed(worker.batches):
            self._requeue(batch.indices)
        worker.batches.clear()
        self._workers.remove(worker)
        self._pool.discard(worker)

    def _fill(self, outcome: Outcome) -> None:
        for worker in list(self._workers):
            self._drop(worker)
        self._pending.clear()
        self._outcomes = [found or outcome for found in self._outcomes]


_LOST = Outcome("crashed", None, "no result", fault="sandbox")


def _refuse(why: str) -> Outcome:
    return Outcome("refused", None, why, fault="sandbox")
