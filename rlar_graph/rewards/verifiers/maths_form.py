r"""The form of an expression: its tree as written, not what it comes to.

``2x+3x`` and ``5x`` have one value and two forms. What carries no work is normalised away: the order of terms and
factors, brackets, ``\cdot`` or ``*`` or nothing, ``\frac`` or ``/``, ``\sqrt`` or the power of a half, a term 0, a
factor 1. Unlike the exact reader this one reads everything: a function, a sum sign or an integral is a factor like any
other, which is enough to see that two expressions are written alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from rlar_graph.rewards.verifiers.maths_expression import read_number
from rlar_graph.rewards.verifiers.maths_tokens import Token, excess, tokenize
from rlar_graph.rewards.verifiers.maths_values import TooLarge

Form: TypeAlias = tuple[Any, ...]
"""``(kind, text)`` for an atom, else an operator and its operands: ``("+", ("number", "1"), ("letter", "x"))``."""

TOKENS = 200
"""Tokens that an expression may have."""
RELATIONS = frozenset({"=", "<", ">", "<=", ">=", "\\ne", "\\approx"})

ZERO, ONE, HUNDRED = (("number", text) for text in ("0", "1", "100"))
_CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
_ENDS = frozenset({")", "]", "}", "\\}", "+", "-", ",", ";", "", *RELATIONS})
_JOINS = frozenset({",", ";", "and", "or"})
_ATOMS = frozenset({"number", "group", "letter", "word", "text", "command", "sign", "other"})


@lru_cache(maxsize=4_096)
def form_of(expression: str) -> Form | None:
    """Return the form of an expression, None where there is nothing to read or too much."""
    if len(expression) > 5 * TOKENS or excess(expression):
        return None
    tokens = tokenize(expression)
    if not 0 < len(tokens) <= TOKENS:
        return None
    try:
        return _Reader(tokens).whole()
    except (IndexError, ValueError, TooLarge):  # it ends too early, or is no expression
        return None


def is_atom(form: Form) -> bool:
    """Say whether a form is a single numeral, letter or name."""
    return form[0] in _ATOMS


def atoms(form: Form) -> Iterator[Form]:
    """Yield the atoms of a form from left to right."""
    if is_atom(form):
        yield form
    else:
        for operand in form[1:]:
            yield from atoms(operand)


def negative(form: Form) -> Form:
    """Return a form with its sign turned."""
    if form[0] == "neg":
        inner: Form = form[1]
        return inner
    if form[0] == "+":
        return total(map(negative, form[1:]))
    return form if form == ZERO else ("neg", form)


def total(terms: Iterable[Form]) -> Form:
    """Return the sum of terms in the one order, sums within it dissolved and zeros left out."""
    flat = [inner for term in terms for inner in (term[1:] if term[0] == "+" else (term,)) if inner != ZERO]
    return _joined("+", flat, ZERO)


def product(factors: Iterable[Form]) -> Form:
    """Return the product of factors in the one order, products within it dissolved and ones left out."""
    sign, flat = 1, []
    for factor in factors:
        if factor[0] == "neg":
            sign, factor = -sign, factor[1]
        flat += [inner for inner in (factor[1:] if factor[0] == "*" else (factor,)) if inner != ONE]
    result = _joined("*", flat, ONE)
    return result if sign > 0 else negative(result)


def inverse(form: Form) -> Form:
    """Return one over a form."""
    if form[0] == "neg":
        return negative(inverse(form[1]))
    if form[0] == "*":
        return product(map(inverse, form[1:]))
    if form[0] == "inv":
        inner: Form = form[1]
        return inner
    return form if form == ONE else ("inv", form)


def power(base: Form, exponent: Form) -> Form:
    """Return a power; the first power is the base."""
    return base if exponent == ONE else ("^", base, exponent)


def _joined(operator: str, operands: list[Form], empty: Form) -> Form:
    if len(operands) < 2:
        return operands[0] if operands else empty
    return (operator, *sorted(operands, key=repr))


class _Reader:
    """One pass over the tokens of an expression."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> Form:
        """Return the form of all tokens."""
        result = self._list()
        if self._at != len(self._tokens):
            raise ValueError("a bracket too many")
        return result

    def _text(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _list(self) -> Form:
        members = [self._relation()]
        while self._text() in _JOINS:
            self._at += 1
            members.append(self._relation())
        return members[0] if len(members) == 1 else (",", *members)

    def _relation(self) -> Form:
        sides, signs = [self._sum()], []
        while self._text() in RELATIONS:
            signs.append(self._text())
            self._at += 1
            sides.append(self._sum())
        if not signs:
            return sides[0]
        return ("=", *sorted(sides, key=repr)) if set(signs) == {"="} else (" ".join(signs), *sides)

    def _sum(self) -> Form:
        terms = [self._product()]
        while self._text() in ("+", "-"):
            sign = self._text()
            self._at += 1
            term = self._product()
            terms.append(term if sign == "+" else negative(term))
        return total(terms)

    def _product(self) -> Form:
        if self._text() in ("+", "-"):
            sign = self._text()
            self._at += 1
            return self._product() if sign == "+" else negative(self._product())
        factors = [self._power()]
        while True:
            text = self._text()
            if text in ("*", "/", ":", "of"):
                self._at += 1
                negated = self._text() == "-"
                self._at += negated
                factor = negative(self._power()) if negated else self._power()
                factors.append(inverse(factor) if text in ("/", ":") else factor)
            elif text in _ENDS or text in _JOINS:
                return product(factors)
            else:
                factors.append(self._power())

    def _power(self) -> Form:
        base = self._atom()
        while True:
            text = self._text()
            if text not in ("^", "_", "!", "%", "'"):
                return base
            self._at += 1
            if text == "^":
                base = power(base, self._script())
            elif text == "%":
                base = product([base, inverse(HUNDRED)])
            else:
                base = (text, base, self._script()) if text == "_" else (text, base)

    def _script(self) -> Form:
        if self._text() == "-":
            self._at += 1
            return negative(self._atom())
        return self._atom()

    def _atom(self) -> Form:
        token = self._tokens[self._at]
        self._at += 1
        if token.text in _CLOSING:
            inside = self._list()
            if self._text() not in _CLOSING.values():
                raise ValueError("a bracket that never closes")
            self._at += 1
            return inside
        if token.text == "\\frac":
            return product([self._argument(), inverse(self._argument())])
        if token.text == "\\binom":
            return ("\\binom", self._argument(), self._argument())
        if token.text == "\\sqrt":
            return self._root()
        if token.kind in ("number", "group"):
            return _numeral(token.text)
        if token.kind == "sign" and token.text != "|":
            raise ValueError("a sign where an operand is due")
        return (token.kind, token.text)

    def _argument(self) -> Form:
        token = self._tokens[self._at]
        if token.kind == "number" and len(token.text) == 2 and token.text.isdecimal():
            self._tokens[self._at] = Token("number", token.text[1])
            return ("number", token.text[0])
        return self._atom()

    def _root(self) -> Form:
        degree: Form = ("number", "2")
        if self._text() == "[":
            degree = self._atom()
        return power(self._argument(), inverse(degree))


def _numeral(text: str) -> Form:
    """Return a numeral: ``2.0`` is ``2``, and ``0.5`` is an atom of its own, not one over two."""
    fixed, slash, period = text.partition("/")  # a repeating decimal
    return ("number", f"{fixed}/{period}" if slash else str(read_number(text)))
