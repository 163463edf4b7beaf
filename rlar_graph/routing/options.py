"""The options of a multiple-choice prompt, read from its text."""

from __future__ import annotations

import re

TAIL_CHARS = 8_000
"""Options stand at the end of a prompt; no more than this is searched."""

_FIRST = ("(A)", "A)", "A.", "A:", "(a)")
_LINE = re.compile(
    r"^[ \t]*[-*•]?[ \t]*(?:\*\*)?(?:\(([A-Za-z])\)|([A-Z])[.):])(?:\*\*)?[ \t]+(\S[^\n]*?)[ \t]*$",
    re.MULTILINE,
)
_INLINE = re.compile(
    r"(?:(?<=\s)|^)(?:\(([A-Za-z])\)|([A-Z])\))[ \t]+([^\s(][^\n(]*?)(?=\s+\(?[A-Za-z]\)|[\n;]|$)"
)


def read_options(prompt: str) -> tuple[tuple[str, str], ...]:
    """Return the (label, text) options a prompt lists, or nothing.

    Understands one option a line (``(A) text``, ``A. text``, ``A) text``, ``A: text``, bulleted or not) and
    options in running text. Labels must run A, B, C, ... in order; the last such run of two or more is taken,
    so that worked examples above the question do not count.
    """
    tail = prompt[-TAIL_CHARS:]
    if not any(mark in tail for mark in _FIRST):
        return ()
    for pattern in (_LINE, _INLINE):
        found = _last_run([(m[1] or m[2], m[3].strip()) for m in pattern.finditer(tail)])
        if found:
            return found
    return ()


def _last_run(marks: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the last run of labels that starts at A and goes on without a gap."""
    best: tuple[tuple[str, str], ...] = ()
    run: list[tuple[str, str]] = []
    for label, text in marks:
        letter = label.upper()
        if letter == "A":
            run = [(letter, text)]
        elif run and ord(letter) == ord(run[-1][0]) + 1:
            run.append((letter, text))
        else:
            run = []
        if len(run) >= 2:
            best = tuple(run)
    return best
