"""The history of reward tools for people: every change with its reason, and the attempts that led to none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlar_graph.registry.records import Event
    from rlar_graph.registry.store import Registry
    from rlar_graph.registry.workshop_records import Attempt

REASON_CHARS = 400


def lines(store: Registry, name: str | None, *, as_json: bool) -> Iterator[str]:
    """Yield the history of one tool, or of all, in lines, oldest first.

    Args:
        store: The registry.
        name: Name of the tool; its attempts are those for the keys it has ever been bound to.
        as_json: One JSON object a line instead of text.

    Raises:
        UnknownTool: There is no such tool.
    """
    events = store.history(name)
    keys = {event.key for event in events} | ({*store.tool(name).bindings} if name is not None else set())
    attempts = [each for each in store.attempts() if name is None or each.family in keys]
    rows: list[tuple[datetime, str]] = [(event.at, _event(event, as_json)) for event in events]
    rows += [(attempt.at, _attempt(attempt, as_json)) for attempt in attempts]
    for _, line in sorted(rows, key=lambda row: row[0]):
        yield line


def _event(event: Event, as_json: bool) -> str:
    if as_json:
        row = {"at": event.at.isoformat(), "tool": event.tool, "version": event.version, "key": event.key}
        return json.dumps(row | {"action": event.action, "reason": event.reason, "who": event.who})
    version = "" if event.version is None else f" v{event.version}"
    key = "" if event.key is None else f" {_printable(event.key)}"
    reason = f": {_printable(event.reason)}" if event.reason else ""
    return f"{event.at:%Y-%m-%d %H:%M:%S} {event.tool}{version} {event.action}{key}{reason} ({event.who})"


def _attempt(attempt: Attempt, as_json: bool) -> str:
    if as_json:
        row = {"at": attempt.at.isoformat(), "family": attempt.family, "kind": attempt.kind}
        row |= {"action": "attempted", "outcome": attempt.outcome, "reason": attempt.reason}
        cost = {"calls": attempt.calls, "tokens": attempt.tokens, "money": attempt.money}
        return json.dumps(row | cost | {"seconds": attempt.seconds})
    cost_text = f"{attempt.calls} calls, {attempt.tokens:,} tokens, {attempt.seconds:.1f} s"
    what = f"{_printable(attempt.family)} attempted {attempt.kind}, {attempt.outcome}"
    return f"{attempt.at:%Y-%m-%d %H:%M:%S} {what}: {_printable(attempt.reason)} ({cost_text})"


def _printable(text: str) -> str:
    """Return a text in one line: reasons quote models and data, which may hold what moves a cursor."""
    from rlar_graph.admission.report import excerpt

    return excerpt(text, REASON_CHARS)
