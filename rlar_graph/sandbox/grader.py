"""Inside a grader: run tests against a program that lives in another process.

The tests call proxies; arguments and answers cross as plain values; comparisons happen here, where the program's code
never runs. One grader serves many programs as long as the tests are tame (see checks.py), else it serves one.
"""

from __future__ import annotations

import array
import builtins
import os
import socket
import sys
import types
import unittest
from collections.abc import Iterator
from typing import Any, cast

from rlar_graph.sandbox.cases import run_cases
from rlar_graph.sandbox.checks import TALLY, BadTests, NeedsObjects, Plan, plan_tests
from rlar_graph.sandbox.proxy import Caller, NeedsCallable, ProgramEnded, ProgramFull, proxy_for
from rlar_graph.sandbox.plain import unpack
from rlar_graph.sandbox.serve import describe, encode, read_all
from rlar_graph.sandbox.wire import VERDICT, Code

_JOB_BYTES = 8


class Tally:
    """Counts assertions; used as ``with tally:`` around each."""

    def __init__(self) -> None:
        self.passed = 0
        self.total = 0
        self.failure = ""

    def __enter__(self) -> None:
        self.total += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self.passed += 1
            return False
        if not isinstance(error, Exception):
            return False  # the program ended, or the tests need what it cannot give: the run is over
        self.failure = self.failure or f"test {self.total}: {describe(error)}"
        return True


def main(descriptors: list[int]) -> None:
    """Serve jobs until the trainer hangs up: one message with a job's number, and its three descriptors beside it."""
    (control_number,) = descriptors
    control = socket.socket(fileno=control_number)
    plans: dict[tuple[str, str], Plan] = {}
    while True:
        message, ancillary, _, _ = control.recvmsg(_JOB_BYTES, socket.CMSG_SPACE(3 * 4))
        if not message:
            return
        received = array.array("i")
        for _level, _type, content in ancillary:
            received.frombytes(content[: len(content) - len(content) % 4])
        job, requests, replies = received
        caller = Caller(requests, replies)
        control.send(_grade(read_all(job), caller, plans, message == b"exec"))
        os.close(requests)
        os.close(replies)


def _grade(job: bytes, caller: Caller, plans: dict[tuple[str, str], Plan], any_tests: bool) -> bytes:
    tally = Tally()
    try:
        form, tests, entry = unpack(job)
        plan = None
        if form == "text":
            plan = plans.get((tests, entry)) or plan_tests(tests, entry)
            if len(plans) > 64:
                plans.clear()
            plans[tests, entry] = plan
            if not plan.tame and not any_tests:
                return _verdict(Code.BAD_TESTS, tally, WILD, False)
        code, text = caller.hello()
        if code is not Code.OK:
            return _verdict(code, tally, text, True)
        if plan is None:
            run_cases(tests, entry, caller, tally)
        else:
            run_plan(plan, caller, tally)
    except (NeedsObjects, NeedsCallable) as error:
        return _verdict(Code.REFUSED, tally, f"{error}: only same_process=True can grade this", False)
    except BadTests as error:
        return _verdict(Code.BAD_TESTS, tally, str(error), False)
    except ProgramEnded as error:
        tally.total = max(tally.total, 1)
        return _verdict(Code.CRASHED, tally, str(error), True)
    except ProgramFull:
        tally.total = max(tally.total, 1)
        return _verdict(Code.MEMORY, tally, "MemoryError during a call", True)
    except MemoryError:
        return _verdict(Code.MEMORY, tally, "MemoryError in the tests", caller.calls > 0)
    except BaseException as error:  # noqa: BLE001  the process edge: tests may raise anything
        return _verdict(Code.BAD_TESTS, tally, f"the tests raised {describe(error)}", False)
    return _verdict(Code.OK, tally, tally.failure, tally.passed < tally.total)


WILD = "wild"
"""The text of a verdict that asks for a grader of its own."""


def _verdict(code: Code, tally: Tally, text: str, program: bool) -> bytes:
    return VERDICT.pack(code, int(program), tally.passed, tally.total, encode(text, 180))


def run_plan(plan: Plan, caller: Caller, tally: Tally, given: dict[str, Any] | None = None) -> None:
    """Run tests; ``given`` holds the program's own objects where it shares the process."""
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    scope = module.__dict__
    scope["__builtins__"] = dict(vars(builtins))
    scope[TALLY] = tally
    for name in plan.names:
        scope[name] = given.get(name) if given is not None else proxy_for(caller, name)
    try:
        exec(compile(plan.tree, "tests.py", "exec", dont_inherit=True), scope)  # noqa: S102  tests are code
        if plan.check:
            target = given.get(plan.entry) if given is not None else proxy_for(caller, plan.entry)
            cast(Any, scope[plan.check])(target)
        _run_test_functions(scope, tally)
    except Exception as error:  # noqa: BLE001  the process edge: tests may raise anything
        if isinstance(error, BadTests):
            raise
        if caller.calls == 0:
            raise BadTests(f"the tests raised {describe(error)} before they called the program") from error
        # Outside an assertion of its own, an exception ends the run: what came after it was not passed.
        tally.total += 1
        tally.failure = tally.failure or describe(error)
    finally:
        scope.clear()
    if tally.total == 0:
        if caller.calls == 0:
            raise BadTests("the tests neither assert anything nor call the program")
        tally.total = tally.passed = 1


def _run_test_functions(scope: dict[str, Any], tally: Tally) -> None:
    for name, value in list(scope.items()):
        if (
            isinstance(value, types.FunctionType)
            and name.startswith("test")
            and value.__code__.co_argcount == 0
        ):
            if value.__module__ == "tests":
                with tally:
                    value()
        elif isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
            for case in _cases_of(value):
                with tally:
                    case.debug()


def _cases_of(kind: type[unittest.TestCase]) -> Iterator[unittest.TestCase]:
    for name in unittest.defaultTestLoader.getTestCaseNames(kind):
        yield kind(name)


class _Here:
    """Stands in for :class:`Caller` where the program is in this process."""

    calls = 1


def main_together(descriptors: list[int]) -> None:
    """Run program and tests in this one process. The program can forge the verdict; the trainer stamps it so.

    Args:
        descriptors: The source, the job, and the socket for the verdict.
    """
    from rlar_graph.sandbox.candidate import define, find, verdict_on

    source, job, control = descriptors
    tally = Tally()
    module, error = define(read_all(source), "solution")
    code, text = verdict_on(error)
    if code is not Code.OK:
        os.write(control, _verdict(code, tally, text, True))
        return
    _, tests, entry = unpack(read_all(job))
    try:
        plan = plan_tests(tests, entry, objects=True)
        given = {name: find(module, name) for name in plan.names}
        run_plan(plan, cast(Caller, _Here()), tally, given)
    except BadTests as problem:
        os.write(control, _verdict(Code.BAD_TESTS, tally, str(problem), False))
    except BaseException as problem:  # noqa: BLE001  the process edge
        os.write(control, _verdict(Code.ERROR, tally, describe(problem), True))
    else:
        os.write(control, _verdict(Code.OK, tally, tally.failure, tally.passed < tally.total))
