r"""Plain numbers compared without a parser: integers, decimals, grouped digits, ``a/b`` and ``\frac{a}{b}``.

Most references are numbers and most answers are written in one of these ways; one match and one multiplication settle
them. What is in any way unusual is left to the cascade.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

CLOSE = 100_000
"""Two decimals whose relative difference is below 1/CLOSE may be the same number rounded: not settled here."""

_RATIONAL = re.compile(
    r"(?P<assigned>[a-z]\s?=\s?)?\$?(?P<sign>-?)(?:\\?\$)?"
    r"(?:(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,40})?(?:\.(?P<places>[0-9]{0,40}))?(?:/(?P<below>[0-9]{1,40}))?"
    r"|\\[dt]?frac\{(?P<top>[0-9]{1,40})\}\{(?P<bottom>[0-9]{1,40})\})"
    r"(?P<unit>\s?\\text\{\s?[A-Za-z]{3,20}\s?\})?\$?"
)


class Rational(NamedTuple):
    """A number as the quotient of two integers."""

    top: int
    """Numerator, with the sign."""
    bottom: int
    """Denominator, above zero."""
    rounded: bool
    """Whether it was written with decimal places."""
    bare: bool
    """Whether nothing but the number was written: no ``x =`` and no unit."""


@lru_cache(maxsize=4_096)
def read_reference(text: str) -> Rational | None:
    """Return a reference that is nothing but a number."""
    number = read_rational(text)
    return number if number is not None and number.bare else None


def read_rational(text: str) -> Rational | None:
    """Return a plain number, None for whatever is not one."""
    found = _RATIONAL.fullmatch(text)
    if found is None:
        return None
    assigned, sign, whole, places, below, top, bottom, unit = found.groups()
    if top is not None:
        numerator, denominator = int(top), int(bottom)
    elif places and below:
        return None
    elif whole or places:
        numerator = int((whole or "").replace(",", "") + (places or ""))
        denominator = int(below) if below else 10 ** len(places or "")
    else:
        return None
    if denominator == 0 or (
        unit and unit.strip(" {}")[6:].strip() in ("and", "percent", "million", "thousand")
    ):
        return None
    return Rational(-numerator if sign else numerator, denominator, bool(places), not (assigned or unit))


def same_rational(reference: str, answer: str) -> bool | None:
    """Say whether two plain numbers are the same; None where one is not plain, or rounding may matter."""
    left = read_reference(reference)
    if left is None:
        return None
    right = read_rational(answer)
    if right is None:
        return None
    here, there = left.top * right.bottom, right.top * left.bottom
    if here == there:
        return True
    if (left.rounded or right.rounded) and abs(here - there) * CLOSE <= max(abs(here), abs(there)):
        return None
    return False
