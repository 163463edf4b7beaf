"""Which option a completion settles on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlar_graph.probes import Probe, hostile_set, load_table
from rlar_graph.rewards.verifiers.choice import ChoiceVerifier, chosen_label, reference_label
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

OPTIONS = (("A", "Paris"), ("B", "London"), ("C", "Rome"), ("D", "Paris and London"))
TABLE = load_table("choice")
WANTED: dict[str, tuple[float | None, ...]] = {
    "good": (1.0,),
    "bad": (0.0,),
    "hostile": (0.0, None),
    "abstain": (None,),
}


def judge(probe: Probe) -> Verdict:
    """Return the verdict on a probe's completion."""
    return ChoiceVerifier().score([replace(probe.rollout, completions=(probe.completion,))])[0][0]


@pytest.mark.parametrize("probe", TABLE, ids=[f"{probe.expect}: {probe.why}" for probe in TABLE])
def test_every_row_of_the_table_holds(probe: Probe) -> None:
    value = judge(probe).value
    wanted = WANTED[probe.expect]
    assert value in wanted


def test_nothing_of_the_hostile_set_is_accepted() -> None:
    good = next(probe for probe in TABLE if probe.expect == "good")
    for probe in hostile_set(good.rollout.prompt, good.rollout.reference, good.completion):
        assert judge(probe).value != 1.0, probe.why


@pytest.mark.parametrize(
    "said",
    [
        "c)", "{C}", "C - Rome", "It's C.", "I'd say C", "I think the answer is C", "Rome is correct.",
        "### Answer\nC", "C is the right choice", "\\boxed{(C)\\ Rome}", "Thus, the answer is \\textbf{(C)}.",
        "Looking at (A) and (B), neither fits. Hence C.", "The answer is C, not B.", "C\n\nBecause it is.",
        "A is wrong, B is wrong, D is wrong, so C is the answer.", "The answer is (C) Rome, since A is not.",
        "Let me think.\n\nThe options A and B are wrong.\n\nC", "Among the options, only C is right.",
    ],
)  # fmt: skip
def test_ways_to_name_an_option(said: str) -> None:
    assert chosen_label(said, OPTIONS) == "C"


def test_longer_option_is_not_taken_for_the_shorter_one_in_it() -> None:
    assert chosen_label("It is Paris and London.", OPTIONS) == "D"


@pytest.mark.parametrize(
    "said", ["Z", "(A) or (C)", "A good question.", "I like C++.", "vitamin C deficiency"]
)
def test_ways_to_name_none(said: str) -> None:
    assert chosen_label(said, OPTIONS) is None


@pytest.mark.parametrize(
    ("reference", "label"),
    [
        ("(B)", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("London", "B"),
        ("B) London", "B"),
        ("E", None),
        ("Oslo", None),
        (True, None),
    ],
)
def test_reference_names_an_option_by_label_or_text(reference: object, label: str | None) -> None:
    assert reference_label(reference, OPTIONS) == label


def test_letter_is_compared_where_no_options_are_known() -> None:
    scores = ChoiceVerifier().score([Rollout("Which one?", ("The answer is (F).", "G"), "F")])
    assert [verdict.value for verdict in scores[0]] == [1.0, 0.0]


@pytest.mark.parametrize(
    "unit", ["(A) ", "A or B ", "is A ", "*_`", "option ", "A is wrong, ", "\u0301", "[(["]
)
def test_a_megabyte_is_quick(unit: str) -> None:
    completion = unit * (1_000_000 // len(unit))
    with linear():
        ((verdict,),) = ChoiceVerifier().score(
            [Rollout("Which?\n(A) Paris\n(B) London", (completion,), "(B)")]
        )
    assert verdict.value == 0.0
