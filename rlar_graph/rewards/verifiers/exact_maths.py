r"""Decides, exactly and in microseconds, whether two mathematical answers are the same; or says that it cannot.

The cascade, cheapest first: equal numerals; equal tokens; equal shapes over exact values. Where both sides are read,
equality and difference are proven, not sampled. What is not read is :attr:`Ruling.UNKNOWN`, and a computer algebra
system may know better. An answer beyond the caps (length, digits, nesting, towers of powers, large factorials) is
:attr:`Ruling.EXCESSIVE` whatever it would come to: nobody's final answer to a question with a simple one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rlar_graph.rewards.verifiers.maths_comparison import Ruling, compare
from rlar_graph.rewards.verifiers.maths_numerals import same_rational
from rlar_graph.rewards.verifiers.maths_reading import read_shape
from rlar_graph.rewards.verifiers.maths_shapes import Group, Quantity, Shape
from rlar_graph.rewards.verifiers.maths_tokens import Token, excess, normal_form, tokenize
from rlar_graph.rewards.verifiers.maths_values import NotExact, TooLarge, start_work

_EQUAL, _DIFFERENT, _UNKNOWN = Ruling.EQUAL, Ruling.DIFFERENT, Ruling.UNKNOWN
_COMMA_DECIMAL = re.compile(r"[^\d]{0,4}?-?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+[^\d]{0,4}", re.ASCII)
_LIST_OF_GROUPS = re.compile(r"\d,\d{3}(?!\d)", re.ASCII)
_BRACKETED_PAIR = re.compile(r"([(\[]\s{0,3}-?\d{1,3}),(\d{3}\s{0,3}[)\]])", re.ASCII)
_ASIDE = re.compile(
    r"([^()]{1,80})\s\((?:or|i\.e\.,?|that is,?|about|approximately|=|≈|\\approx)?\s?([^()]{1,80})\)"
)
_UNEVALUATED = re.compile(r"\\(?:sum|prod|int|lim|bigcup|bigcap)(?![A-Za-z])")
_BIG_BOUND = re.compile(r"[0-9]{6}|10\s{0,3}\^")
_PROSE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{3,}")


def decide(reference: str, answer: str) -> Ruling:
    """Say whether an answer is the same as the reference.

    Not symmetric: where the reference is a value, an equation's last side counts as the answer; where the reference
    is an equation that assigns a value, the value alone is accepted.
    """
    quick = same_rational(reference, answer)
    if quick is not None:
        return _EQUAL if quick else _DIFFERENT
    start_work()
    wanted = _read_reference(reference)
    start_work()
    if excess(answer):
        return Ruling.EXCESSIVE if wanted.simple else _UNKNOWN
    if not wanted.simple:
        return _EQUAL if reference.split() == answer.split() else _UNKNOWN
    tokens = tokenize(_pairs(answer))
    if wanted.tokens and _same_text(wanted.tokens, tokens):
        return _EQUAL
    if _UNEVALUATED.search(answer) and _BIG_BOUND.search(answer) and not _UNEVALUATED.search(reference):
        return Ruling.EXCESSIVE
    return _by_shape(wanted.shape, answer, tokens)


@dataclass(frozen=True, slots=True)
class _Reference:
    """A reference as it is read once for all answers."""

    tokens: list[Token]
    shape: Shape | None
    simple: bool


@lru_cache(maxsize=4_096)
def _read_reference(reference: str) -> _Reference:
    if excess(reference):
        return _Reference([], None, simple=False)
    tokens = tokenize(_pairs(reference))
    try:
        return _Reference(tokens, read_shape(tokens), simple=True)
    except NotExact:
        return _Reference(tokens, None, simple=True)
    except TooLarge:
        return _Reference(tokens, None, simple=False)


def _pairs(answer: str) -> str:
    """Keep ``(2,123)`` a pair: in brackets of its own no comma groups digits."""
    return _BRACKETED_PAIR.sub(r"\1, \2", answer) if "," in answer else answer


def is_readable(reference: str) -> bool:
    """Say whether a reference is read here, so that no stronger tool needs to be asked what it is."""
    return _read_reference(reference).shape is not None


def _same_text(left: list[Token], right: list[Token]) -> bool:
    """Say whether two answers are the same token by token; text in words is the same in any case."""
    if len(left) == len(right) and normal_form(left) == normal_form(right):
        return True
    if not any(token.kind == "text" for token in (*left, *right)):
        return False
    return _letters(left) == _letters(right) != ""


def _letters(tokens: list[Token]) -> str:
    """Return an answer's text in lower case, without spaces; empty if it is not all words."""
    if any(token.kind not in ("text", "word", "letter") and token.text not in ("(", ")") for token in tokens):
        return ""
    return "".join(filter(str.isalnum, "".join(token.text for token in tokens))).lower()


def _by_shape(wanted: Shape | None, answer: str, tokens: list[Token]) -> Ruling:
    """Compare what both sides mean."""
    try:
        given = read_shape(tokens)
    except TooLarge:
        return Ruling.EXCESSIVE
    except NotExact:
        if wanted is not None and _other_reading(wanted, answer):
            return _EQUAL
        prose = len(_PROSE.findall(answer)) > 1
        return _DIFFERENT if prose and isinstance(wanted, Quantity) else _UNKNOWN
    if wanted is None:
        return _UNKNOWN
    ruling = compare(wanted, given)
    if ruling is not _EQUAL and _other_reading(wanted, answer):
        return _EQUAL
    return ruling


def _other_reading(wanted: Shape, answer: str) -> bool:
    """Try another meaning: ``2,74`` is a decimal in Europe, ``1,200`` two numbers in a list, ``0.75 (3/4)`` one."""
    aside = _ASIDE.fullmatch(answer)
    try:
        if aside:
            first, second = (read_shape(tokenize(part)) for part in aside.groups())
            return compare(first, second) is _EQUAL and compare(wanted, first) is _EQUAL
        if isinstance(wanted, Quantity) and _COMMA_DECIMAL.fullmatch(answer):
            answer = answer.replace(".", "").replace(",", ".")
        elif isinstance(wanted, Group) and _LIST_OF_GROUPS.search(answer):
            answer = answer.replace(",", ", ")
        else:
            return False
        return compare(wanted, read_shape(tokenize(answer))) is _EQUAL
    except (NotExact, TooLarge):
        return False
