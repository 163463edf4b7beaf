"""The registrar: the only writer of tools. It keeps what a branch made, with its report, whichever way it went."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from langgraph.config import get_config

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.engine import Engine
from rlar_graph.errors import InputError, RegistryError
from rlar_graph.graph_schemas import FamilyOutcome
from rlar_graph.registry import Attempt, Provenance, ToolVersion
from rlar_graph.registry.store import Registry
from rlar_graph.registry.workshop_records import AttemptOutcome
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.state import AcquireState, Decision, Draft, RegistrarUpdate
from rlar_graph.types import ToolKind

CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps a run's checkpointer; it has no public way to ask whether there is one."""
REVIEWER = "review"
"""Who approved or refused, in a tool's history."""


def registrar(state: AcquireState, engine: Engine) -> RegistrarUpdate:
    """Register the branch's drafts, promote an admitted one, and record what the attempt came to.

    With ``Settings.review`` an admitted tool stays a candidate until a person decides. In a run that can be resumed
    the review asks, and the registrar is called again with the answer; in one that cannot, and meanwhile,
    ``rlar tools approve`` lets it score. Run again after a kill, it finds its work done and changes nothing.
    """
    registry = engine.resources.registry
    version: ToolVersion | None
    try:
        if "decision" in state:
            version, why = _settled(state, state["decision"], engine)
        else:
            _keep_rejected(state, registry)
            version = _adopted(state, registry, promote=not engine.settings.review)
            why = _why(state, version)
    except (RegistryError, InputError) as error:
        # The branch ends here either way: its family abstains and says why, the others go on.
        return _outcome(state, None, f"what was made could not be registered: {error}")
    asks = version is not None and version.state == "candidate" and "decision" not in state and _resumable()
    return _outcome(state, version, why, asks=asks)


def _resumable() -> bool:
    """Say whether the run can be interrupted and gone on with: whether it has a checkpointer."""
    return get_config().get("configurable", {}).get(CHECKPOINTER) is not None


def _settled(state: AcquireState, decision: Decision, engine: Engine) -> tuple[ToolVersion, str]:
    """Do what a person decided of the candidate; return it, and what is to be said of it."""
    registry, draft, text = engine.resources.registry, state.get("draft"), state.get("report")
    assert draft is not None and text is not None  # noqa: S101 - narrows the type; the review was about them
    report = _report(draft, text, admitted=True)
    version = registry.find(draft["name"], report.content_hash)
    if version is None:
        raise RegistryError(
            f"{state.get('waits')} is not in this registry: was it put to you by another one?"
        )
    if decision["approve"]:
        why = f"approved at review: {decision['reason']}"
        return registry.promote(version.tool, version.number, reason=why, who=REVIEWER), why
    why = f"refused at review: {decision['reason']}"
    version = registry.quarantine(version.tool, why, number=version.number, who=REVIEWER)
    registry.record_attempt(Attempt(state["family"], draft["kind"], "rejected", why))
    engine.library.forget()
    return version, why


def _keep_rejected(state: AcquireState, registry: Registry) -> None:
    """Keep the drafts that failed on the way, so that their reports can be read.

    One that is in service already, word for word, is left alone: mistakes that a writer may still mend are no reason
    to take a tool away, only the last draft's report is.
    """
    for rejected in state.get("rejected", ()):
        draft = rejected["draft"]
        report = _report(draft, rejected["report"], admitted=False)
        known = registry.find(draft["name"], report.content_hash)
        serves = known is not None and known.state in ("active", "retired")
        if draft != state.get("draft") and not serves:
            registry.adopt(
                _spec(draft, report),
                source=draft["source"],
                provenance=_provenance(draft),
                report=report,
                keys=[state["family"]],
                reason=f"for {state['family']}: {report.summary}",
            )


def _adopted(state: AcquireState, registry: Registry, *, promote: bool) -> ToolVersion | None:
    """Adopt the tested draft in one transaction with the attempt; without one record the attempt alone."""
    draft, text = state.get("draft"), state.get("report")
    if draft is None or text is None:
        registry.record_attempt(_attempt(state, None), owner=state.get("owner"))
        return None
    report = _report(draft, text, admitted=state.get("admitted", False))
    return registry.adopt(
        _spec(draft, report),
        source=draft["source"],
        provenance=_provenance(draft),
        report=report,
        keys=[state["family"]],
        promote=promote,
        attempt=_attempt(state, report),
        owner=state.get("owner"),
        reason=f"for {state['family']}: {report.summary}",
    )


def _report(draft: Draft, text: str, *, admitted: bool) -> AdmissionReport:
    """Return the report that is kept: of this very source, and passed only if every stage of the gate was.

    Raises:
        InputError: It is no report, or one of another source.
    """
    report = AdmissionReport.from_json(text)
    measured = hashlib.sha256(draft["source"].encode("utf-8", "surrogatepass")).hexdigest()
    if report.content_hash not in ("", measured):
        raise InputError(f"the report is not of this draft of {draft['name']}", field="report")
    if report.admitted and not admitted:
        why = "not asked: the draft still failed visible ones"
        report = replace(report, checks=(*report.checks, Check("deciding probes", False, note=why)))
    return replace(report, tool=draft["name"], content_hash=measured)


def _attempt(state: AcquireState, report: AdmissionReport | None) -> Attempt:
    """Return what the branch came to: by its last tested draft, else by why there is none."""
    draft, cost = state.get("draft"), state.get("cost")
    earlier = state.get("rejected")
    if draft is None and earlier:
        draft = earlier[-1]["draft"]
        report = _report(draft, earlier[-1]["report"], admitted=False)
    outcome: AttemptOutcome = "refused"
    reason = state.get("refused") or "nothing was made"
    if report is not None:
        outcome = "admitted" if report.admitted else "rejected"
        reason = report.summary
    kind = draft["kind"] if draft is not None else state.get("kind") or "none"
    if cost is None:
        return Attempt(state["family"], kind, outcome, reason)
    return Attempt(state["family"], kind, outcome, reason, **cost)


def _spec(draft: Draft, report: AdmissionReport) -> ToolSpec:
    kinds: dict[str, ToolKind] = {kind: kind for kind in ("verifier", "reward_model", "judge")}
    if draft["kind"] not in kinds:
        raise InputError(f"a tool's kind is one of {', '.join(kinds)}", field="kind")
    return ToolSpec(draft["name"], kinds[draft["kind"]], draft["summary"], graded=report.graded)


def _provenance(draft: Draft) -> Provenance:
    if draft["kind"] == "reward_model":
        source = ModelSource.from_json(draft["source"])
        return Provenance(
            "hub", model=source.repo, revision=source.sha or None, licence=source.licence or None
        )
    return Provenance("agent", prompt_hash=draft["prompt_hash"] or None, model=draft["model"] or None)


def _why(state: AcquireState, version: ToolVersion | None) -> str:
    """Say what came of the branch."""
    if version is None:
        return state.get("refused") or "nothing was made"
    draft, text = state.get("draft"), state.get("report")
    assert draft is not None and text is not None  # noqa: S101 - narrows the type; a version was made of them
    said = _report(draft, text, admitted=state.get("admitted", False)).summary
    if version.state == "candidate":
        return f"{said}; it waits for `rlar tools approve {version.tool}`"
    if version.state == "quarantined":
        return (
            f"{version.tool} v{version.number} is quarantined: `rlar tools history {version.tool}` says why"
        )
    return said


def _outcome(
    state: AcquireState, version: ToolVersion | None, why: str, *, asks: bool = False
) -> RegistrarUpdate:
    label = None if version is None else f"{version.tool} v{version.number}"
    serving = label if version is not None and version.state == "active" else None
    outcome: FamilyOutcome = {"family": state["family"], "tool": serving, "why": why}
    return {"waits": label if asks else None, "outcomes": [outcome]}
