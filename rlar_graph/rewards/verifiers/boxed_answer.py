r"""The boxes of a text: what stands in each ``\boxed{}`` or ``\fbox{}``, braces balanced, and where."""

from __future__ import annotations

import re
from collections import deque

from rlar_graph.rewards.verifiers.implied_answer import tidy

CANDIDATES = 64
"""How many commitments of each form are looked at, counted from the end."""
LONGEST = 20_000
"""Characters one answer may have; a longer one is no answer."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,4}(?:(\{)|([^\s{}$\\]+))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BOX_TAIL = re.compile(r"[\s$)]{0,4}(?:\\?%|percent(?:age)?\b|pct\b)")
_JOINED = re.compile(r"(?:[\s,;&$]|\\[,;!() ]|\\q?quad|\band\b|\bor\b|\\text\{\s*(?:and|or)\s*\}){0,12}")


def boxes(text: str) -> list[tuple[str, tuple[int, int]]] | None:
    """Return the boxes, those that only "and", "or" or a comma joins as one.

    None where the last box never closes.
    """
    found: list[tuple[str, tuple[int, int]]] = []
    for box in deque(_BOX.finditer(text), CANDIDATES):
        inside = _braced(text, box.end()) if box[1] else box.span(2)
        if inside is None:
            found.clear()
            continue
        start, end = box.start(), inside[1] + (1 if box[1] else 0)
        content = tidy(text[slice(*inside)])
        percent = _BOX_TAIL.match(text, end)
        if percent and not content.endswith("%"):
            content, end = f"{content}\\%", percent.end()
        if found and start >= found[-1][1][1] and _JOINED.fullmatch(text, found[-1][1][1], start):
            before, span = found.pop()
            content = content if content == before else f"{before}, {content}"
            start = span[0]
        found.append((content, (start, end)))
    return found or None


def _braced(text: str, start: int) -> tuple[int, int] | None:
    """Return the span up to the brace that closes the one before ``start``; None if none does in time."""
    depth = 1
    for brace in _BRACE.finditer(text, start, min(len(text), start + LONGEST)):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if depth == 0:
                return start, brace.start()
    return None


def lone_box(text: str) -> tuple[str, tuple[int, int]] | None:
    """Return the only box of a text if the text ends with it: the commonest completion, found without a regex."""
    start = text.rfind("\\boxed{")
    if start < 0 or text.find("boxed") != start + 1 or "\\fbox" in text:
        return None
    inside = _braced(text, start + 7)
    if inside is None or text[inside[1] + 1 :].strip(" \n.$)]\\"):
        return None
    return tidy(text[slice(*inside)]), (start, inside[1] + 1)
