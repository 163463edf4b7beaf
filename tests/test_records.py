"""Records and columns, in the names data sets and trainers use, become rollouts."""

from __future__ import annotations

from typing import Any

import pytest

from rlar_graph.errors import InputError
from rlar_graph.records import rollout_from, rollouts_from_columns
from rlar_graph.types import Rollout


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "p", "reference": "4"},
        {"question": "p", "answer": "4"},
        {"problem": "p", "solution": "4"},
        {"prompt": "p", "reward_model": {"style": "rule", "ground_truth": "4"}},
        {"prompt": "p", "reward_model.ground_truth": "4"},
        {"prompt": [{"role": "user", "content": "p"}], "ground_truth": "4"},
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "p"}]}], "target": "4"},
        {"prompt": "p", "answer": {"value": "4", "aliases": ["four"]}},
    ],
)
def test_references_are_found_under_their_usual_names(record: dict[str, object]) -> None:
    rollout = rollout_from(record)
    assert (rollout.prompt, rollout.reference) == ("p", "4")


def test_conversations_are_rendered_turn_by_turn() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]
    assert rollout_from({"prompt": turns}).prompt == "Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Bye"


def test_conversational_completions_count_by_their_last_assistant_message() -> None:
    completion = [
        {"role": "assistant", "content": "let me look"},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "It is 42."},
    ]
    assert rollout_from({"prompt": "p", "completions": [completion, "plain"]}).completions == (
        "It is 42.",
        "plain",
    )


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (["red", "blue"], (("A", "red"), ("B", "blue"))),
        ({"A": "red", "B": "blue"}, (("A", "red"), ("B", "blue"))),
        ({"text": ["red", "blue"], "label": ["1", "2"]}, (("1", "red"), ("2", "blue"))),
    ],
)
def test_choices_come_in_three_shapes(choices: object, expected: object) -> None:
    assert rollout_from({"prompt": "p", "choices": choices}).choices == expected


def test_an_index_into_choices_becomes_a_label() -> None:
    assert rollout_from({"prompt": "p", "choices": ["red", "blue"], "answer": 1}).reference == "B"


def test_aliases_of_an_answer_are_kept() -> None:
    rollout = rollout_from({"question": "p", "answer": {"value": "4", "aliases": ["four", "IV"]}})
    assert rollout.aliases == ("four", "IV")


def test_kwargs_of_instructions_lose_their_nulls() -> None:
    record = {
        "prompt": "p",
        "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
        "kwargs": [{"keywords": None}, {"keywords": ["a"], "relation": None}],
    }
    assert rollout_from(record).kwargs == ({}, {"keywords": ["a"]})


def test_tests_may_be_json_text_and_need_set_up() -> None:
    assert rollout_from({"prompt": "p", "input_output": '{"inputs": ["1"], "outputs": ["2"]}'}).tests == {
        "inputs": ["1"],
        "outputs": ["2"],
    }
    record = {"prompt": "p", "test_list": ["assert f(1) == 1"], "test_setup_code": "import math"}
    assert rollout_from(record).tests == ["import math", "assert f(1) == 1"]


def test_other_columns_stay_as_metadata() -> None:
    assert rollout_from({"prompt": "p", "difficulty": 3, "answer": "1"}).metadata == {"difficulty": 3}


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"answer": "4"}, "prompt"),
        ({"prompt": 4}, "prompt"),
        ({"prompt": "p", "completions": 4}, "completions"),
        ({"prompt": "p", "completions": [4]}, "completions"),
        ({"prompt": "p", "tests": 4}, "tests"),
        ({"prompt": "p", "entry_point": ["f"]}, "entry_point"),
        ({"prompt": "p", "schema": 4}, "schema"),
        ({"prompt": "p", "choices": 4}, "choices"),
        ({"prompt": "p", "language": 4}, "language"),
        ({"prompt": "p", "instruction_id_list": ["a"], "kwargs": [{}, {}]}, "kwargs"),
        ({"prompt": "p", "instruction_id_list": ["a"], "kwargs": "{"}, "kwargs"),
        ({"prompt": [{"role": "user", "content": 4}]}, "content"),
    ],
)
def test_what_cannot_be_read_is_named(record: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        rollout_from(record)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_a_batch_is_grouped_by_prompt_and_evidence() -> None:
    rollouts, places = rollouts_from_columns(
        ["p", "q", "p", "p"],
        ["a", "b", "c", "d"],
        {"answer": ["1", "2", "1", "3"], "trainer_state": object()},
    )
    assert [rollout.completions for rollout in rollouts] == [("a", "c"), ("b",), ("d",)]
    assert [rollout.reference for rollout in rollouts] == ["1", "2", "3"]
    assert places == [[0, 2], [1], [3]]


@pytest.mark.parametrize(
    ("prompts", "columns", "field"),
    [
        (["p"], {}, "prompts"),
        (["p", "p"], {"answer": ["1"]}, "answer"),
        (["p", "p"], {"answer": "1"}, "answer"),
        (["p", "p"], {"answer": 1}, "answer"),
    ],
)
def test_columns_that_do_not_fit_are_named(prompts: list[str], columns: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        rollouts_from_columns(prompts, ["a", "b"], columns)
    assert caught.value.field == field


def test_a_rollout_refuses_a_bare_completion() -> None:
    with pytest.raises(InputError, match="list with one entry per completion"):
        Rollout("p", "a completion")  # type: ignore[arg-type]


def test_the_nan_that_pandas_writes_for_nothing_is_no_evidence() -> None:
    nan = float("nan")
    record = {"prompt": "p", "answer": nan, "tests": nan, "reward_model": {"ground_truth": nan}, "id": nan}
    rollout = rollout_from(record)
    assert (rollout.reference, rollout.tests, rollout.id) == (None, None, None)
    assert rollout_from({"prompt": "p", "reference": nan, "answer": "4"}).reference == "4"
    rollouts, _ = rollouts_from_columns(["p", "q"], ["a", "b"], {"answer": [nan, 4.0]})
    assert [rollout.reference for rollout in rollouts] == [None, 4.0]
    with pytest.raises(InputError, match="needs a prompt"):
        rollout_from({"prompt": nan})


@pytest.mark.parametrize("field", ["prompt", "completions"])
def test_messages_of_another_form_are_refused_and_not_read_as_silence(field: str) -> None:
    foreign = [{"from": "human", "value": "4"}]
    record = {"prompt": "p", "completions": ["4"], field: foreign if field == "prompt" else [foreign]}
    with pytest.raises(
        InputError, match="a chat message has role and content; this one has: from, value"
    ) as caught:
        rollout_from(record)
    assert caught.value.field == field
    calls = [{"type": "function_call"}, {"role": "assistant", "content": "4"}]
    assert rollout_from({"prompt": "p", "completions": [calls, []]}).completions == ("4", "")
