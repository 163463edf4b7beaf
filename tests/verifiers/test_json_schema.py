"""Structured output: which document a completion commits itself to, and whether it conforms."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph.probes import Probe, load_table
from rlar_graph.rewards.verifiers.json_schema import JsonSchemaVerifier
from rlar_graph.rewards.verifiers.json_text import MAX_DEPTH, NotJson, document_in, nests_too_deep, read
from rlar_graph.sandbox import Sandbox, open_sandbox
from rlar_graph.types import Rollout, Verdict
from tests.patience import linear

TABLE = load_table("json_schema")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def verifier(sandbox: Sandbox) -> JsonSchemaVerifier:
    return JsonSchemaVerifier(lambda: sandbox)


def judge(verifier: JsonSchemaVerifier, schema: object, completion: str) -> Verdict:
    return verifier.score([Rollout("Write JSON.", (completion,), schema=schema)])[0][0]


@pytest.mark.parametrize("probe", TABLE, ids=lambda probe: f"{probe.expect}: {probe.why}")
def test_every_row_of_the_table_holds(probe: Probe, verifier: JsonSchemaVerifier) -> None:
    ((verdict,),) = verifier.score([replace(probe.rollout, completions=(probe.completion,))])
    if probe.expect == "abstain":
        assert verdict.value is None and verdict.abstained
    else:
        assert verdict.value == float(probe.expect == "good"), verdict


def test_it_agrees_with_the_labels(shared_data: Path, verifier: JsonSchemaVerifier) -> None:
    rollouts, labels = [], []
    with gzip.open(shared_data / "jsonschema.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            completions = (*row["chosen"], *row["rejected"])
            rollouts.append(Rollout(row["prompt"], completions, reference=row["reference"]))
            labels += [1.0] * len(row["chosen"]) + [0.0] * len(row["rejected"])
    values = [verdict.value for verdicts in verifier.score(rollouts) for verdict in verdicts]
    assert len(labels) > 300
    assert sum(value == label for value, label in zip(values, labels, strict=True)) / len(labels) >= 0.99


@pytest.mark.parametrize(
    ("response", "document"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("  0.5\n", "0.5"),
        ('Here:\n```json\n{"a": 1}\n```\nDone.', '{"a": 1}'),
        ('```json {"a": 1} ```', '{"a": 1}'),
        ('```json\n{"a": 1}', '{"a": 1}'),
        ("~~~\n[1]\n~~~", "[1]"),
        ('```python\nx = 1\n```\n```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\nnot this\n```\n```JSON\n{"a": 1}\n```', '{"a": 1}'),
        ('```json\n{"a": 1}\n```\nOnce more:\n```json\n{"a": 1}\n```', '{"a": 1}'),
        ('The [list] is {"a": [1]} as asked.', '{"a": [1]}'),
        ('<answer>{"a": 1}</answer>', '{"a": 1}'),
        ('{"code": "```json\\n1\\n```"}', '{"code": "```json\\n1\\n```"}'),
    ],
)
def test_one_document_is_found(response: str, document: str) -> None:
    assert document_in(response) == document


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("", "no JSON document"),
        ("It is 5.", "no JSON document"),
        ('{"a": 1}{"a": 2}', "no JSON document"),
        ("```json\n1\n```\n```json\n2\n```", "2 different fenced documents"),
        ('```json\n{"a": 1,}\n```', "property name|trailing comma"),  # Python 3.11 | 3.13
        ('{"a": 1, "a": 1}', "given twice"),
        ("[NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("[1e400]", "too large"),
        ("[" * 101 + "]" * 101, "levels deep"),
        ("9" * 5_000, "digits"),
    ],
)
def test_what_is_no_single_document_is_refused_with_a_reason(response: str, why: str) -> None:
    with pytest.raises(NotJson, match=why):
        document_in(response)


def test_depth_is_counted_outside_strings() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert not nests_too_deep(deepest) and nests_too_deep(f"[{deepest}]")
    assert read(json.dumps("[" * 1_000)) == "[" * 1_000
    assert read(json.dumps('\\"' + "[" * 1_000)) == '\\"' + "[" * 1_000
    assert not nests_too_deep("[]" * 1_000)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "}{" * 500_000,
        "x [" + "[],{}," * 160_000 + "]",
        '["' + '\\"' * 490_000,
        "```json\n1\n" * 90_000,
        "`" * 1_000_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_hostile_megabyte_is_read_in_time(text: str) -> None:
    with linear(), suppress(NotJson):
        document_in(text)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"format": "date-time"}, '"2024-02-29T12:00:00+01:00"', '"2023-02-29T12:00:00Z"'),
        ({"format": "date"}, '"2024-02-29"', '"29.02.2024"'),
        ({"format": "time"}, '"12:00:00Z"', '"25:00:00Z"'),
        ({"format": "duration"}, '"P1DT2H"', '"one day"'),
        ({"format": "email"}, '"a@b.org"', '"a.b.org"'),
        ({"format": "hostname"}, '"example.org"', '"exa mple.org"'),
        ({"format": "ipv4"}, '"127.0.0.1"', '"127.0.0.256"'),
        ({"format": "ipv6"}, '"::1"', '":::1"'),
        ({"format": "uri"}, '"https://example.org/a"', '"example org"'),
        ({"format": "uri-reference"}, '"../a?b"', '"a b"'),
        ({"format": "iri"}, '"https://exämple.org/ü"', '"kein iri"'),
        ({"format": "uuid"}, '"3f2504e0-4f89-41d3-9a0c-0305e82c3301"', '"3f2504e0"'),
        ({"format": "uri-template"}, '"/a/{b}"', '"/a/{b"'),
        ({"format": "json-pointer"}, '"/a/0"', '"a/0"'),
        ({"format": "regex"}, '"^a+$"', '"a("'),
        ({"format": "idn-hostname"}, '"bücher.example"', '"〮.example"'),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "format": "date"}, '"2024-02-29"', '"soon"'),
        ({"type": "integer"}, "1e2", "true"),
        (True, "1", "one"),
        ({"const": {"a": [1, None]}}, '{"a": [1.0, null]}', '{"a": [1, false]}'),
    ],
    ids=str,
)
def test_formats_and_types_are_really_checked(
    verifier: JsonSchemaVerifier, schema: object, good: str, bad: str
) -> None:
    assert judge(verifier, schema, good).value == 1.0
    assert judge(verifier, schema, bad).value == 0.0


def test_a_verdict_names_the_broken_keyword(verifier: JsonSchemaVerifier) -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"b": False}}
    assert judge(verifier, schema, "{}").detail == {"broken": "required"}
    assert judge(verifier, schema, '{"a": 1, "b": 2}').detail == {"broken": "false"}
    assert judge(verifier, schema, "nothing").detail["broken"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "https://example.org/a.json"}, "refers to https://example.org/a.json"),
        ({"properties": {"a": {"$ref": "other.json#/x"}}}, "refers to other.json"),
        ({"properties": {"a": {"type": "text"}}}, r"invalid schema at \$.properties"),
        ({"pattern": "a("}, "invalid schema"),
        ("[1, 2]", "an object or a boolean"),
        ("{", "not JSON"),
    ],
    ids=str,
)
def test_an_unusable_schema_abstains_even_for_no_json(
    verifier: JsonSchemaVerifier, schema: object, why: str
) -> None:
    for completion in ('{"a": 1}', "no JSON here"):
        verdict = judge(verifier, schema, completion)
        assert verdict.value is None
        assert re.search(why, verdict.abstained or "")


def test_references_within_the_schema_resolve(verifier: JsonSchemaVerifier) -> None:
    schema = {
        "$id": "https://example.org/root.json",
        "$defs": {"count": {"$id": "count.json", "type": "integer"}},
        "items": {"$ref": "count.json"},
    }
    assert judge(verifier, schema, "[1, 2]").value == 1.0
    assert judge(verifier, schema, '["1"]').value == 0.0
    meta = {"$ref": "http://json-schema.org/draft-07/schema#"}
    assert judge(verifier, meta, '{"type": "string"}').value == 1.0
    assert judge(verifier, meta, '{"type": "text"}').value == 0.0


def test_endless_work_is_killed_and_abstains(verifier: JsonSchemaVerifier) -> None:
    slow = {"type": "string", "pattern": "^(a+)+$"}
    rollout = Rollout("p", (json.dumps("a" * 40 + "b"), '"aa"', '"b"'), schema=slow)
    hostile, good, bad = verifier.score([rollout])[0]
    assert hostile.value is None and "timeout" in (hostile.abstained or "")
    assert (good.value, bad.value) == (1.0, 0.0)


def test_equal_documents_are_validated_once(sandbox: Sandbox) -> None:
    asked: list[int] = []

    def open_one() -> Sandbox:
        asked.append(1)
        return sandbox

    verifier = JsonSchemaVerifier(open_one)
    rollout = Rollout("p", ("[1]", "```json\n[1]\n```", "so: [1]"), schema={"type": "array"})
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [1.0] * 3
    assert [verdict.value for verdict in verifier.score([rollout])[0]] == [1.0] * 3
    assert asked == [1]
