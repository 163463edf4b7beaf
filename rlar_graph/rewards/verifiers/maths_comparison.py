r"""Compares the shapes of two answers, the reference first: proven equal, proven different, or not known.

Order matters in tuples and not in sets and lists; brackets matter in intervals; a common factor does not matter in
equations. Units only decide where both sides name one of the same kind and they differ.

Rounding follows math-verify: where one side is written as a decimal fraction and the other is no integer, two numbers
are the same if they agree in the sixth decimal place; here they must also agree to a relative 1e-5, since small numbers
are not zero.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction

from rlar_graph.rewards.verifiers.maths_intervals import as_interval
from rlar_graph.rewards.verifiers.maths_shapes import Approximation, Group, Quantity, Relation, Shape, Words
from rlar_graph.rewards.verifiers.maths_values import ONE, NotExact, TooLarge, Value, constant

DECIMALS = 6
"""Decimal places in which a rounded number has to agree, as in math-verify."""
RELATIVE = Fraction(1, 100_000)
"""Relative difference above which rounded numbers differ, however small they are."""


class Ruling(StrEnum):
    """What the cascade says of two answers."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    EXCESSIVE = "excessive"


_EQUAL, _DIFFERENT, _UNKNOWN = Ruling.EQUAL, Ruling.DIFFERENT, Ruling.UNKNOWN
_SIZES = (
    ("mm", "millimeters", "millimeter"), ("cm", "centimeters", "centimeter"), ("m", "meters", "meter", "metres"),
    ("km", "kilometers", "kilometer"), ("inches", "inch", "in"), ("feet", "foot", "ft"), ("yards", "yard", "yd"),
    ("miles", "mile", "mi"), ("seconds", "second", "sec"), ("minutes", "minute", "min"), ("hours", "hour", "hr"),
    ("days", "day"), ("weeks", "week"), ("months", "month"), ("years", "year"), ("grams", "gram"),
    ("kg", "kilograms", "kilogram"), ("pounds", "pound", "lb"), ("cents", "cent"), ("dollars", "dollar"),
)  # fmt: skip
_UNIT = {name: names[0] for names in _SIZES for name in names}


def compare(wanted: Shape, given: Shape) -> Ruling:
    """Compare two shapes, the reference first."""
    try:
        return _compare(wanted, given)
    except (TooLarge, NotExact):
        return _UNKNOWN


def _compare(wanted: Shape, given: Shape) -> Ruling:
    if isinstance(wanted, Approximation) or isinstance(given, Approximation):
        return _approximations(wanted, given)
    if isinstance(wanted, Words) or isinstance(given, Words):
        same = isinstance(wanted, Words) and isinstance(given, Words) and wanted.text == given.text
        return _EQUAL if same else _DIFFERENT
    if isinstance(wanted, Group) or isinstance(given, Group):
        return _groups(wanted, given)
    if isinstance(wanted, Relation) or isinstance(given, Relation):
        return _relations(wanted, given)
    return _quantities(wanted, given)


def _approximations(wanted: Shape, given: Shape) -> Ruling:
    """Compare by the exact halves; by a decimal half only where it does round the exact one."""
    ruling = _DIFFERENT
    for left in _halves(wanted):
        for right in _halves(given):
            found = _compare(left, right)
            if found is _EQUAL:
                return _EQUAL
            ruling = _UNKNOWN if found is _UNKNOWN else ruling
    return ruling


def _halves(shape: Shape) -> list[Shape]:
    r"""Return what an approximation says: the exact half, and the decimal one where it rounds an exact value.

    ``1001 \approx 1000`` commits to one of two integers, not to both.
    """
    if not isinstance(shape, Approximation):
        return [shape]
    if not (isinstance(shape.exact, Quantity) and isinstance(shape.near, Quantity)):
        return [shape.exact]
    value, rational = shape.exact.value, shape.exact.value.rational()
    exact, near = value.approximate(), shape.near.value.approximate()
    is_whole = rational is not None and rational.denominator == 1
    if exact is None or near is None or value.rounded or is_whole or not shape.near.value.rounded:
        return [shape.exact]
    return [shape.exact, shape.near] if abs(exact - near) <= 0.005 * abs(exact) else [shape.exact]


def _quantities(wanted: Quantity, given: Quantity) -> Ruling:
    if wanted.base and given.base and wanted.base != given.base:
        return _DIFFERENT
    sizes = _UNIT.get(wanted.unit), _UNIT.get(given.unit)
    if None not in sizes and sizes[0] != sizes[1]:
        return _DIFFERENT
    ruling = same_value(wanted.value, given.value)
    if wanted.percent == given.percent or ruling is _EQUAL:
        return ruling
    hundredth = constant(Fraction(1, 100))
    if wanted.percent:
        return same_value(wanted.value * hundredth, given.value)
    return same_value(wanted.value, given.value * hundredth)


def same_value(wanted: Value, given: Value) -> Ruling:
    """Compare two values: exactly, or within rounding where one is a decimal fraction."""
    if wanted.equals(given):
        return _EQUAL
    if not (wanted.rounded or given.rounded):
        return _DIFFERENT
    left, right = wanted.rational(), given.rational()
    if left is not None and right is not None:
        if (left.denominator == 1 and not wanted.rounded) or (right.denominator == 1 and not given.rounded):
            return _DIFFERENT
        close = abs(left - right) <= RELATIVE * max(abs(left), abs(right))
        return _EQUAL if close and round(left, DECIMALS) == round(right, DECIMALS) else _DIFFERENT
    near, here = wanted.approximate(), given.approximate()
    if near is None or here is None:
        return _UNKNOWN if wanted.letters() == given.letters() else _DIFFERENT
    if max(abs(near), abs(here)) > 1e8:
        return _UNKNOWN
    close = abs(near - here) <= RELATIVE * max(abs(near), abs(here))
    return _EQUAL if close and round(near, DECIMALS) == round(here, DECIMALS) else _DIFFERENT


def _relations(wanted: Quantity | Relation, given: Quantity | Relation) -> Ruling:
    if isinstance(wanted, Quantity):
        if isinstance(given, Relation) and set(given.signs) == {"="}:
            return _quantities(wanted, Quantity(given.sides[-1]))
        return _DIFFERENT
    if isinstance(given, Quantity):
        return same_value(wanted.sides[-1], given.value) if _assigns(wanted) else _DIFFERENT
    if _assigns(wanted) and _assigns(given):
        if wanted.sides[0].equals(given.sides[0]):
            return same_value(wanted.sides[-1], given.sides[-1])
        return _UNKNOWN if len(wanted.sides[-1].letters() | given.sides[-1].letters()) else _DIFFERENT
    here, there = as_interval(wanted), as_interval(given)
    if here is not None and there is not None and _unknowns(wanted) == _unknowns(given):
        return _groups(here, there)
    if len(wanted.signs) == len(given.signs) == 1:
        return _single_relations(wanted, given)
    return _UNKNOWN


def _unknowns(relation: Relation) -> set[str]:
    """Return the letters of a relation."""
    return set().union(*(side.letters() for side in relation.sides))


def _assigns(relation: Relation) -> bool:
    """Say whether a relation gives a letter, or several written together, its value."""
    first = relation.sides[0]
    if set(relation.signs) != {"="} or len(first.top) != 1 or first.bottom != ONE:
        return False
    ((radicand, powers), factor) = next(iter(first.top.items()))
    return factor == radicand == 1 and bool(powers) and all(exponent == 1 for _, exponent in powers)


def _single_relations(wanted: Relation, given: Relation) -> Ruling:
    """Compare two relations with one sign each by their differences; a common factor does not matter."""
    sign, left = _standing(wanted)
    other, right = _standing(given)
    ratio = _ratio(left, right) if sign == other else None
    if ratio is not None and (ratio > 0 or sign in ("=", "\\ne")):
        return _EQUAL
    return _UNKNOWN


def _standing(relation: Relation) -> tuple[str, Value]:
    """Return a relation as a sign and a difference that stands in it to zero, ``>`` turned round."""
    difference = relation.sides[0] + -relation.sides[1]
    sign = relation.signs[0]
    if sign in (">", ">="):
        return {">": "<", ">=": "<="}[sign], -difference
    return sign, difference


def _ratio(left: Value, right: Value) -> Fraction | None:
    """Return the rational number that one value is of the other, if it is one."""
    if left.bottom != right.bottom or not left.top or left.top.keys() != right.top.keys():
        return None
    ratios = {left.top[key] / right.top[key] for key in left.top}
    return ratios.pop() if len(ratios) == 1 else None


def _groups(wanted: Shape, given: Shape) -> Ruling:
    if not (isinstance(wanted, Group) and isinstance(given, Group)):
        return _group_and_single(wanted, given)
    kinds = {wanted.kind, given.kind}
    if "union" in kinds:
        ruling = _unordered(wanted, given) if len(kinds) == 1 else _UNKNOWN
        return ruling if ruling is _EQUAL else _UNKNOWN
    if kinds == {"tuple"}:
        return _ordered_in_brackets(wanted, given)
    if "tuple" in kinds:
        if "set" in kinds or "[" in (wanted.brackets + given.brackets):
            return _UNKNOWN
        return _ordered(wanted, given)
    return _unordered(wanted, given)


def _group_and_single(wanted: Shape, given: Shape) -> Ruling:
    group, single = (wanted, given) if isinstance(wanted, Group) else (given, wanted)
    if isinstance(single, Relation) and isinstance(group, Group) and group.kind == "tuple":
        interval = as_interval(single)
        return _ordered_in_brackets(group, interval) if interval else _UNKNOWN
    if isinstance(group, Group) and group.kind in ("set", "list", "braces"):
        if len(group.items) == 1:
            only = group.items[0]
            return _compare(only, given) if group is wanted else _compare(wanted, only)
        if isinstance(wanted, Quantity) and isinstance(given, Group) and given.items:
            same = all(_compare(wanted, item) is _EQUAL for item in given.items)
            return _EQUAL if same and given.kind == "list" else _DIFFERENT
        if isinstance(given, Quantity):
            return _DIFFERENT
    if isinstance(wanted, Quantity) and isinstance(group, Group) and group.kind == "tuple":
        return _DIFFERENT
    return _UNKNOWN


def _ordered_in_brackets(wanted: Group, given: Group) -> Ruling:
    """Compare tuples or intervals; the kind of bracket decides only where there are two ends."""
    if "[" in (wanted.brackets + given.brackets) and len(wanted.items) != 2:
        return _EQUAL if _ordered(wanted, given) is _EQUAL else _UNKNOWN
    return _ordered(wanted, given) if wanted.brackets == given.brackets else _DIFFERENT


def _ordered(wanted: Group, given: Group) -> Ruling:
    if len(wanted.items) != len(given.items):
        return _DIFFERENT
    rulings = [_compare(*pair) for pair in zip(wanted.items, given.items, strict=True)]
    if _DIFFERENT in rulings:
        return _DIFFERENT
    return _UNKNOWN if _UNKNOWN in rulings else _EQUAL


def _unordered(wanted: Group, given: Group) -> Ruling:
    """Match members one to one, in any order."""
    if len(wanted.items) != len(given.items):
        return _DIFFERENT
    if len(wanted.items) > 60:
        return _UNKNOWN
    open_, doubtful = list(given.items), False
    for item in wanted.items:
        rulings = [_compare(item, other) for other in open_]
        if _EQUAL in rulings:
            del open_[rulings.index(_EQUAL)]
        elif _UNKNOWN in rulings:
            doubtful = True
        else:
            return _DIFFERENT
    return _UNKNOWN if doubtful else _EQUAL
