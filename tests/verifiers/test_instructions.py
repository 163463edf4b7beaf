"""Verifiable instructions: the table, the published rules, the labels of the official verifier, hostile text."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph.errors import InputError
from rlar_graph.probes import Probe, load_table
from rlar_graph.rewards.verifiers.instruction_text import (
    count_bullets,
    count_capital_words,
    count_highlights,
    count_placeholders,
    has_title,
    language_of,
)
from rlar_graph.rewards.verifiers.instructions import INSTRUCTION_IDS, InstructionVerifier, check
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

TABLE = load_table("instructions")


def judge(
    completion: str,
    *instructions: tuple[str, Mapping[str, object]],
    verifier: InstructionVerifier | None = None,
) -> Verdict:
    rollout = Rollout(
        "Write something.",
        (completion,),
        instruction_id_list=tuple(name for name, _ in instructions),
        kwargs=tuple(given for _, given in instructions),
    )
    return (verifier or InstructionVerifier()).score([rollout])[0][0]


@pytest.mark.parametrize("probe", TABLE, ids=lambda probe: f"{probe.expect}: {probe.why}")
def test_every_row_of_the_table_holds(probe: Probe) -> None:
    ((verdict,),) = InstructionVerifier().score([replace(probe.rollout, completions=(probe.completion,))])
    if probe.expect == "abstain":
        assert verdict.value is None and verdict.abstained
    else:
        assert verdict.value == float(probe.expect == "good")


@pytest.mark.parametrize("name", INSTRUCTION_IDS)
def test_each_instruction_has_good_and_bad_rows(name: str) -> None:
    assert len(INSTRUCTION_IDS) == 25
    said = {probe.expect for probe in TABLE if name in probe.rollout.instruction_id_list}
    assert {"good", "bad"} <= said


def test_it_agrees_with_the_official_verifier(shared_data: Path) -> None:
    verifier = InstructionVerifier()
    right = total = 0
    with gzip.open(shared_data / "ifeval_responses.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            rollout = Rollout(
                row["prompt"],
                (*row["chosen"], *row["rejected"]),
                instruction_id_list=tuple(row["meta"]["instruction_id_list"]),
                kwargs=tuple(row["meta"]["kwargs"]),
            )
            labels = [1.0] * len(row["chosen"]) + [0.0] * len(row["rejected"])
            values = [verdict.value for verdict in verifier.score([rollout])[0]]
            right += sum(value == label for value, label in zip(values, labels, strict=True))
            total += len(labels)
    assert total > 500
    assert right / total >= 0.99


def _published_bullets(text: str) -> int:
    stars = re.findall(r"^\s*\*[^\*].*$", text, flags=re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, flags=re.MULTILINE))


def _published_title(text: str) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _published_placeholders(text: str) -> int:
    return len(re.findall(r"\[.*?\]", text))


@pytest.mark.parametrize(
    ("ours", "published", "alphabet"),
    [
        (count_bullets, _published_bullets, "*- \n\ta"),
        (count_placeholders, _published_placeholders, "[]\na "),
        (has_title, _published_title, "<> \na"),
    ],
    ids=["bullets", "placeholders", "titles"],
)
def test_linear_scans_agree_with_the_published_patterns(
    ours: Callable[[str], object], published: Callable[[str], object], alphabet: str
) -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    for _ in range(3_000):
        text = "".join(dice.choices(alphabet, k=dice.randint(0, 14)))
        assert ours(text) == published(text), repr(text)


def test_counts_of_the_less_obvious_kinds() -> None:
    assert count_highlights("*a* and *b*") == 2
    assert count_highlights("**a**") == 1
    assert count_capital_words("NASA and ESA DON'T agree; AT&T may.", 99) == 6
    assert count_capital_words("A " * 5_000, 3) >= 3


def test_a_language_is_recognised_the_same_way_every_time() -> None:
    text = "Ok super, no problem amigo, bis morgen"
    assert len({language_of(text) for _ in range(20)}) == 1
    assert language_of("12345") is None


def test_loose_forgives_a_first_or_last_line_and_asterisks() -> None:
    quotation: tuple[str, dict[str, object]] = ("startend:quotation", {})
    preamble = 'Here you are:\n"A quiet morning."'
    bold = '**"A quiet morning."**'
    for completion in (preamble, bold):
        strict = judge(completion, quotation)
        loose = judge(completion, quotation, verifier=InstructionVerifier(loose=True))
        assert (strict.value, loose.value) == (0.0, 1.0)
        assert strict.detail == {
            "instructions": [{"id": "startend:quotation", "strict": False, "loose": True}]
        }
    assert judge("none", quotation, verifier=InstructionVerifier(loose=True)).value == 0.0


def test_partial_gives_the_fraction() -> None:
    instructions: list[tuple[str, dict[str, object]]] = [
        ("punctuation:no_comma", {}),
        ("detectable_format:title", {}),
        ("startend:quotation", {}),
    ]
    assert judge("<<Rain>> falls", *instructions).value == 0.0
    assert judge("<<Rain>> falls", *instructions, verifier=InstructionVerifier(partial=True)).value == 2 / 3


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("length_constraints:number_words", {"relation": "at least"}, "kwargs.num_words"),
        ("length_constraints:number_words", {"relation": None, "num_words": 3}, "kwargs.relation"),
        ("length_constraints:number_words", {"relation": "about", "num_words": 3}, "'about'"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": "3"}, "kwargs.num_words"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": True}, "kwargs.num_words"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": float("inf")}, "num_words"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": float("nan")}, "num_words"),
        ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 1, "nth_paragraph": 0}, "kwargs"),
        ("keywords:existence", {"keywords": []}, "kwargs.keywords"),
        (
            "keywords:letter_frequency",
            {"letter": "ab", "let_relation": "at least", "let_frequency": 1},
            "letter",
        ),
        ("language:response_language", {"language": "xx"}, "kwargs.language"),
        ("keywords:exist", {}, "keywords:exist"),
    ],
)
def test_what_cannot_be_checked_abstains_and_names_the_field(
    name: str, kwargs: Mapping[str, object], said: str
) -> None:
    verdict = judge("Some words, plainly.", (name, kwargs))
    assert verdict.value is None
    assert said in (verdict.abstained or "")
    with pytest.raises(InputError, match=re.escape(said)):
        check(name, kwargs, "Some words, plainly.")


def test_rows_without_instructions_or_with_too_few_parameters_abstain() -> None:
    (nothing,) = InstructionVerifier().score([Rollout("p", ("c",))])[0]
    assert nothing.value is None and "instruction_id_list" in (nothing.abstained or "")
    two = Rollout("p", ("c",), instruction_id_list=("punctuation:no_comma",) * 2, kwargs=({},))
    assert InstructionVerifier().score([two])[0][0].value is None
    bare = Rollout("p", ("no comma",), instruction_id_list=("punctuation:no_comma",))
    assert InstructionVerifier().score([bare])[0][0].value == 1.0


def test_check_ignores_thinking_and_copies_of_the_prompt() -> None:
    assert check("punctuation:no_comma", {}, "<think>one, two</think>three")
    assert not check("punctuation:no_comma", {}, "<think>one two")
    assert not check("punctuation:no_comma", {}, "Write plainly.", prompt="Write plainly.")
    assert check("length_constraints:number_words", {"relation": "at least", "num_words": 2.0}, "two words")


def test_equal_completions_get_equal_verdicts_in_order() -> None:
    rollout = Rollout("p", ("a", "a, b", "a"), instruction_id_list=("punctuation:no_comma",))
    assert [verdict.value for verdict in InstructionVerifier().score([rollout])[0]] == [1.0, 0.0, 1.0]


HOSTILE = ("[", "<", "*\n", "a. ", 'A"', "\ufdfa", "a\u200b", "The Fox said hi. ")
PARAMETERS: Mapping[str, object] = {
    "keywords": ["foo"],
    "keyword": "aaab",
    "relation": "at least",
    "frequency": 9_999_999,
    "forbidden_words": ["aab", "bar"],
    "letter": "z",
    "let_relation": "at least",
    "let_frequency": 9_999_999,
    "language": "en",
    "num_sentences": 9_999_999,
    "num_paragraphs": 3,
    "num_words": 9_999_999,
    "nth_paragraph": 2,
    "first_word": "x",
    "num_placeholders": 9_999_999,
    "postscript_marker": "P.P.S",
    "num_bullets": 3,
    "num_highlights": 9_999_999,
    "section_spliter": "Section",
    "num_sections": 9_999_999,
    "prompt_to_repeat": "abc",
    "end_phrase": "bye",
    "capital_relation": "at least",
    "capital_frequency": 9_999_999,
}


@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_no_check_is_slow_on_a_hostile_megabyte(unit: str) -> None:
    text = ("So " + unit * (1_000_000 // len(unit)))[:1_000_000]  # signs alone would not be a response at all
    for name in INSTRUCTION_IDS:
        with linear():
            try:
                check(name, PARAMETERS, text)
            except InputError as error:
                assert "characters to split" in str(error)


def test_a_completion_beyond_a_million_characters_abstains() -> None:
    assert judge("a" * 1_000_001, ("punctuation:no_comma", {})).value is None
