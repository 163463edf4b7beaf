"""Whether a completion's short answer is the reference."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph.probes import Probe, hostile_set, load_table
from rlar_graph.rewards.verifiers.choice import ChoiceVerifier
from rlar_graph.rewards.verifiers.list_answer import ListAnswerVerifier
from rlar_graph.rewards.verifiers.short_answer import ShortAnswerVerifier, polarity
from rlar_graph.rewards.verifiers.word_form import symbols, words
from rlar_graph.routing.router import route
from rlar_graph.routing.signature import AnswerType
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

TABLE = load_table("short_answer")
WANTED: dict[str, tuple[float | None, ...]] = {
    "good": (1.0,),
    "bad": (0.0,),
    "hostile": (0.0, None),
    "abstain": (None,),
}


def judge(probe: Probe) -> Verdict:
    """Return the verdict on a probe's completion."""
    return ShortAnswerVerifier().score([replace(probe.rollout, completions=(probe.completion,))])[0][0]


@pytest.mark.parametrize("probe", TABLE, ids=[f"{probe.expect}: {probe.why}" for probe in TABLE])
def test_every_row_of_the_table_holds(probe: Probe) -> None:
    wanted = WANTED[probe.expect]
    assert judge(probe).value in wanted


def test_nothing_of_the_hostile_set_is_accepted() -> None:
    seen = set()
    for good in (probe for probe in TABLE if probe.expect == "good"):
        if good.rollout.prompt in seen:
            continue
        seen.add(good.rollout.prompt)
        for probe in hostile_set(good.rollout.prompt, good.rollout.reference, good.completion):
            assert judge(probe).value != 1.0, (good.rollout.reference, probe.why)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The U.S.A.", "usa"), ("twenty-one", "21"), ("3rd of March 2021", "2021-03-03"), 
        ("25/12/2021", "Dec 25, 2021"),
        ("5km", "5 kilometres"), ("1,234", "1234"),
        ("Zürich", "Zurich"), ("“rock’n’roll”", "rocknroll"), ("R&B", "R and B"),
        ("mother-in-law", "Mother in Law"), ("50 %", "50 percent"), ("second", "2nd"),
    ],
)  # fmt: skip
def test_same_words(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("03/04/2021", "April 3, 2021"), ("03/04/2021", "March 4, 2021"), ("5 km", "5 m"), ("-5", "5"), ("1.5", "15"),
        ("Раris", "Paris"), ("vitamin A", "vitamin"), ("valid", "invalid"), ("его", "ёго"), ("12:30", "1230"),
    ],
)  # fmt: skip
def test_different_words(one: str, other: str) -> None:
    assert words(one) != words(other)


def test_symbols_keep_lines_and_case_but_not_blanks() -> None:
    assert symbols("1  0 \n\n0 1\n") == "1 0\n0 1" != symbols("1 0 0 1")
    assert symbols(") } ]") == symbols(")}]")
    assert symbols("A# #B") != symbols("a# #b")


@pytest.mark.parametrize(
    ("said", "polar"),
    [
        ("Yes, there is no doubt.", True), ("No, yes-men said so.", False), ("It is not true.", False),
        ("yes and no", None),
        ("Yes or no?", None), ("Nothing.", None), ("Yesterday.", None), ("Yes. Wait, actually no.", None),
        ("**True**", True),
        ("Trains run on rails. So it is plausible: the statement is true.", True), ("", None),
    ],
)  # fmt: skip
def test_polarity(said: str, polar: bool | None) -> None:
    assert polarity(said) is polar


def test_any_alias_is_right_and_case_matters_only_where_asked() -> None:
    verifier = ShortAnswerVerifier()
    rollout = Rollout(
        "Who?", ("Mark Twain", "Samuel Clemens", "Twain"), "Mark Twain", aliases=("Samuel Clemens",)
    )
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [1.0, 1.0, 0.0]
    rollout = Rollout("Write it in lowercase.", ("ABC", "abc"), "abc")
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [0.0, 1.0]


@pytest.mark.parametrize("reference", ["Paris", "> } #", "yes"])
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "St. ",
        ". ",
        "answer is ",
        "<answer>",
        "```\n",
        "\u0301",
        "\u200b",
        "yes no ",
        "1/",
        "=: ",
        "is: ",
    ],
)
def test_a_megabyte_is_quick(reference: str, unit: str) -> None:
    completion = unit * (1_000_000 // len(unit))
    with linear():
        verdict = ShortAnswerVerifier().score([Rollout("Which?", (completion,), reference)])[0][0]
        assert verdict.value == 0.0


@pytest.mark.parametrize(("name", "floor"), [("bbh_codex", 0.98), ("reasoning_gym", 0.95)])
def test_labelled_completions_where_the_reference_is_no_number(
    shared_data: Path, name: str, floor: float
) -> None:
    short = ShortAnswerVerifier()
    tools = {
        AnswerType.STRING: short, AnswerType.BOOLEAN: short,
        AnswerType.CHOICE: ChoiceVerifier(), AnswerType.LIST: ListAnswerVerifier(),
    }  # fmt: skip
    right = total = 0
    with gzip.open(shared_data / f"{name}.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            completions = (*record["chosen"], *record["rejected"])
            rollout = Rollout(record["prompt"], completions, record["reference"])
            tool = tools.get(route(rollout).signature.answer)
            if tool is None:
                continue
            for place, verdict in enumerate(tool.score([rollout])[0]):
                total += 1
                right += verdict.value == float(place < len(record["chosen"]))
    assert total > 300
    assert right / total >= floor
