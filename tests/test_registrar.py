"""The registrar in a real graph: what it keeps and what it promotes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.engine import Engine
from rlar_graph.nodes.registrar import registrar
from rlar_graph.registry.store import Registry
from rlar_graph.settings import Settings
from rlar_graph.state import AcquireState, Draft, RegistrarUpdate
from rlar_graph.types import Rollout

FAMILY = "source:countdown"
NAME = "verifier-countdown-1a2b3c4d"
COST = {"calls": 4, "tokens": 900, "money": 0.01, "seconds": 3.5}


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with Engine(settings) as opened:
        yield opened


@pytest.fixture
def reviewed(tmp_path: Path) -> Iterator[Engine]:
    with Engine(Settings.load(registry_url=f"sqlite:///{tmp_path}/rlar.db", review=True)) as opened:
        yield opened


def graph(engine: Engine) -> CompiledStateGraph[Any, Any, Any, Any]:
    def node(state: AcquireState) -> RegistrarUpdate:
        return registrar(state, engine)

    builder = StateGraph(AcquireState)
    builder.add_node("registrar", node)
    builder.add_edge(START, "registrar")
    builder.add_edge("registrar", END)
    return builder.compile()


def draft(source: str = "def score(): return 1.0", name: str = NAME, kind: str = "verifier") -> Draft:
    summary = "Checks countdown sums."
    return Draft(name=name, kind=kind, summary=summary, source=source, prompt_hash="ab", model="m-1")


def report(passed: bool = True, source: str = "def score(): return 1.0") -> str:
    checks = (
        Check("contract", True),
        Check("true positives", passed, figure=0.97 if passed else 0.5, threshold=0.9),
    )
    digest = hashlib.sha256(source.encode()).hexdigest()
    probes = {"good": 40, "bad": 40, "hostile": 30, "abstain": 0}
    return AdmissionReport(NAME, "verifier", digest, False, probes, "p", 0.5, checks).to_json()


def state(**more: object) -> AcquireState:
    base: dict[str, object] = {"family": FAMILY, "signature": "s", "examples": [], "kinds": [], "cost": COST}
    return cast(AcquireState, base | more)


def drafted(passed: bool = True, source: str = "def score(): return 1.0", **more: object) -> AcquireState:
    return state(draft=draft(source), report=report(passed, source), admitted=passed, **more)


def outcome(engine: Engine, given: AcquireState) -> dict[str, Any]:
    (found,) = graph(engine).invoke(given)["outcomes"]
    assert found["family"] == FAMILY
    return dict(found)


def states(registry: Registry, name: str = NAME) -> list[str]:
    return [version.state for version in registry.tool(name).versions]


def test_an_admitted_draft_is_promoted_bound_and_accounted_for(engine: Engine) -> None:
    registry = engine.resources.registry
    assert registry.claim(FAMILY, "me", 60)
    found = outcome(engine, drafted(owner="me"))
    assert found["tool"] == f"{NAME} v1"
    assert found["why"] == "passed 2 checks on 40 good, 40 bad, 30 hostile probes"
    version = registry.active(FAMILY)
    assert version is not None
    assert (version.tool, version.provenance.author, version.provenance.model) == (NAME, "agent", "m-1")
    assert registry.source(NAME, 1) == "def score(): return 1.0"
    (attempt,) = registry.attempts(FAMILY)
    assert (attempt.outcome, attempt.calls, attempt.tokens, attempt.money) == ("admitted", 4, 900, 0.01)
    assert registry.claimed_by(FAMILY) is None
    assert {event.reason for event in registry.history(NAME)} == {f"for {FAMILY}: {found['why']}"}


def test_a_rejected_draft_is_kept_with_its_report_and_never_serves(engine: Engine) -> None:
    found = outcome(engine, drafted(False, owner="me"))
    registry = engine.resources.registry
    assert found["tool"] is None
    assert found["why"] == "failed true positives 0.5 (wanted 0.9) on 40 good, 40 bad, 30 hostile probes"
    assert states(registry) == ["rejected"]
    assert json.loads(registry.report(NAME, 1) or "")["admitted"] is False
    assert registry.active(FAMILY) is None
    assert [attempt.outcome for attempt in registry.attempts(FAMILY)] == ["rejected"]


def test_a_report_that_passed_is_not_enough_where_the_deciding_probes_were_not_asked(engine: Engine) -> None:
    given = state(draft=draft(), report=report(True), admitted=False)
    assert outcome(engine, given)["tool"] is None
    assert states(engine.resources.registry) == ["rejected"]
    stored = AdmissionReport.from_json(engine.resources.registry.report(NAME, 1) or "")
    assert "deciding probes" in stored.render()


def test_a_branch_that_made_nothing_leaves_an_attempt(engine: Engine) -> None:
    registry = engine.resources.registry
    assert registry.claim(FAMILY, "me", 60)
    found = outcome(engine, state(refused="no endpoint is configured", owner="me"))
    assert (found["tool"], found["why"]) == (None, "no endpoint is configured")
    (attempt,) = registry.attempts(FAMILY)
    assert (attempt.kind, attempt.outcome, attempt.reason) == ("none", "refused", "no endpoint is configured")
    assert registry.claimed_by(FAMILY) is None
    assert registry.tools() == ()


def test_a_branch_that_ran_out_of_kinds_is_recorded_by_its_last_draft(engine: Engine) -> None:
    early = [{"draft": draft(text), "report": report(False, text)} for text in ("one", "two")]
    given = state(draft=None, refused="no rubric can decide", rejected=early, report=report(False, "two"))
    assert outcome(engine, given)["why"] == "no rubric can decide"
    registry = engine.resources.registry
    assert states(registry) == ["rejected", "rejected"]
    (attempt,) = registry.attempts(FAMILY)
    assert (attempt.kind, attempt.outcome) == ("verifier", "rejected")
    assert attempt.reason.startswith("failed true positives 0.5")
    before = registry.revision()
    outcome(engine, given)
    assert (registry.revision(), len(registry.attempts(FAMILY))) == (before, 1)


@pytest.mark.parametrize("passed", [True, False])
def test_run_again_after_a_kill_it_changes_nothing(engine: Engine, passed: bool) -> None:
    given = drafted(
        passed, owner="me", rejected=[{"draft": draft("early"), "report": report(False, "early")}]
    )
    first = outcome(engine, given)
    registry = engine.resources.registry
    before = registry.revision()
    assert outcome(engine, given) == first
    assert registry.revision() == before
    assert len(registry.attempts(FAMILY)) == 1


def test_earlier_drafts_are_kept_too_unless_they_are_in_service(engine: Engine) -> None:
    registry = engine.resources.registry
    outcome(engine, drafted(source="one"))
    early = [
        {"draft": draft("one"), "report": report(False, "one")},
        {"draft": draft("two"), "report": report(False, "two")},
    ]
    outcome(engine, drafted(source="three", rejected=early))
    assert states(registry) == ["retired", "rejected", "active"]
    assert registry.source(NAME, 3) == "three"


def test_a_new_version_takes_the_place_of_the_old_and_another_tool_takes_the_key(engine: Engine) -> None:
    registry = engine.resources.registry
    outcome(engine, drafted(source="one"))
    outcome(engine, drafted(source="two"))
    assert states(registry) == ["retired", "active"]
    judge = draft("{}", name="judge-countdown-1a2b3c4d", kind="judge")
    outcome(engine, state(draft=judge, report=report(True, "{}"), admitted=True))
    version = registry.active(FAMILY)
    assert version is not None
    assert version.tool == judge["name"]
    assert [tool.bindings for tool in registry.tools()] == [(FAMILY,), ()]


def test_a_version_in_service_that_fails_the_gate_anew_is_taken_out(engine: Engine) -> None:
    outcome(engine, drafted(source="one"))
    found = outcome(engine, drafted(False, source="one"))
    assert found["tool"] is None
    assert states(engine.resources.registry) == ["quarantined"]


def test_a_report_of_another_draft_admits_nothing(engine: Engine) -> None:
    given = state(draft=draft("changed since"), report=report(True), admitted=True)
    found = outcome(engine, given)
    assert found["tool"] is None
    assert "the report is not of this draft" in found["why"]
    assert engine.resources.registry.tools() == ()


def test_a_made_tool_cannot_take_the_name_of_a_built_in(engine: Engine) -> None:
    engine.prepare([Rollout("What is 2 + 2?", (), reference="4")])
    given = state(draft=draft("x", name="maths"), report=report(True, "x"), admitted=True)
    assert "built-in" in outcome(engine, given)["why"]
    assert states(engine.resources.registry, "maths") == ["active"]


def test_a_claim_that_was_taken_over_admits_nothing(engine: Engine) -> None:
    registry = engine.resources.registry
    assert registry.claim(FAMILY, "another", 60)
    found = outcome(engine, drafted(owner="me"))
    assert "another acquires for it now" in found["why"]
    assert registry.tools() == ()
    assert registry.claimed_by(FAMILY) == "another"


def test_a_frozen_registry_is_not_changed(engine: Engine) -> None:
    engine.resources.registry.freeze()
    assert "the registry is frozen" in outcome(engine, drafted())["why"]
    assert engine.resources.registry.tools() == ()


def test_under_review_without_a_checkpointer_a_tool_waits_for_approval(reviewed: Engine) -> None:
    found = outcome(reviewed, drafted(owner="me"))
    registry = reviewed.resources.registry
    assert found["tool"] is None
    assert found["why"].endswith(f"it waits for `rlar tools approve {NAME}`")
    assert registry.active(FAMILY) is None
    assert registry.awaiting([FAMILY, "other"])[FAMILY].tool == NAME
    registry.promote(NAME, 1, reason="looks right")
    assert registry.active(FAMILY) is not None
    assert registry.awaiting([FAMILY]) == {}
