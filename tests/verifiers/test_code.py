"""Programs against tests, in the real sandbox."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph.probes import Probe, hostile_set, load_table
from rlar_graph.rewards.verifiers.code import CodeVerifier
from rlar_graph.sandbox import Limits, Outcome, Sandbox, TestJob, open_sandbox
from rlar_graph.types import Rollout, Verdict

TABLE = load_table("code")
WANTED: dict[str, tuple[float | None, ...]] = {
    "good": (1.0,),
    "bad": (0.0,),
    "hostile": (0.0, None),
    "abstain": (None,),
}
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
METHOD = "```python\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b\n```"
STDIN = "```python\na, b = map(int, input().split())\nprint(a + b)\n```"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for the module."""
    with open_sandbox() as opened:
        yield opened


@pytest.fixture
def verifier(sandbox: Sandbox) -> CodeVerifier:
    """A verifier with limits that no honest program meets."""
    return CodeVerifier(lambda: sandbox, Limits(seconds=60.0))


def judge(verifier: CodeVerifier, probes: list[Probe]) -> list[Verdict]:
    """Return the verdicts on probes' completions, in one batch."""
    rows = verifier.score([replace(probe.rollout, completions=(probe.completion,)) for probe in probes])
    return [row[0] for row in rows]


def test_every_row_of_the_table_holds(verifier: CodeVerifier) -> None:
    verdicts = judge(verifier, list(TABLE))
    broken = [
        (probe.expect, probe.why, verdict)
        for probe, verdict in zip(TABLE, verdicts, strict=True)
        if verdict.value not in WANTED[probe.expect]
    ]
    assert not broken


def test_nothing_of_the_hostile_set_is_accepted(verifier: CodeVerifier) -> None:
    for good in (
        next(p for p in TABLE if p.rollout.entry_point),
        next(p for p in TABLE if not p.rollout.entry_point),
    ):
        evidence = {"tests": good.rollout.tests, "entry_point": good.rollout.entry_point}
        probes = list(hostile_set(good.rollout.prompt, None, good.completion, **evidence))
        accepted = [p.why for p, v in zip(probes, judge(verifier, probes), strict=True) if v.value == 1.0]
        assert not accepted


@pytest.mark.parametrize(
    ("tests", "entry_point", "right", "wrong"),
    [
        pytest.param(
            "METADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n",
            "add",
            RIGHT,
            WRONG,
            id="check",
        ),
        pytest.param(
            "def check(candidate):\n    assert candidate(1, 2) == 3\n",
            "Solution().add",
            METHOD,
            WRONG,
            id="method",
        ),
        pytest.param(
            {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}, None, METHOD, WRONG, id="fn_name, method"
        ),
        pytest.param(
            "from solution import add\n\ndef test_one():\n    assert add(1, 2) == 3\n",
            None,
            RIGHT,
            WRONG,
            id="pytest",
        ),
        pytest.param("assert add(1, 2) == 3\nassert add(2, 2) == 4", None, RIGHT, WRONG, id="assert text"),
        pytest.param(
            ["import math", "assert math.isclose(add(1, 2), 3)"], None, RIGHT, WRONG, id="assert list"
        ),
        pytest.param('{"inputs": ["1 2\\n"], "outputs": ["3\\n"]}', None, STDIN, WRONG, id="JSON text"),
        pytest.param([["1 2", "3"]], None, STDIN, WRONG, id="pairs"),
        pytest.param([{"input": "1 2\n", "output": "3\n"}], None, STDIN, WRONG, id="dicts"),
    ],
)
def test_forms_of_tests(
    verifier: CodeVerifier, tests: object, entry_point: str | None, right: str, wrong: str
) -> None:
    rollout = Rollout("Write add.", (right, wrong), tests=tests, entry_point=entry_point)
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("while True: pass", "timeout"),
        ("return bytearray(10**11)", "memory"),
        ("import os; os.abort()", "crashed"),
        ("return undefined", "ok"),
    ],
)
def test_fault_of_the_program_is_wrong_and_says_how(sandbox: Sandbox, body: str, status: str) -> None:
    verifier = CodeVerifier(lambda: sandbox, Limits(seconds=0.5 if status == "timeout" else 60.0))
    rollout = Rollout(
        "Write add.", (f"```python\ndef add(a, b):\n    {body}\n```",), tests=["assert add(1, 2) == 3"]
    )
    verdict = verifier.score([rollout])[0][0]
    assert verdict.value == 0.0
    assert verdict.detail["status"] == status


def test_detail_counts_and_partial_gives_the_fraction(sandbox: Sandbox) -> None:
    rollout = Rollout("Write add.", (WRONG, RIGHT), tests=["assert add(1, 0) == 1", "assert add(1, 2) == 3"])
    whole, partial = CodeVerifier(lambda: sandbox), CodeVerifier(lambda: sandbox, partial=True)
    assert [verdict.value for verdict in whole.score([rollout])[0]] == [0.0, 1.0]
    half, full = partial.score([rollout])[0]
    assert (half.value, full.value) == (0.5, 1.0)
    assert {name: half.detail[name] for name in ("passed", "total", "fraction")} == {
        "passed": 1,
        "total": 2,
        "fraction": 0.5,
    }


def test_completions_without_code_never_open_the_sandbox() -> None:
    def refuse() -> Sandbox:
        raise AssertionError("the sandbox was asked for")

    rollout = Rollout(
        "Write add.", ("", "I cannot.", "<think>def add(a, b): ..."), tests=["assert add(1, 2) == 3"]
    )
    assert [verdict.value for verdict in CodeVerifier(refuse).score([rollout])[0]] == [0.0] * 3


def test_helper_that_only_the_tests_call_comes_from_the_prompt(verifier: CodeVerifier) -> None:
    prompt = (
        "def double(x):\n    return 2 * x\n\n\n"
        'def halve(x):\n    """Undo double.\n\n    >>> halve(4)\n    2\n    """\n'
    )
    tests = "def check(candidate):\n    for x in range(5):\n        assert candidate(double(x)) == x\n"
    completions = (
        "    return x // 2\n",
        "```python\ndef halve(x):\n    return x // 2\n```",
        "    return x\n",
    )
    rollout = Rollout(prompt, completions, tests=tests, entry_point="halve")
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [1.0, 1.0, 0.0]


def test_equal_programs_run_once(
    verifier: CodeVerifier, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tests_batch, sizes = sandbox.run_tests_batch, []

    def counted(jobs: Sequence[TestJob], limits: Limits) -> list[Outcome]:
        sizes.append(len(jobs))
        return run_tests_batch(jobs, limits)

    monkeypatch.setattr(sandbox, "run_tests_batch", counted)
    rollouts = [Rollout("Write add.", (RIGHT,) * 20, tests=["assert add(1, 2) == 3"])] * 2
    values = [verdict.value for row in verifier.score(rollouts) for verdict in row]
    assert values == [1.0] * 40
    assert sizes == [1]


def test_same_program_under_other_tests_is_run_again(verifier: CodeVerifier) -> None:
    rollouts = [
        Rollout("Write add.", (RIGHT,), tests=["assert add(1, 2) == 3"]),
        Rollout("Write add.", (RIGHT,), tests=["assert add(1, 2) == 4"]),
    ]
    assert [row[0].value for row in verifier.score(rollouts)] == [1.0, 0.0]


def test_labelled_programs(sandbox: Sandbox, shared_data: Path) -> None:
    """Programs labelled wrong only by tests that the record does not hold (EvalPlus) are left out."""
    records, rollouts = [], []
    with gzip.open(shared_data / "mbpp_samples.jsonl.gz", "rt") as lines:
        for record in list(map(json.loads, lines))[::4]:
            meta = record["meta"]
            pairs = zip(record["rejected"], meta["rejected_pass_base"], strict=True)
            decidable = [completion for completion, passes_these in pairs if not passes_these]
            records.append(record)
            rollouts.append(
                Rollout(
                    record["prompt"],
                    (*record["chosen"], *decidable),
                    tests=meta["test"],
                    entry_point=meta["entry_point"],
                )
            )
    right = total = 0
    for record, row in zip(records, CodeVerifier(lambda: sandbox).score(rollouts), strict=True):
        for place, verdict in enumerate(row):
            total += 1
            right += verdict.value == float(place < len(record["chosen"]))
    assert total > 100
    assert right / total >= 0.98
