"""JSON as completions carry it: how deep it nests, and which one document a completion commits itself to."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_DEPTH = 100
"""Levels of nesting that are read; deeper text could exhaust the stack of the process that reads it."""

_STRUCTURE = re.compile(r'[\[\]{}"\\]')


def nests_too_deep(text: str) -> bool:
    """Return whether brackets outside strings nest deeper than :data:`MAX_DEPTH`, without recursion."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for mark in _brackets(text):
        depth += 1 if mark in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _brackets(text: str) -> Iterator[str]:
    """Yield the brackets outside strings, in order."""
    quoted, escaped_at = False, -1
    for found in _STRUCTURE.finditer(text):
        mark, place = found[0], found.start()
        if place == escaped_at:
            continue
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark != "\\":
            yield mark
        elif quoted and mark == "\\":
            escaped_at = place + 1
