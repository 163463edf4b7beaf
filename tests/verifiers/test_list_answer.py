"""Whether a completion gives exactly the elements of a list or set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlar_graph.probes import Probe, hostile_set, load_table
from rlar_graph.rewards.verifiers.list_answer import ListAnswerVerifier, elements, is_order_free
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

TABLE = load_table("list_answer")
WANTED: dict[str, tuple[float | None, ...]] = {
    "good": (1.0,),
    "bad": (0.0,),
    "hostile": (0.0, None),
    "abstain": (None,),
}


def judge(probe: Probe) -> Verdict:
    """Return the verdict on a probe's completion."""
    return ListAnswerVerifier().score([replace(probe.rollout, completions=(probe.completion,))])[0][0]


def value(prompt: str, reference: object, completion: str) -> float | None:
    """Return the value of one completion."""
    return ListAnswerVerifier().score([Rollout(prompt, (completion,), reference)])[0][0].value


@pytest.mark.parametrize("probe", TABLE, ids=[f"{probe.expect}: {probe.why}" for probe in TABLE])
def test_every_row_of_the_table_holds(probe: Probe) -> None:
    wanted = WANTED[probe.expect]
    assert judge(probe).value in wanted


def test_nothing_of_the_hostile_set_is_accepted() -> None:
    good = next(probe for probe in TABLE if probe.expect == "good")
    for probe in hostile_set(good.rollout.prompt, good.rollout.reference, good.completion):
        assert judge(probe).value != 1.0, probe.why


@pytest.mark.parametrize(
    "text",
    [
        "a, b, c",
        "a b c",
        "[a, b, c]",
        '["a", "b", "c"]',
        "['a', 'b', 'c']",
        "a; b; c",
        "1. a\n2. b\n3. c",
        "a, b and c",
    ],
)
def test_elements_of_a_text(text: str) -> None:
    assert elements(text) == ["a", "b", "c"]


def test_elements_that_contain_and_stay_whole() -> None:
    reference = ["black and white", "red"]
    assert value("Which films?", reference, "black and white, red") == 1.0
    assert value("Which films?", reference, "black, white, red") == 0.0


@pytest.mark.parametrize(
    ("prompt", "free"),
    [
        ("Find all primes below 10.", True),
        ("List all words, sorted alphabetically.", False),
        ("List the words in any order, not sorted.", True),
        ("Reverse the list.", False),
        ("Name the members.", False),
    ],
)
def test_order_matters_unless_the_prompt_says_otherwise(prompt: str, free: bool) -> None:
    assert is_order_free(prompt, "a, b") is free


def test_set_as_reference_has_no_order() -> None:
    assert is_order_free("", {"a", "b"})
    assert value("", {"a", "b"}, "b, a") == 1.0


@pytest.mark.parametrize("unit", [",", " and ", "['", "[1,", "1. ", "- ", "word: ", "\\boxed{", "a,b\n"])
def test_a_megabyte_is_quick(unit: str) -> None:
    completion = unit * (1_000_000 // len(unit))
    with linear():
        assert value("List all.", "a, b, c", completion) == 0.0
