"""What a person reads of a branch's progress: which tool, why, on what evidence, and the report it rests on.

The nodes hand each other whole drafts and reports; a person in Studio or at a terminal is shown one step in four
short fields instead, and finds the rest by its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlar_graph.admission import AdmissionReport
from rlar_graph.admission.report import excerpt, report_id
from rlar_graph.state import AcquireState, Step

WHY_CHARS = 600


def step_of(state: AcquireState, update: Mapping[str, Any]) -> Step:
    """Return the step that a node's update takes.

    Args:
        state: What the node was given.
        update: What it returned.
    """
    now: dict[str, Any] = {**state, **update}
    report = now.get("report") if _rests_on_report(update) else None
    return {
        "tool": _tool(now, update),
        "why": excerpt(_why(update, report), WHY_CHARS),
        "evidence": _evidence(state, report),
        "report": None if report is None else report_id(report),
    }


def _rests_on_report(update: Mapping[str, Any]) -> bool:
    """Say whether the state's report is this step's: a draft that is written anew has none yet."""
    return bool(update.get("report") or update.get("outcomes") or "decision" in update)


def _tool(now: Mapping[str, Any], update: Mapping[str, Any]) -> str | None:
    """Return the tool this step is about."""
    for outcome in update.get("outcomes") or ():
        return str(outcome["tool"]) if outcome["tool"] else now.get("waits")
    draft = now.get("draft")
    if draft is None:
        return None
    attempt = now.get("attempt") or 1
    return f"{draft['name']}, draft {attempt}" if draft["kind"] == "verifier" else str(draft["name"])


def _why(update: Mapping[str, Any], report: str | None) -> str:
    """Return what was decided, found or made, by the most telling key of the update."""
    if update.get("outcomes"):
        return str(update["outcomes"][0]["why"])
    if "decision" in update:
        decision = update["decision"]
        return f"a person {'approved' if decision['approve'] else 'refused'} it: {decision['reason']}"
    if update.get("kind"):
        before = f"; what was tried before: {update['refused']}" if update.get("refused") else ""
        return f"a {update['kind'].replace('_', ' ')} is tried{before}"
    if update.get("refused"):
        return str(update["refused"])
    if report is not None:
        return AdmissionReport.from_json(report).summary
    return _made(update)


def _made(update: Mapping[str, Any]) -> str:
    """Return what a node made or found that is not proved yet."""
    if update.get("draft"):
        return str(update["draft"]["summary"])
    if "models" in update:
        tried = [model["repo"] for model in update["models"] if not model["refused"]]
        return f"may be tried: {', '.join(tried)}; {len(update['models']) - len(tried)} refused"
    return "the family is claimed: no other process seeks a tool for it meanwhile"


def _evidence(state: AcquireState, report: str | None) -> str:
    """Return what the step rests on: the probes of a report, else the prompts at hand."""
    if report is None:
        count = len(state["examples"])
        return f"{count} prompt{'' if count == 1 else 's'} of {state['signature']}"
    probes = AdmissionReport.from_json(report).probes
    return ", ".join(f"{count} {expect}" for expect, count in probes.items() if count) + " probes"
