"""Inside a grader: run tests against a program that lives in another process.

The tests call proxies; arguments and answers cross as plain values; comparisons happen here, where the program's code
never runs. One grader serves many programs as long as the tests are tame (see checks.py), else it serves one.
"""

from __future__ import annotations

import array
import os
import socket
from functools import partial

from rlar_graph.sandbox.candidate import define, find, verdict_on
from rlar_graph.sandbox.cases import run_cases
from rlar_graph.sandbox.checks import Plan, plan_tests
from rlar_graph.sandbox.describe import describe
from rlar_graph.sandbox.objects import BadTests, NeedsObjects
from rlar_graph.sandbox.plain import unpack
from rlar_graph.sandbox.proxy import Caller, NeedsCallable, ProgramEnded, ProgramFull, proxy_for
from rlar_graph.sandbox.serve import encode, read_all
from rlar_graph.sandbox.tally import Tally, run_plan
from rlar_graph.sandbox.wire import VERDICT, Code

_JOB_BYTES = 8


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
        plan = _plan(plans, tests, entry) if form == "text" else None
        if plan is not None and not plan.tame and not any_tests:
            return _verdict(Code.BAD_TESTS, tally, WILD, False)
        code, text = caller.hello()
        if code is not Code.OK:
            return _verdict(code, tally, text, True)
        if plan is None:
            run_cases(tests, proxy_for(caller, entry), tally)
        else:
            run_plan(plan, tally, partial(proxy_for, caller), lambda: caller.calls)
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


def _plan(plans: dict[tuple[str, str], Plan], tests: str, entry: str) -> Plan:
    """The plan for these tests; a rollout grades many programs against the same ones."""
    plan = plans.get((tests, entry))
    if plan is None:
        if len(plans) > 64:
            plans.clear()
        plan = plans[tests, entry] = plan_tests(tests, entry)
    return plan


WILD = "wild"
"""The text of a verdict that asks for a grader of its own."""


def _verdict(code: Code, tally: Tally, text: str, program: bool) -> bytes:
    return VERDICT.pack(code, int(program), tally.passed, tally.total, encode(text, 180))


def main_together(descriptors: list[int]) -> None:
    """Run program and tests in this one process. The program can forge the verdict; the trainer stamps it so.

    Args:
        descriptors: The source, the job, and the socket for the verdict.
    """
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
        run_plan(plan, tally, partial(find, module), lambda: 1)
    except BadTests as problem:
        os.write(control, _verdict(Code.BAD_TESTS, tally, str(problem), False))
    except BaseException as problem:  # noqa: BLE001  the process edge
        os.write(control, _verdict(Code.ERROR, tally, describe(problem), True))
    else:
        os.write(control, _verdict(Code.OK, tally, tally.failure, tally.passed < tally.total))
