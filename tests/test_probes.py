"""Probes: what tables and users' files may hold, and the hostile set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlar_graph.errors import InputError
from rlar_graph.probes import Probe, hostile_set, load_probes, load_table, split
from rlar_graph.types import Rollout

TABLES = sorted(
    path.stem
    for path in (Path(__file__).parents[1] / "rlar_graph" / "rewards" / "verifiers" / "tables").glob(
        "*.jsonl"
    )
)


def written(tmp_path: Path, *rows: object) -> str:
    path = tmp_path / "probes.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return str(path)


def test_a_row_becomes_a_rollout_with_its_evidence_and_a_completion(tmp_path: Path) -> None:
    row = {
        "prompt": "Pick one.",
        "reference": "B",
        "choices": [["A", "red"], ["B", "blue"]],
        "source": "a text",
        "completion": "It is B.",
        "expect": "good",
        "why": "letter",
        "visible": True,
    }
    (probe,) = load_probes(written(tmp_path, row))
    rollout = Rollout(
        "Pick one.", reference="B", choices=(("A", "red"), ("B", "blue")), source="a text", metadata={}
    )
    assert probe == Probe(rollout, "It is B.", "good", "letter", True)


GOOD_ROW = {"prompt": "p", "reference": "1", "completion": "1", "expect": "good"}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("{nonsense", None),
        ("[1]", None),
        ({**GOOD_ROW, "expect": "fine"}, "expect"),
        ({**GOOD_ROW, "expect": ["good"]}, "expect"),
        ({**GOOD_ROW, "completion": None}, "completion"),
        ({**GOOD_ROW, "completion": ["1"]}, "completion"),
        ({**GOOD_ROW, "why": 3}, "why"),
        ({**GOOD_ROW, "visible": "yes"}, "visible"),
        ({**GOOD_ROW, "refrence": "1"}, "refrence"),
        ({**GOOD_ROW, "instruction_id_list": 3}, "instruction_id_list"),
        ({key: GOOD_ROW[key] for key in ("completion", "expect")}, "prompt"),
    ],
)
def test_a_malformed_row_is_named_by_file_line_and_field(
    tmp_path: Path, row: object, field: str | None
) -> None:
    path = written(tmp_path, GOOD_ROW, row)
    with pytest.raises(InputError) as caught:
        load_probes(path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (path, 2, field)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_probes(str(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize("name", ["nowhere", "../tables/maths", "", "maths.jsonl"])
def test_a_table_that_does_not_ship_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match="no table"):
        load_table(name)


@pytest.mark.parametrize("name", TABLES)
def test_every_shipped_table_reads_and_is_kept_from_writers(name: str) -> None:
    probes = load_table(name)
    assert probes
    assert not any(probe.visible for probe in probes)


def test_half_of_a_users_probes_are_visible_and_always_the_same_half(tmp_path: Path) -> None:
    rows = [{**GOOD_ROW, "completion": str(n), "expect": "good" if n % 2 else "bad"} for n in range(40)]
    path = written(tmp_path, *rows)
    probes = load_probes(path)
    assert sum(probe.visible for probe in probes if probe.expect == "good") == 10
    assert sum(probe.visible for probe in probes if probe.expect == "bad") == 10
    assert load_probes(path) == probes
    backwards = split(tuple(reversed(probes)))
    assert {probe.completion for probe in backwards if probe.visible} == {
        probe.completion for probe in probes if probe.visible
    }


def test_a_file_that_says_what_is_visible_is_taken_at_its_word(tmp_path: Path) -> None:
    rows = [GOOD_ROW, {**GOOD_ROW, "completion": "2", "visible": True}, {**GOOD_ROW, "completion": "3"}]
    assert [probe.visible for probe in load_probes(written(tmp_path, *rows))] == [False, True, False]


def test_the_hostile_set_covers_every_known_kind() -> None:
    probes = hostile_set("What is 6 times 7?", "42", "6 * 7 = 42. The answer is 42.", aliases=("forty-two",))
    texts = {probe.why: probe.completion for probe in probes}
    assert {probe.expect for probe in probes} == {"hostile"}
    assert all(probe.rollout.aliases == ("forty-two",) for probe in probes)
    kinds = (
        "empty",
        "full stop",
        "Solution",
        "step by step",
        "prompt echo",
        "quoted in prose",
        "many answers",
        "retraction",
        "instruction to the grader",
        "tags",
        "padding",
        "zero-width",
        "homoglyph",
        "another language",
        "patches",
        "prints",
    )
    assert not [kind for kind in kinds if not any(kind in why for why in texts)]
    assert len(set(texts.values())) == len(texts)
    assert "42" in texts["reference quoted in prose"]
    assert texts["list of many answers"] == "It is one of these: 40, 41, 43, 42, 44, 52."


@pytest.mark.parametrize(
    ("reference", "listed"),
    [
        (7, "5, 6, 8, 7, 9, 17"),
        (True, "true, false, yes, no, maybe"),
        ("C", "A, B, C, D"),
        ("b", "a, b, c, d"),
        ("Rome", "Paris, 42, Rome"),
        ("1e400", "inf"),
    ],
)
def test_the_reference_is_listed_among_rivals_of_its_kind(reference: object, listed: str) -> None:
    texts = {probe.why: probe.completion for probe in hostile_set("q", reference)}
    assert listed in texts["list of many answers"]


@pytest.mark.parametrize("reference", [None, ["a", "b"], {"a": 1}, "x" * 500])
def test_a_reference_that_cannot_be_quoted_leaves_the_rest_of_the_set(reference: object) -> None:
    whys = {probe.why for probe in hostile_set("q", reference)}
    assert "empty" in whys
    assert not any("reference" in why or "retraction" in why for why in whys)
