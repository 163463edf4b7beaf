"""Graded overlap: order within a prompt, agreement with the reference packages, hostile and endless text."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.chrf import CHRF

from rlar_graph.probes import load_table
from rlar_graph.rewards.base import RewardTool
from rlar_graph.rewards.verifiers.overlap import MAX_CHARACTERS, SummaryOverlap, TranslationOverlap
from rlar_graph.rewards.verifiers.overlap_words import is_unspaced, shared_order, words
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

TOOLS: dict[str, type[TranslationOverlap] | type[SummaryOverlap]] = {
    "translation": TranslationOverlap,
    "summary": SummaryOverlap,
}
REFERENCE = "The ferry will not sail tomorrow because a storm is expected, the harbour master said."


def judge(tool: RewardTool, completion: str, reference: object = REFERENCE, **more: object) -> Verdict:
    rollout = replace(Rollout("Translate or summarize.", (completion,), reference=reference), **more)  # type: ignore[arg-type]
    return tool.score([rollout])[0][0]


@pytest.mark.parametrize("name", TOOLS)
def test_the_table_is_in_order(name: str) -> None:
    tool = TOOLS[name]()
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for probe in load_table(name):
        ((verdict,),) = tool.score([replace(probe.rollout, completions=(probe.completion,))])
        if probe.expect == "abstain":
            assert verdict.value is None and verdict.abstained
            continue
        assert verdict.value is not None and 0 <= verdict.value <= 1
        values[probe.rollout.prompt][probe.expect].append(verdict.value)
    assert len(values) >= 8
    for prompt, seen in values.items():
        assert min(seen["good"]) > max(seen["bad"]), prompt
        assert min(seen["good"]) > max(seen["hostile"]), prompt
        assert max(seen["hostile"]) < 0.5, prompt


@pytest.mark.parametrize(
    ("file", "name", "floor"), [("wmt19_darr", "translation", 0.534), ("summeval", "summary", 0.507)]
)
def test_pairs_are_ordered_better_than_by_length(
    shared_data: Path, file: str, name: str, floor: float
) -> None:
    tool = TOOLS[name]()
    right = total = 0
    with gzip.open(shared_data / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            sides = []
            for side in ("chosen", "rejected"):
                rollout = Rollout(row["prompt"], tuple(row[side]), reference=row["reference"])
                sides.append([verdict.value or 0.0 for verdict in tool.score([rollout])[0]])
            right += sum(better > worse for better, worse in product(*sides))
            total += len(sides[0]) * len(sides[1])
    assert total > 250
    assert right / total > floor + 0.08


def test_raw_is_sacrebleus_figure() -> None:
    said = "The ferry does not sail tomorrow because a storm is coming, said the harbour master."
    verdict = judge(TranslationOverlap(), said)
    assert verdict.raw == CHRF(word_order=2).sentence_score(said, [REFERENCE]).score
    assert verdict.detail["chrf"] == verdict.raw and isinstance(verdict.detail["bleu"], float)
    chinese = judge(TranslationOverlap(), "新图书馆下周开放", "新图书馆下周一开放")
    assert chinese.raw == CHRF().sentence_score("新图书馆下周开放", ["新图书馆下周一开放"]).score


def test_rouge_agrees_with_the_rouge_package() -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    dice = random.Random(3)  # noqa: S311 - no secret
    vocabulary = [*REFERENCE.split(), "sailing", "storms", "don't", "3.5", "ferries"]
    for _ in range(200):
        said = " ".join(dice.choices(vocabulary, k=dice.randint(1, 25)))
        detail = judge(SummaryOverlap(), said).detail
        theirs = {name: score.fmeasure for name, score in scorer.score(REFERENCE, said).items()}
        assert detail == pytest.approx(theirs)


def test_order_is_the_longest_common_subsequence() -> None:
    assert shared_order(list("abcd"), list("acbd")) == 0.75
    assert shared_order([], ["a"]) == 0.0
    assert shared_order(["a"] * 3, ["a"] * 3) == 1.0


def test_words_are_found_in_any_script() -> None:
    assert words("Don't STOP, caffè_1!") == ["don", "t", "stop", "caffè", "1"]
    assert words("किसान बारिश।") == ["किसान", "बारिश"]
    assert words("図書館 opens") == ["図", "書", "館", "opens"]
    assert is_unspaced("新图书馆下周一开放") and not is_unspaced("예약을 변경") and not is_unspaced("the 新")


@pytest.mark.parametrize("name", TOOLS)
def test_the_kindest_reference_counts(name: str) -> None:
    tool = TOOLS[name]()
    other = "A storm keeps the ferry in port."
    assert judge(tool, other).value != 1.0
    assert judge(tool, other, [REFERENCE, other]).value == pytest.approx(1.0)
    assert judge(tool, other, aliases=(other,)).value == pytest.approx(1.0)


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("reference", [None, "", "  \n", 5, [], {"a": "b"}], ids=repr)
def test_without_a_reference_text_it_abstains(name: str, reference: object) -> None:
    assert judge(TOOLS[name](), "Some text.", reference).value is None


@pytest.mark.parametrize("name", TOOLS)
def test_padding_never_raises_the_value(name: str) -> None:
    tool = TOOLS[name]()
    for padding in ("really ", REFERENCE + " ", "。"):
        values = [
            judge(tool, REFERENCE + " " + padding * times).value
            for times in (0, 1, 3, 10, 30, 1_000, 100_000)
        ]
        assert all(value is not None for value in values)
        assert values == sorted(values, key=lambda value: -(value or 0.0)), padding
        assert values[-1] == 0.0


@pytest.mark.parametrize("name", TOOLS)
def test_thinking_is_left_out_and_silence_is_nothing(name: str) -> None:
    tool = TOOLS[name]()
    assert judge(tool, f"<think>ferry = Fähre</think>\n{REFERENCE}").value == pytest.approx(1.0)
    assert judge(tool, f"<think>{REFERENCE}").value == 0.0
    assert judge(tool, "\u200b\ufeff").value == 0.0


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    "unit", ["a", "a ", ".", "字", "\ufdfa", "\ud800", "&quot;", REFERENCE + " "], ids=repr
)
def test_hostile_text_is_compared_in_time(name: str, unit: str) -> None:
    tool = TOOLS[name]()
    long_reference = (REFERENCE + " ") * (MAX_CHARACTERS // len(REFERENCE) - 50)
    hostile = (unit * MAX_CHARACTERS)[:MAX_CHARACTERS]
    for completion, reference in ((hostile, long_reference), (unit * (1_000_000 // len(unit)), REFERENCE)):
        with linear():
            verdict = judge(tool, completion, reference)
        assert verdict.value is None or verdict.value <= 1.0
    assert judge(tool, "a" * (MAX_CHARACTERS + 1), long_reference).value is None
    assert judge(tool, "a", "a" * (MAX_CHARACTERS + 1)).value is None
