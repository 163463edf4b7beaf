"""The registrar: the only writer of tools. It keeps what a branch made, with its report, whichever way it went."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from langgraph.config import get_config
from langgraph.types import interrupt

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.engine import Engine
from rlar_graph.errors import InputError, RegistryError
from rlar_graph.registry import Attempt, Provenance, ToolVersion
from rlar_graph.registry.store import Registry
from rlar_graph.registry.workshop_records import AttemptOutcome
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.state import AcquireState, Draft, RegistrarUpdate
from rlar_graph.types import ToolKind

CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps a run's checkpointer; it has no public way to ask whether there is one."""


def registrar(state: AcquireState, engine: Engine) -> RegistrarUpdate:
    """Register the branch's drafts, promote an admitted one, and record what the attempt came to.

    With ``Settings.review`` a person decides first: in a run with a checkpointer the branch is interrupted and goes on
    with the answer, in one without the tool waits as a candidate for ``rlar tools approve``. Run again after a kill,
    it finds its work done and changes nothing.
    """
    declined = _declined(state, engine)
    registry = engine.resources.registry
    try:
        _keep_rejected(state, registry)
        version = _adopted(state, registry, promote=not engine.settings.review or declined == "")
        if version is not None and declined:
            version = registry.quarantine(version.tool, declined, number=version.number, who="review")
    except (RegistryError, InputError) as error:
        # The branch ends here either way: its family abstains and says why, the others go on.
        return _outcome(state, None, f"what was made could not be registered: {error}")
    serving = version if version is not None and version.state == "active" else None
    return _outcome(state, serving, declined or _why(state, version))


def _declined(state: AcquireState, engine: Engine) -> str | None:
    """Ask a person where one is to decide: None when nobody was asked, "" for yes, else why not."""
    draft, report = state.get("draft"), state.get("report")
    if not engine.settings.review or not state.get("admitted") or draft is None or report is None:
        return None
    if get_config().get("configurable", {}).get(CHECKPOINTER) is None:
        return None
    answer = interrupt(
        {
            "question": f"May {draft['name']} score the prompts of {state['family']}?",
            "answers": "true or 'approve' lets it; anything else says why not",
            "summary": draft["summary"],
            "source": draft["source"],
            "report": AdmissionReport.from_json(report).render(),
        }
    )
    return "" if answer is True or answer == "approve" else f"declined at review: {answer}"


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


def _outcome(state: AcquireState, serving: ToolVersion | None, why: str) -> RegistrarUpdate:
    tool = None if serving is None else f"{serving.tool} v{serving.number}"
    return {"outcomes": [{"family": state["family"], "tool": tool, "why": why}]}
