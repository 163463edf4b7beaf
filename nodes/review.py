"""The review: a person looks at a tool that passed the gate, and decides whether it may score."""

from __future__ import annotations

import json
from typing import Any

from langgraph.types import interrupt

from rlar_graph.admission import AdmissionReport
from rlar_graph.admission.report import excerpt, report_id
from rlar_graph.state import AcquireState, Decision, ReviewUpdate

SOURCE_CHARS = 6_000
REASON_CHARS = 1_000
ANSWER = 'resume with {"approve": true, "reason": "why"} or {"approve": false, "reason": "why not"}'
ANSWER_SCHEMA = {
    "title": "Review",
    "type": "object",
    "required": ["approve"],
    "properties": {
        "approve": {"type": "boolean", "description": "Whether the tool may score these prompts."},
        "reason": {"type": "string", "description": "Why; it is kept in the tool's history."},
    },
}


def review(state: AcquireState) -> ReviewUpdate:
    """Ask until a person answers in a form that can be read; decides nothing itself and changes nothing.

    LangGraph runs the node from its top for each answer, so there is nothing in it but the question.
    """
    question = question_of(state)
    while True:
        decision = read_decision(interrupt(question, response_schema=ANSWER_SCHEMA))
        if not isinstance(decision, str):
            return {"decision": decision}
        question = question | {"problem": decision}


def read_decision(answer: object) -> Decision | str:
    """Return what a person decided, or what is wrong with the answer.

    Args:
        answer: ``{"approve": ..., "reason": ...}``, that as JSON text (Studio's field takes text too), or a boolean.
    """
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError:
            return _unread(answer)
    if isinstance(answer, bool):
        answer = {"approve": answer}
    if not isinstance(answer, dict) or not isinstance(answer.get("approve"), bool):
        return _unread(answer)
    reason = answer.get("reason") or "no reason given"
    if not isinstance(reason, str) or set(answer) - {"approve", "reason"}:
        return _unread(answer)
    return {"approve": answer["approve"], "reason": excerpt(reason, REASON_CHARS)}


def _unread(answer: object) -> str:
    return f"the answer {excerpt(repr(answer))} could not be read, and nothing was decided: {ANSWER}"


def question_of(state: AcquireState) -> dict[str, Any]:
    """Return what a person is shown: the tool, what it is for, its source and the figures of its report."""
    draft, text = state.get("draft"), state.get("report")
    assert draft is not None and text is not None  # noqa: S101 - narrows the type; a tool was made of them
    report = AdmissionReport.from_json(text)
    return {
        "question": f"May {state.get('waits')} score the prompts of {state['family']}?",
        "answer": ANSWER,
        "tool": state.get("waits"),
        "kind": draft["kind"],
        "family": state["family"],
        "signature": state["signature"],
        "summary": draft["summary"],
        "written_by": draft["model"],
        "source": _legible(draft["source"]),
        "report": {
            "id": report_id(text),
            "summary": report.summary,
            "checks": [
                {"check": check.name, "figure": check.figure, "wanted": check.threshold, "note": check.note}
                for check in report.checks
            ],
        },
    }


def _legible(source: str) -> str:
    """Return the beginning of a source, lines kept: it is hostile text, so what would hide or move is spelt out."""
    shown = "\n".join(excerpt(line, SOURCE_CHARS) for line in source[:SOURCE_CHARS].split("\n"))
    more = len(source) - SOURCE_CHARS
    return f"{shown}\n… and {more:,} characters more: `rlar tools show --source`" if more > 0 else shown
