"""Tools, versions and bindings: what may happen to them, and what the history says of it."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import InputError, RegistryError, RegistryFrozen, UnknownTool
from rlar_graph.registry import Provenance, ToolVersion, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec

BUILTIN = Provenance("builtin", revision="0.1.0")
AGENT = Provenance(
    "agent", prompt_hash="p" * 64, model="small", revision="r1", licence="MIT", note="first try"
)
KEY = "math/number/reference/und"


def report(admitted: bool = True, note: str = "") -> AdmissionReport:
    """An admission report of one check."""
    check = Check("contract", admitted, note=note)
    return AdmissionReport("maths", "verifier", "", False, {}, "", 0.0, (check,))


def spec(name: str = "maths", content_hash: str = "hash 1", summary: str = "Compares numbers.") -> ToolSpec:
    return ToolSpec(name, "verifier", summary, content_hash=content_hash)


def grow(registry: Registry, number: int, *, name: str = "maths") -> ToolVersion:
    """Register and promote version ``number``."""
    registry.register(spec(name, f"hash {number}"), provenance=BUILTIN, report=report())
    return registry.promote(name, number, reason=f"reason {number}")


def states(registry: Registry, name: str = "maths") -> list[str]:
    return [version.state for version in registry.tool(name).versions]


def test_a_registered_version_comes_back_with_all_that_was_said_of_it(registry: Registry) -> None:
    source = "def score(prompt, completion, reference):\n    return 1.0 # ½\n"
    given = ToolSpec("puzzle", "verifier", "Checks puzzles.", graded=True)
    new = registry.register(given, provenance=AGENT, source=source, report=report())
    assert new.content_hash == hashlib.sha256(source.encode()).hexdigest()
    assert (new.tool, new.number, new.kind, new.state) == ("puzzle", 1, "verifier", "candidate")
    assert (new.graded, new.summary, new.has_source, new.admitted) == (True, "Checks puzzles.", True, True)
    assert new.provenance == AGENT
    assert registry.source("puzzle", 1) == source
    assert registry.report("puzzle", 1) == report().to_json()
    assert registry.tool("puzzle").versions == (new,)
    assert registry.find("puzzle", new.content_hash) == new
    with pytest.raises(FrozenInstanceError):
        new.state = "active"  # type: ignore[misc]


def test_registering_the_same_content_again_changes_nothing(registry: Registry) -> None:
    first = registry.register(spec(), provenance=BUILTIN, report=report(), activate=True)
    before = registry.history()
    again = registry.register(spec(summary="Other words."), provenance=AGENT, report=report(False))
    assert again == first
    assert registry.history() == before


def test_versions_are_numbered_within_their_tool(registry: Registry) -> None:
    for name in ("maths", "code"):
        for number in (1, 2, 3):
            new = registry.register(spec(name, f"{name} {number}"), provenance=BUILTIN)
            assert (new.tool, new.number) == (name, number)
    assert [(tool.name, len(tool.versions)) for tool in registry.tools()] == [("code", 3), ("maths", 3)]


def test_rejected_versions_are_kept_with_their_report(registry: Registry) -> None:
    new = registry.register(spec(), provenance=AGENT, report=report(False, "tnr 0.4"), activate=True)
    assert (new.state, new.admitted) == ("rejected", False)
    assert registry.report("maths", 1) == report(False, "tnr 0.4").to_json()
    with pytest.raises(RegistryError, match="rejected by the gate"):
        registry.promote("maths", 1)


def test_what_has_not_been_through_the_gate_cannot_be_promoted(registry: Registry) -> None:
    new = registry.register(spec(), provenance=AGENT)
    assert (new.state, new.admitted, registry.report("maths", 1)) == ("candidate", None, None)
    with pytest.raises(RegistryError, match="has not been through the gate"):
        registry.promote("maths", 1)
    assert registry.readmit("maths", 1, report()).admitted
    assert registry.promote("maths", 1).state == "active"


def test_a_promotion_retires_the_version_before(registry: Registry) -> None:
    registry.register(spec(), provenance=BUILTIN, report=report(), activate=True)
    registry.bind(KEY, "maths")
    for number in (2, 3):
        assert grow(registry, number).state == "active"
    assert states(registry) == ["retired", "retired", "active"]
    active = registry.active(KEY)
    assert active is not None
    assert active.number == 3
    assert registry.tool("maths").active == active


def test_a_rollback_goes_back_one_and_again_one_further(registry: Registry) -> None:
    for number in (1, 2, 3):
        grow(registry, number)
    assert registry.rollback("maths", reason="worse").number == 2
    assert registry.rollback("maths").number == 1
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.rollback("maths")
    assert states(registry) == ["active", "retired", "retired"]
    assert registry.promote("maths", 3).number == 3


def test_a_rollback_passes_over_what_never_served(registry: Registry) -> None:
    grow(registry, 1)
    registry.register(spec(content_hash="bad"), provenance=AGENT, report=report(False))
    registry.register(spec(content_hash="new"), provenance=AGENT, report=report())
    registry.register(spec(content_hash="hash 4"), provenance=AGENT, report=report(), activate=True)
    assert registry.rollback("maths").number == 1
    assert states(registry) == ["active", "rejected", "candidate", "retired"]


def test_a_quarantined_tool_serves_nothing_until_rolled_back(registry: Registry) -> None:
    grow(registry, 1)
    grow(registry, 2)
    registry.bind(KEY, "maths")
    assert registry.quarantine("maths", "audit gap 0.3").number == 2
    assert registry.active(KEY) is None
    with pytest.raises(RegistryError, match="no active version"):
        registry.quarantine("maths", "again")
    assert registry.rollback("maths", reason="while v2 is looked at").number == 1
    assert states(registry) == ["active", "quarantined"]
    assert [event.reason for event in registry.history("maths")][-3:] == [
        "",
        "audit gap 0.3",
        "rolled back: while v2 is looked at",
    ]


def test_a_failed_readmission_takes_a_version_out_of_service(registry: Registry) -> None:
    grow(registry, 1)
    assert registry.readmit("maths", 1, report(False), reason="new probes").state == "quarantined"
    with pytest.raises(RegistryError, match="rejected by the gate"):
        registry.promote("maths", 1)
    assert registry.readmit("maths", 1, report(), reason="probes were wrong").state == "candidate"
    assert registry.promote("maths", 1).state == "active"
    candidate = registry.register(spec(content_hash="x"), provenance=AGENT, report=report())
    assert registry.readmit("maths", candidate.number, report(False)).state == "rejected"


def test_a_key_has_one_tool_and_the_narrower_one_can_be_asked_first(registry: Registry) -> None:
    grow(registry, 1)
    grow(registry, 1, name="puzzle")
    registry.bind(KEY, "maths")
    registry.bind("source:zebra", "puzzle")
    found = registry.resolve(["source:zebra", KEY, "source:unknown"])
    assert {key: version.tool for key, version in found.items()} == {"source:zebra": "puzzle", KEY: "maths"}
    registry.bind(KEY, "puzzle", reason="it is better", who="agent")
    registry.bind(KEY, "puzzle", reason="twice")
    assert registry.tool("puzzle").bindings == (KEY, "source:zebra")
    assert registry.tool("maths").bindings == ()
    last = registry.history()[-1]
    assert (last.tool, last.action, last.key, last.who) == ("puzzle", "bound", KEY, "agent")
    assert last.reason == "it is better (was maths)"


def test_many_and_hostile_keys_resolve(registry: Registry) -> None:
    grow(registry, 1)
    keys = [f"source:{number}" for number in range(1_200)]
    strange = "source:\ud800\x00'; DROP TABLE rlar_tools; --"
    for key in (*keys[::400], strange):
        registry.bind(key, "maths")
    assert set(registry.resolve([*keys, strange])) == {*keys[::400], strange}
    assert registry.resolve([]) == {}
    registry.freeze()
    assert set(registry.resolve([*keys, strange])) == {*keys[::400], strange}


def test_the_history_says_what_why_when_and_who(registry: Registry) -> None:
    registry.register(
        spec(), provenance=BUILTIN, report=report(), activate=True, reason="first need", who="rlar"
    )
    registry.quarantine("maths", "drift", who="monitor")
    events = registry.history("maths")
    assert [(event.action, event.version, event.reason, event.who) for event in events] == [
        ("registered", 1, "first need", "rlar"),
        ("admitted", 1, "first need", "rlar"),
        ("promoted", 1, "first need", "rlar"),
        ("quarantined", 1, "drift", "monitor"),
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert all(event.at.utcoffset() is not None for event in events)


def test_the_revision_moves_with_tools_and_not_with_traffic(registry: Registry) -> None:
    assert registry.revision() == 0
    grow(registry, 1)
    moved = registry.revision()
    assert moved > 0
    registry.resolve([KEY])
    registry.register(spec(content_hash="hash 1"), provenance=BUILTIN)
    assert registry.revision() == moved


def test_unknown_names_are_named(registry: Registry) -> None:
    grow(registry, 1)
    for call in (
        lambda: registry.tool("nowhere"),
        lambda: registry.history("nowhere"),
        lambda: registry.promote("nowhere", 1),
        lambda: registry.rollback("nowhere"),
        lambda: registry.quarantine("nowhere", "why"),
        lambda: registry.bind(KEY, "nowhere"),
        lambda: registry.report("nowhere", 1),
        lambda: registry.source("nowhere", 1),
        lambda: registry.readmit("nowhere", 1, report()),
    ):
        with pytest.raises(UnknownTool, match="nowhere"):
            call()
    with pytest.raises(UnknownTool, match="version 7"):
        registry.promote("maths", 7)
    assert registry.find("nowhere", "x") is None


def test_a_failed_call_leaves_nothing_behind(registry: Registry) -> None:
    grow(registry, 1)
    before = (registry.tools(), registry.history())
    other_kind = ToolSpec("maths", "judge", "Not a verifier.", content_hash="j")
    with pytest.raises(RegistryError, match="is a verifier, not a judge"):
        registry.register(other_kind, provenance=AGENT)

    class Unwritable:
        admitted = True

        def to_json(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        registry.register(spec("brand-new", "x"), provenance=AGENT, source=None, report=Unwritable())
    assert (registry.tools(), registry.history()) == before


@pytest.mark.parametrize(
    ("bad", "source", "field"),
    [
        (spec(name=""), None, "name"),
        (spec(name="a b"), None, "name"),
        (spec(name="../x"), None, "name"),
        (spec(name="a\x1b[2J"), None, "name"),
        (spec(name="a\n"), None, "name"),
        (spec(name="x" * 201), None, "name"),
        (spec(content_hash=""), None, "content_hash"),
        (spec(content_hash="f" * 64), "source", "content_hash"),
        (spec(content_hash=""), "\ud800", "source"),
        (spec(summary="x" * 1001), None, "summary"),
        (ToolSpec("maths", "oracle", "", content_hash="x"), None, "kind"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_kept_is_refused_by_field(
    registry: Registry, bad: ToolSpec, source: str | None, field: str
) -> None:
    with pytest.raises(InputError) as caught:
        registry.register(bad, provenance=AGENT, source=source)
    assert caught.value.field == field
    assert registry.tools() == ()


def test_a_frozen_registry_serves_what_was_active_and_refuses_changes(shared_url: str) -> None:
    with open_registry(shared_url) as busy:
        grow(busy, 1)
        busy.bind(KEY, "maths")
        with open_registry(shared_url, frozen=True) as frozen:
            grow(busy, 2)
            busy.bind("source:new", "maths")
            pinned = frozen.active(KEY)
            assert pinned is not None
            assert (frozen.frozen, pinned.number, frozen.active("source:new")) == (True, 1, None)
            for change in (
                lambda: frozen.register(spec(content_hash="new"), provenance=BUILTIN),
                lambda: frozen.promote("maths", 1),
                lambda: frozen.rollback("maths"),
                lambda: frozen.quarantine("maths", "why"),
                lambda: frozen.readmit("maths", 1, report()),
                lambda: frozen.bind("source:other", "maths"),
            ):
                with pytest.raises(RegistryFrozen, match="frozen"):
                    change()
            known = frozen.register(spec(content_hash="hash 1"), provenance=BUILTIN)
            assert known.number == 1
            frozen.bind(KEY, "maths")
        active = busy.active(KEY)
        assert active is not None
        assert active.number == 2
        busy.freeze()
        with pytest.raises(RegistryFrozen):
            busy.promote("maths", 1)


def test_a_source_that_was_changed_behind_our_back_is_not_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    with open_registry(f"sqlite:///{path}") as registry:
        registry.register(spec(content_hash=""), provenance=AGENT, source="return 0.0")
        with sqlite3.connect(path) as meddler:
            meddler.execute("UPDATE rlar_blobs SET content = CAST('return 1.0' AS BLOB)")
        meddler.close()
        with pytest.raises(RegistryError, match="is not what was registered"):
            registry.source("maths", 1)
