"""The E2B engine: the same contract on a remote virtual machine, for machines that cannot confine code themselves.

Each call runs in a context of its own, removed afterwards: a context whose cell timed out hangs. Deadlines are ours, by
``asyncio.timeout`` and an alarm in the cell, because the client's own ``timeout=T`` fires at 2T. The machine has no
internet. A program and its tests share a context, so such outcomes are not attested; printed output is compared here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import httpx
from e2b import (
    AuthenticationException,
    NotFoundException,
    SandboxException,
    TimeoutException,
)
from e2b_code_interpreter import AsyncSandbox  # type: ignore[import-untyped]

from rlar_graph.errors import SandboxClosed, SandboxError, SandboxUnavailable
from rlar_graph.sandbox.base import DEFAULT, Layer, Limits, Outcome, Sandbox, SandboxReport, TestJob
from rlar_graph.sandbox.forms import Malformed, Tests, read_tests
from rlar_graph.sandbox.programs import same_output
from rlar_graph.sandbox.remote import Cell, call_cell, program_cell, read_answer, tests_cell

_Result = TypeVar("_Result")

_MACHINE_SECONDS = 3600
_GRACE = 1.0
_HOUSEKEEPING = 10.0
_FAILURES = (SandboxException, AuthenticationException, httpx.HTTPError, OSError)


class E2BSandbox(Sandbox):
    """Runs untrusted Python in E2B. The key comes from ``E2B_API_KEY`` unless it is given."""

    def __init__(self, workers: int = 2, **options: str) -> None:
        """Start a virtual machine.

        Args:
            workers: Calls that may run at once.
            options: Passed to the client: ``api_key``, ``template``, ``api_url``, ``sandbox_url``, ``domain``.

        Raises:
            SandboxUnavailable: E2B refused, or cannot be reached.
        """
        self._options: dict[str, Any] = dict(options)
        self._workers = workers
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rlar-e2b", daemon=True)
        self._thread.start()
        self._permits = asyncio.Semaphore(workers)
        self._restarting = asyncio.Lock()
        try:
            self._machine = self._await(self._start())
        except _FAILURES as error:
            self._stop_loop()
            raise SandboxUnavailable(f"E2B gives no sandbox: {type(error).__name__}: {error}") from error

    async def _start(self) -> AsyncSandbox:
        return await AsyncSandbox.create(
            timeout=_MACHINE_SECONDS, allow_internet_access=False, **self._options
        )

    def _submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _await(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._submit(work).result()

    def call_batch(
        self,
        source: str,
        function: str,
        arguments: Sequence[Mapping[str, object]],
        limits: Limits = DEFAULT,
        *,
        fresh: bool = False,
    ) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.call_batch`; every call is fresh."""
        self._check_open()
        waiting: list[Future[Outcome] | Outcome] = []
        for each in arguments:
            try:
                cell = call_cell(source, function, dict(each), limits)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                waiting.append(
                    Outcome("refused", None, f"the arguments cannot be sent: {error}", fault="sandbox")
                )
            else:
                waiting.append(self._submit(self._run(cell)))
        return [item if isinstance(item, Outcome) else item.result() for item in waiting]

    def run_tests(
        self,
        source: str,
        tests: object,
        entry_point: str | None = None,
        limits: Limits = DEFAULT,
        *,
        same_process: bool = False,
    ) -> Outcome:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests`; only input/output pairs are attested here."""
        self._check_open()
        return self._await(self._grade(source, tests, entry_point, limits))

    def run_tests_batch(self, jobs: Sequence[TestJob], limits: Limits = DEFAULT) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests_batch`."""
        self._check_open()
        waiting = [self._submit(self._grade(job.source, job.tests, job.entry_point, limits)) for job in jobs]
        return [item.result() for item in waiting]

    async def _grade(self, source: str, tests: object, entry_point: str | None, limits: Limits) -> Outcome:
        try:
            read = read_tests(tests, entry_point)
        except Malformed as error:
            return Outcome("refused", None, f"the tests cannot be used: {error}", fault="sandbox")
        if read.form == "pairs":
            return await self._pairs(source, read, limits)
        content = read.text if read.form == "text" else [list(row) for row in read.rows]
        outcome = await self._run(tests_cell(source, read.form, content, read.entry, limits))
        if outcome.status == "ok":
            detail = f"{outcome.passed}/{outcome.total} passed; {outcome.detail}".rstrip("; ")
            outcome = replace(outcome, detail=detail)
        return replace(outcome, attested=False)

    async def _pairs(self, source: str, read: Tests, limits: Limits) -> Outcome:
        begun = time.monotonic()
        passed, trouble = 0, ""
        for number, (given, expected) in enumerate(read.rows, 1):
            left = limits.seconds - (time.monotonic() - begun)
            wanted = str(expected).encode("utf-8", "surrogatepass")
            most = max(limits.output_kb << 10, 2 * len(wanted) + 4096)
            outcome = await self._run(
                program_cell(source, str(given), most, replace(limits, seconds=max(left, 0.01)))
            )
            if outcome.fault == "sandbox":
                return outcome
            printed = outcome.detail.encode("utf-8", "replace")
            if outcome.status == "ok" and same_output(printed, wanted):
                passed += 1
                continue
            why = "wrong output" if outcome.status == "ok" else outcome.status
            trouble = trouble or f"; test {number}: {why}"
            if outcome.status in ("timeout", "memory"):
                spent = time.monotonic() - begun
                return Outcome(
                    outcome.status,
                    None,
                    f"{passed}/{len(read.rows)} passed{trouble}",
                    spent,
                    passed,
                    len(read.rows),
                    fault="program",
                )
        total, spent = len(read.rows), time.monotonic() - begun
        detail = f"{passed}/{total} passed{trouble}"
        return Outcome(
            "ok", passed / total, detail, spent, passed, total, fault="program" if passed < total else ""
        )

    async def _run(self, cell: Cell) -> Outcome:
        async with self._permits:
            begun = time.monotonic()
            machine = self._machine
            try:
                try:
                    return await self._run_on(machine, cell)
                except (NotFoundException, TimeoutException):
                    # E2B ends every machine after an hour; the call that finds it gone starts the next one.
                    return await self._run_on(await self._replace(machine), cell)
            except _FAILURES as error:
                spent = time.monotonic() - begun
                return Outcome("crashed", None, f"E2B failed: {type(error).__name__}", spent, fault="sandbox")

    async def _replace(self, gone: AsyncSandbox) -> AsyncSandbox:
        async with self._restarting:
            if self._machine is gone:
                self._machine = await self._start()
            return self._machine

    async def _run_on(self, machine: AsyncSandbox, cell: Cell) -> Outcome:
        begun = time.monotonic()
        context = await machine.create_code_context(language="python")
        try:
            async with asyncio.timeout(cell.limits.seconds + _GRACE):
                execution = await machine.run_code(cell.code, context=context, timeout=0)
        except TimeoutError:
            spent = time.monotonic() - begun
            return Outcome("timeout", None, f"over {cell.limits.seconds:g} s", spent, fault="program")
        finally:
            await self._remove(machine, context.id)
        outcome = read_answer(cell, "".join(execution.logs.stdout), time.monotonic() - begun)
        if outcome.status == "timeout":
            outcome = replace(outcome, detail=f"over {cell.limits.seconds:g} s")
        return outcome

    async def _remove(self, machine: AsyncSandbox, context: str) -> None:
        """Remove a context whatever state it is in; one that cannot be removed dies with the machine."""
        try:
            async with asyncio.timeout(_HOUSEKEEPING):
                await machine.remove_code_context(context)
        except (*_FAILURES, TimeoutError):
            return

    def report(self) -> SandboxReport:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.report`; the remote machine is not attacked from here."""
        layers = (
            Layer("virtual machine", True, "E2B's own isolation; not attacked from here"),
            Layer("no internet", True, "allow_internet_access=False"),
        )
        return SandboxReport("e2b", True, layers)

    def close(self) -> None:
        """End the virtual machine."""
        if self._closed:
            return
        self._closed = True
        try:
            self._await(self._machine.kill())
        except _FAILURES as error:
            raise SandboxError(f"E2B did not end its sandbox: {type(error).__name__}") from error
        finally:
            self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxClosed("the sandbox is closed")
