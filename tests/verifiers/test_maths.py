"""The maths verifier as a whole: its table, its sandboxed half, its abstentions, and the development data."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph.probes import Probe, hostile_set, load_table
from rlar_graph.rewards.verifiers.maths import MathsVerifier
from rlar_graph.sandbox import Limits, Sandbox, open_sandbox
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
TABLE = load_table("maths")
PROMPTS = [
    "What is 41 + 41? Give just the number.",
    "Solve 2x + 3 = 5 for x.",
    "A box holds 10 pens; 0 are red, 1 is blue and 5 are 82% full. How many?",
]
ANSWERS = [
    ("82", "The answer is 82."), ("3/4", r"\boxed{\frac34}"), ("(1,2)", r"\boxed{(1,2)}"), ("x^2+1", "x^2+1"), (5, "5"),
    ("0", "0"), ("1", "= 1"), ("10", "10"), (r"\frac{\pi}{2}", r"\frac{\pi}{2}"), (1.5, "1.5"),
]  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def verifier(sandbox: Sandbox) -> MathsVerifier:
    return MathsVerifier(lambda: sandbox)


def no_sandbox() -> Sandbox:
    raise AssertionError("the exact cascade was to settle this")


def judge(
    verifier: MathsVerifier, reference: object, *completions: str, prompt: str = "Solve it."
) -> list[Verdict]:
    [row] = verifier.score([Rollout(prompt=prompt, completions=completions, reference=reference)])
    return row


@pytest.mark.parametrize("probe", TABLE, ids=lambda probe: f"{probe.expect}: {probe.why[:40]}")
def test_every_row_of_the_table_holds(verifier: MathsVerifier, probe: Probe) -> None:
    [[verdict]] = verifier.score([replace(probe.rollout, completions=(probe.completion,))])
    expected = {"good": (1.0,), "bad": (0.0,), "hostile": (0.0, None), "abstain": (None,)}[probe.expect]
    assert verdict.value in expected


@pytest.mark.parametrize(("reference", "good"), ANSWERS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_nothing_hostile_is_accepted(
    verifier: MathsVerifier, prompt: str, reference: object, good: str
) -> None:
    assert judge(verifier, reference, good, prompt=prompt)[0].value == 1.0
    for probe in hostile_set(prompt, reference, good):
        assert judge(verifier, reference, probe.completion, prompt=prompt)[0].value in (0.0, None), probe.why


def test_ordinary_answers_never_reach_the_sandbox() -> None:
    verifier = MathsVerifier(no_sandbox)
    assert [v.value for v in judge(verifier, "18", "#### 18", "19", "I do not know.", r"\boxed{18.0}")] == [
        1,
        0,
        0,
        1,
    ]
    assert [v.value for v in judge(verifier, r"2\sqrt3", r"\boxed{\sqrt{12}}", r"\boxed{6}")] == [1, 0]


@pytest.mark.parametrize(
    "reference",
    [
        "18",
        18,
        18.0,
        "#### 18",
        "He has 9 + 9 = 18 of them.\n#### 18",
        r"so it is $\boxed{18}$.",
        "The answer is 18.",
        ["18"],
        "$18$",
    ],
)
def test_a_reference_may_be_a_number_or_a_worked_solution(reference: object) -> None:
    assert [v.value for v in judge(MathsVerifier(no_sandbox), reference, "18", "9")] == [1.0, 0.0]


def test_an_alias_is_as_good_as_the_reference(verifier: MathsVerifier) -> None:
    rollout = Rollout(prompt="?", completions=("7", r"\sin(x)", "8"), reference="8", aliases=(r"\sin x",))
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "reference", [None, True, {"a": 1}, "", [], [None], r"\frac{1}{", r"\foo = \bar", "p \\rightarrow q"]
)
def test_what_cannot_be_read_as_maths_abstains(verifier: MathsVerifier, reference: object) -> None:
    [verdict] = judge(verifier, reference, r"\boxed{2 \oplus 3}")
    assert verdict.value is None
    assert verdict.abstained


def test_two_unreadable_equations_are_not_equal(verifier: MathsVerifier) -> None:
    answers = (r"\boxed{\Gamma \vdash \psi = \Phi}", r"\boxed{0}", r"\boxed{1 = 1}")
    assert all(verdict.value != 1.0 for verdict in judge(verifier, r"\Phi \models \psi = \Gamma", *answers))


def test_the_same_unreadable_text_is_right(verifier: MathsVerifier) -> None:
    assert judge(verifier, r"p \rightarrow q", r"\boxed{p\rightarrow q}")[0].value == 1.0


def test_running_out_of_time_abstains(sandbox: Sandbox) -> None:
    verifier = MathsVerifier(lambda: sandbox, Limits(seconds=0.5, memory_mb=1024))
    hard = r"\boxed{\prod_{k=1}^{9999} (\sin(k)^{9} + \cos(k \cdot x)^{7})}"
    [verdict] = judge(verifier, r"\cos(x)^{99}", hard)
    assert verdict.value is None
    assert "math-verify" in (verdict.abstained or "")


@pytest.mark.parametrize(
    "hostile",
    [
        r"\boxed{9^{9^{9^{9}}}}", r"\boxed{(10^7)!}", r"\boxed{\sum_{k=1}^{10^9} k}",
        "\\boxed{" + "{" * 3000 + "42" + "}" * 3000,
        "x " * 500_000 + r"\boxed{41}", "1," * 60_000 + "7", r"\boxed{41} \boxed{42} \boxed{43} \boxed{44}",
        r"\boxed{41, 42, 43, 44}", "", r"\boxed{41}" * 20_000,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_hostile_answers_are_wrong_at_once(hostile: str) -> None:
    with linear():
        assert judge(MathsVerifier(no_sandbox), "42", hostile)[0].value == 0.0


def test_another_thread_judges_the_same(verifier: MathsVerifier) -> None:
    found: list[Verdict] = []
    thread = threading.Thread(
        target=lambda: found.extend(judge(verifier, r"\sin^2 y", r"\boxed{1-\cos^2 y}"))
    )
    thread.start()
    thread.join()
    assert [verdict.value for verdict in found] == [1.0]


def test_a_closed_sandbox_abstains_only_for_what_needs_it() -> None:
    with open_sandbox(workers=1) as closed:
        pass
    first, second = judge(MathsVerifier(lambda: closed), r"\tan x", r"\boxed{\tan(x)}", r"\boxed{\tan x}")
    assert first.value is None
    assert second.value == 1.0


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("gsm8k_solutions", 0.995),
        ("math_verify_cases", 0.97),
        ("math100_samples", 0.98),
        ("adversarial_math", 0.98),
    ],
)
def test_the_development_data(verifier: MathsVerifier, name: str, target: float) -> None:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the development data is not here")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    rollouts = [
        Rollout(
            prompt=record["prompt"],
            completions=record["chosen"] + record["rejected"],
            reference=record["reference"],
        )
        for record in records
    ]
    hits = total = accepted = 0
    for record, row in zip(records, verifier.score(rollouts), strict=True):
        for index, verdict in enumerate(row):
            right = index < len(record["chosen"])
            hits += verdict.value == (1.0 if right else 0.0)
            accepted += verdict.value == 1.0 and not right
            total += 1
    assert hits / total >= target
    assert accepted == 0 or name != "adversarial_math"


@pytest.mark.parametrize(
    ("prompt", "reference", "completion", "value"),
    [
        ("What is 9 + 4?", "13", "9 + 4", 0.0),
        ("What is 9 + 4?", "13", r"\boxed{9+4}", 0.0),
        ("Work out 7 × 8.", "56", "The answer is $(8 × 7)$.", 0.0),
        ("What is 12 / 4?", "3", "12/4", 0.0),
        ("What is 9 + 4?", "13", "9 + 4 = 13", 1.0),
        ("What is 3/8 as a decimal?", "0.375", "3/8", 0.0),
        ("A pipe is 3/8 inch wide. How wide are 1 of them?", "0.375", "3/8", 1.0),
        ("Which is larger, 3/4 or 2/3?", "3/4", "3/4", 1.0),
        ("How many rolls are 12 trays of 8?", "96", "12 * 8", 1.0),
        ("What is 2 + 8? Write it in scientific notation.", "10", "1 * 10", 1.0),
    ],
)
def test_the_sum_that_was_asked_is_not_its_result(
    verifier: MathsVerifier, prompt: str, reference: str, completion: str, value: float
) -> None:
    [verdict] = judge(verifier, reference, completion, prompt=prompt)
    assert verdict.value == value
