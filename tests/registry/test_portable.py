"""Export and import: what travels, and what a hostile file cannot do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import InputError, RegistryError, RegistryFrozen, UnknownTool
from rlar_graph.registry import Provenance, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec

AGENT = Provenance("agent", model="small", licence="MIT")
SOURCE = "def score(prompt, completion, reference):\n    return float(completion == reference)  # é\n"


def report(admitted: bool = True) -> AdmissionReport:
    """An admission report of one check."""
    return AdmissionReport("puzzle", "verifier", "", False, {}, "", 0.0, (Check("contract", admitted),))


@pytest.fixture
def theirs() -> Iterator[Registry]:
    """The registry of another team, with one generated tool in service."""
    with open_registry("sqlite://") as opened:
        spec = ToolSpec("puzzle", "verifier", "Compares.")
        opened.register(spec, provenance=AGENT, source=SOURCE, report=report(), activate=True)
        opened.bind("source:puzzles", "puzzle")
        builtin = ToolSpec("maths", "verifier", "Built in.", content_hash="m")
        opened.register(builtin, provenance=Provenance("builtin"), report=report(), activate=True)
        yield opened


@pytest.fixture
def file(theirs: Registry, tmp_path: Path) -> Path:
    path = tmp_path / "tools.json"
    theirs.export(path)
    return path


def test_what_is_imported_is_a_candidate_that_must_pass_the_gate_here(registry: Registry, file: Path) -> None:
    (imported,) = registry.import_(file)
    version = imported.version
    assert imported.new
    assert imported.keys == ("source:puzzles",)
    assert (version.tool, version.number, version.state, version.admitted) == ("puzzle", 1, "candidate", None)
    assert registry.source("puzzle", 1) == SOURCE
    assert version.provenance == Provenance(
        "agent", model="small", licence="MIT", note="imported from tools.json"
    )
    assert registry.tool("puzzle").bindings == ()
    with pytest.raises(RegistryError, match="gate"):
        registry.promote("puzzle", 1)
    assert registry.history("puzzle")[0].action == "imported"


def test_a_trusted_import_can_be_promoted_and_takes_free_keys_only(registry: Registry, file: Path) -> None:
    (imported,) = registry.import_(file, trusted=True)
    assert imported.version.admitted
    assert registry.promote("puzzle", 1).state == "active"
    assert registry.tool("puzzle").bindings == ("source:puzzles",)
    assert registry.report("puzzle", 1) == json.dumps(json.loads(report().to_json()))


def test_a_key_in_use_is_not_taken_over(registry: Registry, file: Path) -> None:
    mine = ToolSpec("mine", "verifier", "Mine.", content_hash="mine")
    registry.register(mine, provenance=AGENT, report=report(), activate=True)
    registry.bind("source:puzzles", "mine")
    registry.import_(file, trusted=True)
    registry.promote("puzzle", 1)
    active = registry.active("source:puzzles")
    assert active is not None
    assert active.tool == "mine"


def test_importing_twice_changes_nothing(registry: Registry, file: Path) -> None:
    registry.import_(file)
    before = (registry.tools(), registry.history())
    (again,) = registry.import_(file, trusted=True)
    assert not again.new
    assert (registry.tools(), registry.history()) == before


def test_an_import_beside_an_active_version_leaves_it_active(registry: Registry, file: Path) -> None:
    spec = ToolSpec("puzzle", "verifier", "Ours.")
    ours = registry.register(spec, provenance=AGENT, source="return 1.0", report=report(), activate=True)
    (imported,) = registry.import_(file, trusted=True)
    assert (imported.version.number, imported.version.state) == (2, "candidate")
    assert registry.tool("puzzle").active == ours


def test_the_name_of_a_built_in_tool_cannot_be_taken(registry: Registry, file: Path) -> None:
    spec = ToolSpec("puzzle", "verifier", "Built in.", content_hash="b")
    registry.register(spec, provenance=Provenance("builtin"), report=report(), activate=True)
    before = (registry.tools(), registry.history())
    with pytest.raises(RegistryError, match="name of a built-in"):
        registry.import_(file, trusted=True)
    assert (registry.tools(), registry.history()) == before


def test_a_frozen_registry_imports_nothing(registry: Registry, file: Path) -> None:
    registry.freeze()
    with pytest.raises(RegistryFrozen):
        registry.import_(file)


def forged(file: Path, **changes: Any) -> Path:
    """Change the first tool of an export, and make the digest fit again, as an attacker would."""
    document = json.loads(file.read_text())
    document["tools"][0].update(changes)
    canonical = json.dumps(document["tools"], sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": "return 1.0"}, "tools[0].content_hash"),
        ({"content_hash": "m"}, "tools[0].content_hash"),
        ({"source": None}, "tools[0].source"),
        ({"name": "../../etc/passwd"}, "tools[0].name"),
        ({"name": "a\x1b[2J"}, "tools[0].name"),
        ({"name": 3}, "tools[0].name"),
        ({"kind": "oracle"}, "tools[0].kind"),
        ({"kind": ["verifier"]}, "tools[0].kind"),
        ({"graded": 1}, "tools[0].graded"),
        ({"summary": "x" * 2_000}, "tools[0].summary"),
        ({"provenance": {"author": "builtin"}}, "tools[0].provenance"),
        ({"provenance": {"author": "nobody"}}, "tools[0].provenance"),
        ({"provenance": {"author": ["agent"]}}, "tools[0].provenance"),
        ({"provenance": {"author": "agent", "extra": "x"}}, "tools[0].provenance"),
        ({"provenance": {}}, "tools[0].provenance"),
        ({"provenance": None}, "tools[0].provenance"),
        ({"report": [1], "admitted": True}, "tools[0].report"),
        ({"admitted": "yes"}, "tools[0].report"),
        ({"keys": "source:x"}, "tools[0].keys"),
        ({"keys": [1]}, "tools[0].keys"),
    ],
)
def test_a_forged_tool_is_refused_by_field_and_nothing_is_imported(
    registry: Registry, file: Path, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        registry.import_(forged(file, **changes), trusted=True)
    assert (caught.value.file, caught.value.field) == (str(file), field)
    assert registry.tools() == ()


def test_hostile_text_in_a_file_is_stored_harmlessly(registry: Registry, file: Path) -> None:
    nasty = "\ud800\x00'; DROP TABLE rlar_tools; --"
    registry.import_(forged(file, summary=nasty, keys=[nasty]), trusted=True)
    assert registry.tool("puzzle").versions[0].summary.startswith("\\ud800\\x00")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b"{}",
        b'{"format": "rlar-graph tools", "format_version": 99}',
        b'{"format": "rlar-graph tools", "format_version": 1, "tools": [], "sha256": 3}',
        b'{"format": "rlar-graph tools", "format_version": 1}',
        b'{"format": NaN}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_what_is_no_export_is_an_input_error(registry: Registry, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tools.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"tools\.json"):
        registry.import_(path)


def test_damage_is_found(registry: Registry, file: Path) -> None:
    file.write_text(file.read_text().replace("Compares.", "Compared."))
    with pytest.raises(InputError, match="damaged or was edited"):
        registry.import_(file)


@pytest.mark.parametrize("path", ["nowhere.json", "."])
def test_a_file_that_cannot_be_read_is_an_input_error(registry: Registry, tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        registry.import_(tmp_path / path)


def test_one_bad_tool_spoils_the_whole_file(registry: Registry, theirs: Registry, tmp_path: Path) -> None:
    theirs.register(
        ToolSpec("second", "verifier", "S."), provenance=AGENT, source="return 0.0", report=report()
    )
    path = tmp_path / "two.json"
    assert [version.tool for version in theirs.export(path)] == ["puzzle", "second"]
    spec = ToolSpec("second", "judge", "Another kind.", content_hash="j")
    registry.register(spec, provenance=AGENT)
    with pytest.raises(RegistryError, match="is a judge, not a verifier"):
        registry.import_(path)
    assert [tool.name for tool in registry.tools()] == ["second"]


def test_export_gives_the_active_version_or_else_the_newest_candidate(
    theirs: Registry, tmp_path: Path
) -> None:
    spec = ToolSpec("puzzle", "verifier", "Newer.")
    theirs.register(spec, provenance=AGENT, source="return 0.5", report=report())
    assert [version.number for version in theirs.export(tmp_path / "a.json", ["puzzle"])] == [1]
    theirs.quarantine("puzzle", "drift")
    assert [version.number for version in theirs.export(tmp_path / "a.json", ["puzzle"])] == [2]


def test_export_says_what_it_cannot_give(theirs: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="built into every installation"):
        theirs.export(tmp_path / "a.json", ["maths"])
    with pytest.raises(UnknownTool, match="nowhere"):
        theirs.export(tmp_path / "a.json", ["nowhere"])
    theirs.quarantine("puzzle", "drift")
    with pytest.raises(RegistryError, match="no active or candidate version"):
        theirs.export(tmp_path / "a.json", ["puzzle"])
    with pytest.raises(RegistryError, match="cannot write the export"):
        theirs.export(tmp_path / "missing" / "a.json")
    assert list(tmp_path.iterdir()) == []
