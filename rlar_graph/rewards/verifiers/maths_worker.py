r"""The source that compares two answers with math-verify, in a sandbox worker whose time limit is a kill.

It is text, not code of this process: a computer algebra system can be made to run for hours or fill the memory by one
short line, and math-verify's own limits rest on SIGALRM, which only works on a main thread and only between bytecodes.
"""

from __future__ import annotations

from rlar_graph.sandbox.base import Limits

SAME, DIFFERENT, UNREADABLE = 1.0, 0.0, 2.0
"""What ``verify`` returns; the last says that the reference cannot be read, so nobody can tell."""

LIMITS = Limits(seconds=6.0, memory_mb=1_024)
"""Limits of one comparison; a worker's first one also imports SymPy."""

SOURCE = r'''
import logging
import re

from math_verify import LatexExtractionConfig, parse
from math_verify import verify as same
from sympy import Basic, MatrixBase
from sympy.logic.boolalg import BooleanAtom

logging.disable(logging.CRITICAL)
CONFIG = [LatexExtractionConfig(boxed_match_priority=0)]
PLAIN = re.compile(r"(?<![\\A-Za-z])(sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|pi|infty)(?![A-Za-z])")
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
DEGREES = re.compile(r"([0-9.]+)\s*(?:\^\s*\{?\s*\\circ\s*\}?|°)")
ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")


def read(text):
    """Return what math-verify reads, without what stands for having understood nothing."""
    text = PLAIN.sub(r"\\\1 ", ROOT.sub(r"\\sqrt{\1}", text.strip().strip("$")))
    if TRIGONOMETRIC.search(text):  # math-verify drops degree signs, and would take the cosine of 60 radians
        text = DEGREES.sub(r"{(\1 \\pi / 180)}", text)
    boxed = "\\boxed{" + text + "}"
    found = parse(boxed, CONFIG, fallback_mode="no_fallback", parsing_timeout=None)
    return [item for item in found if isinstance(item, (Basic, MatrixBase)) and not vacuous(item, text)]


def vacuous(item, text):
    """Say whether an equation has collapsed to a truth value or to 0: two of those are equal without meaning it."""
    if isinstance(item, BooleanAtom):
        return True
    return item == 0 and "=" in text and not re.search(r"=\s*[-+]?0(?:\.0*)?\s*$", text)


def verify(reference, answer):
    gold = read(reference)
    if not gold:
        return 2.0
    given = read(answer)
    return 1.0 if given and same(gold, given, timeout_seconds=None, raise_on_error=True) else 0.0
'''
"""Defines ``verify(reference, answer)``."""
