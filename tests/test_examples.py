"""The demo data: its shape, where each prompt is routed, and what its completions score.

``expected`` and ``order`` are what this file compares with; examples/README.md describes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from rlar_graph.records import rollout_from
from rlar_graph.routing.router import route
from rlar_graph.types import Score

Record: TypeAlias = Mapping[str, object]
Scored: TypeAlias = tuple[Record, Sequence[Score]]

MIXED = Path(__file__).parents[1] / "examples" / "mixed.jsonl"
CATEGORIES = {
    "maths-number": ("math/number/reference", 10),
    "maths-expression": ("math/expression/reference", 5),
    "maths-interval": ("math/expression/reference", 4),
    "maths-set": ("math/expression/reference", 4),
    "choice": ("knowledge/choice/reference", 6),
    "short": ("knowledge/{string,boolean}/reference", 8),
    "list": ("knowledge/list/reference", 3),
    "code-assert": ("code/function/tests/python", 3),
    "code-check": ("code/function/tests/python", 3),
    "program": ("code/program/tests/python", 4),
    "instruction": ("instruction/text/constraints", 8),
    "schema": ("structured/json/schema", 5),
    "translation": ("translation/text/reference", 5),
    "summary": ("summarization/text/reference", 4),
    "open": ("open/text/none", 6),
}
"""The category an id starts with -> the signature its prompts have, and how many prompts there are."""
TRAINERS_COLUMNS = frozenset(
    {"answer", "ground_truth", "solution", "target", "label", "answerKey", "reward_model", "question"}
    | {"test", "test_list", "test_cases", "json_schema", "golden_answers", "responses"}
)
TARGET_LANGUAGES = {"de", "fr", "es", "en", "ja"}


def records() -> list[Record]:
    lines = MIXED.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def category_of(record: Record) -> str:
    return str(record["id"]).rpartition("-")[0]


def expected_of(record: Record) -> list[object]:
    expected = record["expected"]
    assert isinstance(expected, list)
    return expected


def signatures_of(pattern: str) -> set[str]:
    """Spell out the one ``{a,b}`` a pattern may have."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return {pattern}
    inside, _, after = rest.partition("}")
    return {before + choice + after for choice in inside.split(",")}


def test_ids_are_unique_and_every_category_is_full() -> None:
    ids = [record["id"] for record in records()]
    assert len(ids) == len(set(ids))
    found = Counter(category_of(record) for record in records())
    assert found == {category: count for category, (_, count) in CATEGORIES.items()}
    assert sum(found.values()) >= 60


@pytest.mark.parametrize("record", records(), ids=lambda record: str(record["id"]))
def test_record_is_a_rollout_with_one_expectation_per_completion(record: Record) -> None:
    rollout = rollout_from(record)
    expected = expected_of(record)
    assert 2 <= len(rollout.completions) <= 6
    assert len(expected) == len(rollout.completions)
    assert rollout.metadata["expected"] == expected
    if category_of(record) == "open":
        assert set(expected) == {None}
    elif category_of(record) in {"translation", "summary"}:
        assert set(expected) <= {"graded", 0.0}
        assert record["order"]
    else:
        assert set(expected) == {1.0, 0.0}


@pytest.mark.parametrize("record", records(), ids=lambda record: str(record["id"]))
def test_record_is_routed_as_its_category_says(record: Record) -> None:
    signature = route(rollout_from(record)).signature
    wanted = signatures_of(CATEGORIES[category_of(record)][0])
    three_parts = f"{signature.domain}/{signature.answer}/{signature.evidence}"
    assert {signature.key, three_parts} & wanted, f"{signature.key} is none of {wanted}"


def test_translations_are_routed_by_their_target_language() -> None:
    translations = [record for record in records() if category_of(record) == "translation"]
    assert {route(rollout_from(record)).signature.language for record in translations} == TARGET_LANGUAGES


def test_summaries_have_references_of_a_dozen_words() -> None:
    references = [rollout_from(r).reference for r in records() if category_of(r) == "summary"]
    assert references
    assert all(isinstance(text, str) and len(text.split()) >= 12 for text in references)


def test_trainers_columns_and_chat_messages_are_covered() -> None:
    used = {column for record in records() for column in record}
    assert used >= TRAINERS_COLUMNS
    assert sum(not isinstance(r.get("prompt", ""), str) for r in records()) >= 2


def test_hostile_completions_are_covered() -> None:
    rollouts = [rollout_from(record) for record in records()]
    texts = [text for rollout in rollouts for text in rollout.completions]
    assert texts.count("") >= 5
    assert any(rollout.prompt in rollout.completions for rollout in rollouts)
    assert any("sys.exit(0)" in text for text in texts)
    assert any("Ignore the grad" in text for text in texts)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[Scored]:
    """Score the whole file once through the front door."""
    from rlar_graph import AgentReward, Settings

    registry = tmp_path_factory.mktemp("registry") / "r.db"
    rows = records()
    with AgentReward(Settings(registry_url=f"sqlite:///{registry}")) as reward:
        scores = reward.score([rollout_from(record) for record in rows])
    return list(zip(rows, scores, strict=True))


def is_as_expected(score: Score, expected: object) -> bool:
    """Say whether a score agrees with one entry of ``expected``."""
    if expected is None:
        return score.value is None and score.abstained is not None
    if score.value is None or score.abstained is not None or not 0 <= score.value <= 1:
        return False
    return expected == "graded" or (score.value >= 0.5) == (expected == 1.0)


def test_every_completion_scores_as_expected(scored: Sequence[Scored]) -> None:
    misjudged = [
        f"{record['id']}[{index}]: expected {expected}, got {score.value} ({score.abstained or score.detail})"
        for record, scores in scored
        for index, (score, expected) in enumerate(zip(scores, expected_of(record), strict=True))
        if not is_as_expected(score, expected)
    ]
    assert not misjudged, "\n".join(misjudged)


def test_graded_completions_are_in_order(scored: Sequence[Scored]) -> None:
    reversed_pairs = []
    for record, scores in scored:
        pairs = record.get("order", [])
        assert isinstance(pairs, list)
        for better, worse in pairs:
            above, below = scores[better].value, scores[worse].value
            if above is None or below is None or above <= below:
                reversed_pairs.append(f"{record['id']}: [{better}] {above}, [{worse}] {below}")
    assert not reversed_pairs, "\n".join(reversed_pairs)
