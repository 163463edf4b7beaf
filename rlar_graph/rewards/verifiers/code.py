"""Python code against tests, run in the sandbox: function tests, assert lists, or stdin and stdout.

The program is found by :mod:`~rlar_graph.rewards.verifiers.code_block` and run where it cannot see its tests. A
program that is wrong, raises, hangs, dies or does not parse failed them: that is 0. Tests that cannot be run, or a
sandbox that fails, say nothing about the program: that is an abstention.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from keyword import kwlist

from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.verifiers.code_block import find_program
from rlar_graph.rewards.verifiers.final_answer import spoken
from rlar_graph.sandbox.base import Limits, Outcome, Sandbox, TestJob
from rlar_graph.types import Rollout, Verdict, abstain

_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\(")
_DEFINED = re.compile(r"^\s*(?:def|class)\s+(\w+)|\bimport\s+(\w+)", re.MULTILINE)
_WITHDRAWN = re.compile(
    r"\b(?:take (?:it|that|this) back|above is wrong|disregard (?:this|that|the above))\b", re.I
)
_NOT_TESTED = frozenset(dir(builtins)) | frozenset(kwlist) | {"check", "candidate", "isclose"}
_PAIR_KEYS = (("input", "output"), ("inputs", "outputs"))


@dataclass(frozen=True, slots=True)
class Tests:
    """A rollout's tests in a form that the sandbox takes."""

    form: object
    """What is handed to the sandbox."""
    entry_point: str | None
    """Name of the function under test; None where the tests name it or read stdout."""
    names: frozenset[str]
    """Names one of which the program must bind; empty for programs that read stdin."""
    called: frozenset[str] = frozenset()
    """Every name the tests call and do not define: some are helpers that the prompt defines."""


class CodeVerifier:
    """Runs completions' Python programs against the rollout's tests; all must pass.

    Args:
        sandbox: Returns the open sandbox; called when there is something to run.
        limits: What one program and all its tests may use.
        partial: Give the fraction of tests passed instead of all or nothing.
    """

    def __init__(
        self, sandbox: Callable[[], Sandbox], limits: Limits | None = None, *, partial: bool = False
    ) -> None:
        self._sandbox = sandbox
        self._limits = limits or Limits(seconds=10.0)
        self._partial = partial
        self.spec = ToolSpec(
            name="code",
            kind="verifier",
            summary="Runs a Python program in the sandbox against function tests or input and output pairs.",
            graded=partial,
        )

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Run every distinct pair of program and tests once, in one batch, and hand the verdicts back."""
        jobs: list[TestJob] = []
        places: dict[tuple[str, str, str | None], int] = {}
        rows: list[list[int | Verdict]] = []
        for rollout in rollouts:
            tests = read_tests(rollout)
            if isinstance(tests, Verdict):
                rows.append([tests] * len(rollout.completions))
                continue
            row: list[int | Verdict] = []
            known = repr(tests.form)
            for completion in rollout.completions:
                program = _program(completion, rollout.prompt, tests)
                if program is None:
                    row.append(_failed("no program", "the completion holds no Python program"))
                    continue
                place = places.setdefault((program, known, tests.entry_point), len(jobs))
                if place == len(jobs):
                    jobs.append(TestJob(program, tests.form, tests.entry_point))
                row.append(place)
            rows.append(row)
        outcomes = self._sandbox().run_tests_batch(jobs, self._limits) if jobs else []
        verdicts = [self._verdict(outcome) for outcome in outcomes]
        return [[entry if isinstance(entry, Verdict) else verdicts[entry] for entry in row] for row in rows]

    def _verdict(self, outcome: Outcome) -> Verdict:
        """Turn what came of a test run into a verdict."""
        if outcome.fault == "sandbox" or (outcome.status == "ok" and not outcome.total):
            reason = outcome.detail or "no test was counted"
            return abstain(f"the tests could not be run: {reason}", status=outcome.status)
        if outcome.status != "ok":
            return _failed(outcome.status, outcome.detail, outcome.passed, outcome.total)
        fraction = outcome.passed / outcome.total
        value = fraction if self._partial else float(outcome.passed == outcome.total)
        detail = _detail(outcome.passed, outcome.total, "ok", outcome.detail)
        return Verdict(value, detail=detail if outcome.attested else {**detail, "attested": False})


def _detail(passed: int, total: int, status: str, why: str) -> dict[str, object]:
    """Return what a log may want to know of a test run."""
    fraction = passed / total if total else 0.0
    return {"passed": passed, "total": total, "fraction": fraction, "status": status, "why": why}


def _failed(status: str, why: str, passed: int = 0, total: int = 0) -> Verdict:
    """Return the verdict on a program that did not get through its tests."""
    return Verdict(0.0, detail=_detail(passed, total, status, why))


def _program(completion: str, prompt: str, tests: Tests) -> str | None:
    """Return the program a completion answers with; None where there is none or it is taken back."""
    bounds = spoken(completion)
    if bounds is None:
        return None
    said = completion[slice(*bounds)]
    last_words = said.rpartition("```" if "```" in said else "\n\n")[2]
    if _WITHDRAWN.search(last_words[-1_000:]):
        return None
    return find_program(said, prompt, tests.names, tests.called)


def read_tests(rollout: Rollout) -> Tests | Verdict:
    """Return a rollout's tests in the form that the sandbox takes, or the abstention where there are none."""
    form = _decoded(rollout.tests)
    if not form or not isinstance(form, str | Mapping | Sequence):
        return abstain("there are no tests")
    entry_point = rollout.entry_point or None
    if isinstance(form, Mapping):
        keys = next((pair for pair in _PAIR_KEYS if set(pair) <= set(form)), None)
        if keys is None:
            return abstain("the tests are a mapping without inputs and outputs")
        entry_point = entry_point or form.get("fn_name")
        return Tests(form, entry_point, _names(entry_point))
    texts = [form] if isinstance(form, str) else list(form)
    if not all(isinstance(text, str) for text in texts):
        return Tests(form, entry_point, _names(entry_point))
    source = "\n".join(texts)
    defined = {name for pair in _DEFINED.findall(source) for name in pair}
    called = frozenset(_CALLED.findall(source)) - _NOT_TESTED
    free = called - defined
    return Tests(form, entry_point, _names(entry_point) if entry_point else free or called, free)


def _decoded(tests: object) -> object:
    """Return tests given as JSON text (APPS stores them so) as what they are."""
    if isinstance(tests, str) and tests.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(tests)
        except (ValueError, RecursionError):  # it is Python after all
            return tests
    return tests


def _names(entry_point: object) -> frozenset[str]:
    """Return what a program must bind to serve an entry point such as ``add`` or ``Solution().add``."""
    if not isinstance(entry_point, str):
        return frozenset()
    return frozenset({entry_point.partition("(")[0].partition(".")[0].strip()})
