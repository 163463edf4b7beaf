"""Exports carry the probes that decide, so that another team can run the gate again; imports poison nobody's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import InputError
from rlar_graph.registry import FamilyRecord, KeptProbe, Provenance, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec

KEY = "family:12"
FAMILY = FamilyRecord(KEY, "logic/text/none/en", "sketch", "Use 1, 2 ...", 40)
PROBES = (
    KeptProbe('{"completion": "caf\\u00e9 \\ud800 \\u0000"}', False, "data", "good"),
    KeptProbe('{"completion": "2"}', True, "llm", "bad"),
)
PASSED = AdmissionReport("puzzle", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))


def adopt(registry: Registry, *, promote: bool = True, name: str = "puzzle") -> None:
    registry.adopt(
        ToolSpec(name, "verifier", "Compares."),
        source="def score(): ...",
        provenance=Provenance("agent"),
        report=PASSED,
        keys=[KEY],
        promote=promote,
    )


@pytest.fixture
def theirs() -> Iterator[Registry]:
    with open_registry("sqlite://") as opened:
        opened.add_family(FAMILY)
        opened.add_family(FamilyRecord("family:other", "s", "k", "e", 1))
        opened.keep_probes(KEY, PROBES)
        opened.keep_probes("family:other", [KeptProbe('{"completion": "9"}', True, "llm", "bad")])
        yield opened


@pytest.mark.parametrize("promote", [True, False])
def test_families_and_all_probes_travel_with_a_trusted_tool(
    theirs: Registry, registry: Registry, tmp_path: Path, promote: bool
) -> None:
    adopt(theirs, promote=promote)
    theirs.export(tmp_path / "tools.json")
    (taken,) = registry.import_(tmp_path / "tools.json", trusted=True)
    assert taken.keys == (KEY,)
    assert registry.families() == (FAMILY,)
    assert registry.kept_probes(KEY) == PROBES == registry.tool_probes("puzzle")
    assert registry.kept_probes("family:other") == ()
    registry.promote("puzzle", 1)
    assert registry.active(KEY) is not None


def test_probes_that_are_not_trusted_hold_only_the_tool_they_came_with(
    theirs: Registry, registry: Registry, tmp_path: Path
) -> None:
    adopt(theirs)
    theirs.export(tmp_path / "tools.json")
    mine = KeptProbe('{"completion": "mine"}', True, "user", "good")
    registry.keep_probes(KEY, [mine])
    registry.import_(tmp_path / "tools.json")
    assert registry.kept_probes(KEY) == (mine,)
    assert registry.families() == ()
    assert registry.tool_probes("puzzle") == (mine, *PROBES)
    registry.import_(tmp_path / "tools.json", trusted=True)
    assert registry.kept_probes(KEY) == (mine, *PROBES)


def test_what_was_not_trusted_travels_on(theirs: Registry, registry: Registry, tmp_path: Path) -> None:
    adopt(theirs)
    theirs.export(tmp_path / "tools.json")
    registry.import_(tmp_path / "tools.json")
    registry.export(tmp_path / "again.json")
    with open_registry("sqlite://") as third:
        third.import_(tmp_path / "again.json")
        assert third.tool_probes("puzzle") == PROBES


GOOD = {"body": "{}", "deciding": True, "origin": "llm", "expect": "bad"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"probes": []}, "probes"),
        ({"probes": {KEY: "x"}}, f"probes.{KEY}"),
        ({"probes": {KEY: [GOOD | {"body": "[]"}]}}, "body"),
        ({"probes": {KEY: [GOOD | {"body": 1}]}}, f"probes.{KEY}"),
        ({"probes": {KEY: [GOOD | {"deciding": 1}]}}, f"probes.{KEY}"),
        ({"probes": {KEY: [GOOD | {"origin": "god"}]}}, "origin"),
        ({"probes": {KEY: [GOOD | {"more": "x"}]}}, f"probes.{KEY}"),
        ({"families": [{"key": "k"}]}, "families"),
        ({"families": "x"}, "probes"),
    ],
)
def test_forged_evidence_is_refused_by_field_and_nothing_is_imported(
    theirs: Registry, registry: Registry, tmp_path: Path, change: dict[str, object], field: str
) -> None:
    adopt(theirs)
    path = tmp_path / "tools.json"
    theirs.export(path)
    document = json.loads(path.read_text())
    document["tools"][0].update(change)
    canonical = json.dumps(document["tools"], sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        registry.import_(path, trusted=True)
    assert caught.value.field == f"tools[0].{field}"
    assert registry.tools() == ()
    assert registry.kept_probes(KEY) == ()


def test_an_edited_probe_breaks_the_digest(theirs: Registry, registry: Registry, tmp_path: Path) -> None:
    adopt(theirs)
    path = tmp_path / "tools.json"
    theirs.export(path)
    path.write_text(path.read_text().replace('"expect": "bad"', '"expect": "good"'))
    with pytest.raises(InputError, match="digest"):
        registry.import_(path)
