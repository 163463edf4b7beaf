"""The process engine: the sandbox contract over zygotes on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from rlar_graph.errors import SandboxClosed, SandboxError
from rlar_graph.sandbox.base import DEFAULT, Limits, Outcome, Sandbox, SandboxReport, TestJob
from rlar_graph.sandbox.batch import BatchRun
from rlar_graph.sandbox.fresh import fresh_call
from rlar_graph.sandbox.launcher import Zygote
from rlar_graph.sandbox.pool import Pool, verifier_for
from rlar_graph.sandbox.trial import Trials

MOST_SECONDS, MOST_MB = 1_000_000, 1 << 26
"""Beyond these the kernel's own counters overflow."""


class ProcessSandbox(Sandbox):
    """Runs untrusted Python in confined processes of this machine."""

    def __init__(self, workers: int = 2, *, confine: bool = True) -> None:
        """Start the light zygote and attack it.

        Args:
            workers: Processes that may work at once.
            confine: False for the ``unsafe`` engine.

        Raises:
            SandboxUnavailable: A layer below the minimum is missing.
        """
        self._pool = Pool(workers, confine=confine)
        self._confine = confine
        self._owner = os.getpid()
        self._trials = Trials(self._pool)
        self._report = self._inspect()

    def _inspect(self) -> SandboxReport:
        try:
            zygote = self._pool.zygote("light")
        except BaseException:
            self._pool.close()
            raise
        return SandboxReport(
            "process" if self._confine else "unsafe", not zygote.escaped, zygote.layers, zygote.escaped
        )

    def call_batch(
        self,
        source: str,
        function: str,
        arguments: Sequence[Mapping[str, object]],
        limits: Limits = DEFAULT,
        *,
        fresh: bool = False,
    ) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.call_batch`."""
        self._check_open()
        refusal = refuse_limits(limits)
        if refusal is not None:
            return [refusal] * len(arguments)
        if not arguments:
            return []
        verifier = verifier_for(source, limits.memory_mb)
        if fresh:
            jobs = [
                partial(fresh_call, self._pool, verifier, function, each, limits, self._trials.answer)
                for each in arguments
            ]
            outcomes = self._spread(jobs)
        else:
            outcomes = BatchRun(self._pool, verifier, function, arguments, limits, self._trials.answer).run()
        return outcomes if self._confine else [_stamp(outcome) for outcome in outcomes]

    def run_tests(
        self,
        source: str,
        tests: object,
        entry_point: str | None = None,
        limits: Limits = DEFAULT,
        *,
        same_process: bool = False,
    ) -> Outcome:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests`."""
        self._check_open()
        outcome = refuse_limits(limits) or self._trials.run(source, tests, entry_point, limits, same_process)
        return outcome if self._confine else _stamp(outcome)

    def run_tests_batch(self, jobs: Sequence[TestJob], limits: Limits = DEFAULT) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests_batch`."""
        self._check_open()
        return self._spread(
            [partial(self.run_tests, job.source, job.tests, job.entry_point, limits) for job in jobs]
        )

    def _spread(self, jobs: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
        if len(jobs) < 2 or self._pool.workers == 1:
            return [job() for job in jobs]
        with ThreadPoolExecutor(min(self._pool.workers, len(jobs)), "rlar-sandbox") as threads:
            return list(threads.map(lambda job: job(), jobs))

    def report(self) -> SandboxReport:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.report`."""
        return self._report

    @property
    def zygotes(self) -> tuple[Zygote, ...]:
        """The zygotes that were started, for tests and reports."""
        return self._pool.started

    def close(self) -> None:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.close`."""
        if os.getpid() == self._owner:
            self._pool.close()
            self._trials.close()

    def _check_open(self) -> None:
        if self._pool.closed:
            raise SandboxClosed("the sandbox is closed")
        if os.getpid() != self._owner:
            # Two processes on one control socket would read each other's answers.
            raise SandboxError("this sandbox was opened before a fork: open one in each process")


def refuse_limits(limits: Limits) -> Outcome | None:
    """Why a call with these limits cannot run here; None when it can."""
    problem = ""
    if type(limits.seconds) not in (int, float) or type(limits.memory_mb) is not int:
        problem = "seconds must be a number and memory_mb a whole number"
    elif not 0 < limits.seconds <= MOST_SECONDS or not 0 < limits.memory_mb <= MOST_MB:
        problem = f"limits must be positive, and at most {MOST_SECONDS} s and {MOST_MB} MiB"
    return Outcome("refused", None, problem, fault="sandbox") if problem else None


def _stamp(outcome: Outcome) -> Outcome:
    """Mark a result that nothing confined."""
    return replace(outcome, attested=False, detail=f"unsafe; {outcome.detail}".rstrip("; "))
