"""What a grader found: one fixed-size record, read and checked by the trainer."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from rlar_graph.errors import SandboxError
from rlar_graph.sandbox.base import Outcome, Status
from rlar_graph.sandbox.wire import VERDICT, Code
from rlar_graph.sandbox.worker import text_of

_STATUS: dict[int, Status] = {
    Code.ERROR: "error",
    Code.MEMORY: "memory",
    Code.REFUSED: "refused",
    Code.CRASHED: "crashed",
    Code.BAD_TESTS: "refused",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a grader said, checked."""

    code: int
    """How the run went, see :class:`~rlar_graph.sandbox.wire.Code`."""
    program: bool
    """Whether the program is at fault."""
    passed: int
    """Tests passed."""
    total: int
    """Tests counted."""
    text: str
    """Bounded text for people."""


def read_verdict(control: socket.socket) -> Verdict:
    """Read one verdict and check it.

    Raises:
        SandboxError: There is none, or it makes no sense.
    """
    try:
        raw = control.recv(VERDICT.size, socket.MSG_DONTWAIT)
    except OSError as error:
        raise SandboxError(f"the grader does not answer: {error}") from error
    if len(raw) != VERDICT.size:
        raise SandboxError("the grader ended without a verdict")
    code, program, passed, total, text = VERDICT.unpack(raw)
    if passed > total or program > 1:
        raise SandboxError("the grader's verdict makes no sense")
    return Verdict(code, bool(program), passed, total, text_of(text))


def outcome_of(verdict: Verdict) -> Outcome:
    """A verdict as an outcome."""
    passed, total = verdict.passed, verdict.total
    if verdict.code == Code.OK and total:
        detail = f"{passed}/{total} passed" + (f"; {verdict.text}" if verdict.text else "")
        return Outcome(
            "ok",
            passed / total,
            detail,
            passed=passed,
            total=total,
            fault="program" if passed < total else "",
        )
    status = _STATUS.get(verdict.code, "crashed")
    return Outcome(
        status,
        None,
        verdict.text,
        passed=passed,
        total=total,
        fault="program" if verdict.program else "sandbox",
    )
