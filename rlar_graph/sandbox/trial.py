"""A trial: one program against its tests, seen from the trainer.

Program and grader are two processes that talk over a pair of pipes; the trainer starts them, watches the clock, and
reads one fixed-size verdict from the grader.
"""

from __future__ import annotations

import hashlib
import math
import os
import select
import socket
import threading
import time
from dataclasses import replace

from rlar_graph.errors import SandboxClosed, SandboxError
from rlar_graph.sandbox.base import Limits, Outcome
from rlar_graph.sandbox.flavours import flavour_for
from rlar_graph.sandbox.forms import Malformed, Tests, read_tests
from rlar_graph.sandbox.launcher import Child, Zygote
from rlar_graph.sandbox.memory import sealed_file
from rlar_graph.sandbox.plain import pack
from rlar_graph.sandbox.pool import Pool
from rlar_graph.sandbox.programs import run_pairs
from rlar_graph.sandbox.verdicts import Verdict, outcome_of, read_verdict
from rlar_graph.sandbox.wire import Code, Kind
from rlar_graph.sandbox.worker import Worker

_GRADER_MB = 1024
_GRADER_JOBS = 2000
_LAST_WORD = 0.5
_WILD = "wild"


class Grader:
    """The trainer's handle on one grader."""

    def __init__(self, zygote: Zygote) -> None:
        self.jobs = 0
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._child = zygote.spawn(Kind.GRADER, _GRADER_MB, 0, [theirs.fileno()])
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()

    def start(self, job: int, requests: int, replies: int, *, any_tests: bool) -> None:
        """Hand over a job."""
        self.jobs += 1
        socket.send_fds(
            self.control, [b"exec" if any_tests else b"tame"], [job, requests, replies], socket.MSG_NOSIGNAL
        )

    def verdict(self, seconds: float, program: Child) -> Verdict | None:
        """Wait for the verdict; None when there is none in time.

        Raises:
            SandboxError: The grader died, or what it said is no verdict.
        """
        end = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(program.handle, select.POLLIN)
        ready = {number for number, _ in poller.poll(max(0.0, seconds) * 1000)}
        if ready == {program.handle}:
            # The grader sees the program's pipe close, unless a fork of the trainer holds a copy of it open.
            poller.unregister(program.handle)
            ready = {
                number for number, _ in poller.poll(min(_LAST_WORD, max(0.0, end - time.monotonic())) * 1000)
            }
            # A program can leave an answer that keeps the grader busy and die: that it died is its own doing, so
            # the caller blames it, and never the sandbox.
        return read_verdict(self.control) if ready else None

    def close(self) -> None:
        """End it."""
        self._child.kill()
        self._child.close()
        self.control.close()


class Trials:
    """Runs programs against tests with the processes of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._idle: dict[str, list[Grader]] = {}
        self._wild: set[bytes] = set()

    def run(
        self, source: str, tests: object, entry_point: str | None, limits: Limits, together: bool
    ) -> Outcome:
        """Run one program; see :meth:`rlar_graph.sandbox.base.Sandbox.run_tests`."""
        try:
            read = read_tests(tests, entry_point)
            job = pack([read.form, read.text or [list(row) for row in read.rows], read.entry])
        except (Malformed, TypeError, ValueError, OverflowError, RecursionError) as error:
            return Outcome("refused", None, f"the tests cannot be used: {error}", fault="sandbox")
        text = source.encode("utf-8", "surrogatepass")
        begun = time.monotonic()
        try:
            permits = self._pool.acquire(1)
            try:
                begun = time.monotonic()
                outcome = self._retried(text, read, job, limits, together, flavour_for(source))
            finally:
                self._pool.release(permits)
        except SandboxClosed:
            return _CLOSED
        if self._pool.closed and outcome.status == "crashed":
            return _CLOSED
        return replace(outcome, seconds=time.monotonic() - begun)

    def answer(self, worker: Worker, limits: Limits) -> bool:
        """Run what a worker asks for, in its caller's place: no further permit. False when it talks nonsense."""
        asked = worker.request()
        if asked is None:
            return False
        program, job = asked
        # The text of tests and program only picks the zygotes; the grader, confined, is the first to decode them.
        read = Tests("text", text=job.decode("utf-8", "replace"))
        flavour = flavour_for(program.decode("utf-8", "replace"))
        worker.reply(self._retried(program, read, job, limits, False, flavour))
        return True

    def _retried(
        self, source: bytes, read: Tests, job: bytes, limits: Limits, together: bool, flavour: str
    ) -> Outcome:
        """Run once, and again where a process died: the machine may have killed it, for want of memory say."""
        outcome = _CLOSED
        for _ in range(2):
            try:
                outcome = self._run(source, read, job, limits, together, flavour)
            except SandboxClosed:
                raise
            except SandboxError as error:
                outcome = Outcome("crashed", None, str(error), fault="sandbox")
            if outcome.status != "crashed" or self._pool.closed:
                break
        return outcome

    def _run(
        self, source: bytes, read: Tests, job: bytes, limits: Limits, together: bool, flavour: str
    ) -> Outcome:
        if read.form == "pairs":
            return run_pairs(self._pool.zygote(flavour), source, read.rows, limits)
        if together and read.form == "text":
            return self._together(
                source, job, limits, flavour_for(source.decode("utf-8", "replace"), read.text)
            )
        digest = hashlib.blake2b(job, digest_size=16).digest()
        grader_flavour = flavour_for(read.text)
        if digest not in self._wild:
            outcome = self._apart(source, job, limits, flavour, grader_flavour, any_tests=False)
            if outcome is not None:
                return outcome
            if len(self._wild) > 10_000:
                self._wild.clear()
            self._wild.add(digest)
        outcome = self._apart(source, job, limits, flavour, grader_flavour, any_tests=True)
        return outcome or Outcome("crashed", None, "the grader gave no verdict", fault="sandbox")

    def _apart(
        self, source: bytes, job: bytes, limits: Limits, flavour: str, grader_flavour: str, *, any_tests: bool
    ) -> Outcome | None:
        """Grade in two processes; None when the tests ask for a grader of their own."""
        grader = self._take(grader_flavour, fresh=any_tests)
        sound = False
        try:
            program = self._start(grader, source, job, limits, flavour, any_tests=any_tests)
            try:
                begun = time.monotonic()
                verdict = grader.verdict(limits.seconds, program)
                late, died = verdict is None, program.wait(0.0)
                if verdict is None:
                    program.kill()  # the grader sees its pipe close and says how far it came
                    verdict = grader.verdict(_LAST_WORD, program)
                sound = verdict is not None
            finally:
                program.kill()
                program.close()
        finally:
            if sound and not any_tests:
                self._give(grader_flavour, grader)
            else:
                grader.close()
        if late:
            passed, total = (verdict.passed, verdict.total) if verdict else (0, 0)
            if verdict is None and died and time.monotonic() - begun < limits.seconds:
                ended = "the program's process ended and left its grader busy"
                return Outcome("crashed", None, ended, fault="program")
            return Outcome(
                "timeout", None, f"over {limits.seconds:g} s", passed=passed, total=total, fault="program"
            )
        if verdict is None or (verdict.code == Code.BAD_TESTS and verdict.text == _WILD):
            return None
        return outcome_of(verdict)

    def _start(
        self, grader: Grader, source: bytes, job: bytes, limits: Limits, flavour: str, *, any_tests: bool
    ) -> Child:
        zygote = self._pool.zygote(flavour)
        ours: list[int] = []
        try:
            call_out, call_in = os.pipe()
            ours += [call_out, call_in]
            answer_out, answer_in = os.pipe()
            ours += [answer_out, answer_in]
            text, order = sealed_file(source), sealed_file(job)
            ours += [text, order]
            program = zygote.spawn(
                Kind.CANDIDATE, limits.memory_mb, cpu_limit(limits), [text, call_out, answer_in]
            )
            try:
                grader.start(order, call_in, answer_out, any_tests=any_tests)
            except OSError as error:
                program.kill()
                program.close()
                raise SandboxError(f"the grader is gone: {error}") from error
            return program
        finally:
            for descriptor in ours:
                os.close(descriptor)

    def _together(self, source: bytes, job: bytes, limits: Limits, flavour: str) -> Outcome:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        zygote = self._pool.zygote(flavour)
        with control, theirs:
            files = [sealed_file(source), sealed_file(job)]
            child = zygote.spawn_files(
                Kind.TOGETHER, limits.memory_mb, cpu_limit(limits), files, [theirs.fileno()]
            )
            theirs.close()
            try:
                poller = select.poll()
                poller.register(control, select.POLLIN)
                if not poller.poll(limits.seconds * 1000):
                    late = Outcome(
                        "timeout", None, f"over {limits.seconds:g} s", attested=False, fault="program"
                    )
                    return late
                try:
                    outcome = outcome_of(read_verdict(control))
                except SandboxError:
                    outcome = Outcome("crashed", None, "the process ended during the tests", fault="program")
            finally:
                child.kill()
                child.close()
        return replace(outcome, attested=False)

    def _take(self, flavour: str, *, fresh: bool) -> Grader:
        if not fresh:
            with self._lock:
                idle = self._idle.get(flavour)
                if idle:
                    return idle.pop()
        return Grader(self._pool.zygote(flavour))

    def _give(self, flavour: str, grader: Grader) -> None:
        with self._lock:
            idle = self._idle.setdefault(flavour, [])
            if grader.jobs < _GRADER_JOBS and len(idle) < self._pool.workers and not self._pool.closed:
                idle.append(grader)
                return
        grader.close()

    def close(self) -> None:
        """End every idle grader."""
        with self._lock:
            graders = [grader for idle in self._idle.values() for grader in idle]
            self._idle.clear()
        for grader in graders:
            grader.close()


_CLOSED = Outcome("crashed", None, "the sandbox was closed", fault="sandbox")


def cpu_limit(limits: Limits) -> int:
    """Seconds of CPU after which the kernel itself ends a process made for one run."""
    return math.ceil(limits.seconds) + 2
