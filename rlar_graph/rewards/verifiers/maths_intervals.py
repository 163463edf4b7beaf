r"""The interval that an inequality in one letter describes, so that ``x < 3`` and ``(-\\infty, 3)`` can be compared."""

from __future__ import annotations

from fractions import Fraction

from rlar_graph.rewards.verifiers.maths_shapes import Group, Quantity, Relation
from rlar_graph.rewards.verifiers.maths_values import ONE, Value, letter

_LESS = {"<": "(", "<=": "["}
_CLOSED = {"(": ")", "[": "]"}
_INFINITY = letter("\\infty")


def as_interval(relation: Relation) -> Group | None:
    """Return the interval of one linear inequality or of ``a < x < b``; None for anything else."""
    if len({sign[0] for sign in relation.signs}) != 1 or relation.signs[0][0] not in "<>":
        return None
    signs, sides = relation.signs, relation.sides
    if signs[0][0] == ">":
        signs = tuple(sign.replace(">", "<") for sign in reversed(signs))
        sides = tuple(reversed(sides))
    if len(signs) == 2:
        return _between(signs, sides)
    return _half_line(signs[0], sides[0] + -sides[1]) if len(signs) == 1 else None


def _between(signs: tuple[str, ...], sides: tuple[Value, ...]) -> Group | None:
    low, middle, high = sides
    names = middle.letters()
    if len(names) != 1 or not middle.equals(letter(next(iter(names)))) or low.letters() or high.letters():
        return None
    return _interval(_LESS[signs[0]], low, high, _CLOSED[_LESS[signs[1]]])


def _half_line(sign: str, difference: Value) -> Group | None:
    """Solve ``difference < 0`` or ``<= 0`` where it is linear in one letter."""
    names = difference.letters()
    if len(names) != 1 or any(powers for _, powers in difference.bottom):
        return None
    name = next(iter(names))
    key = (1, ((name, 1),))
    factor = difference.top.get(key)
    rest = Value({other: part for other, part in difference.top.items() if other != key}, ONE)
    if factor is None or rest.letters():
        return None
    bound = -rest * Value({(1, ()): Fraction(1) / factor}, ONE, difference.rounded)
    if factor > 0:
        return _interval("(", -_INFINITY, bound, _CLOSED[_LESS[sign]])
    return _interval(_LESS[sign], bound, _INFINITY, ")")


def _interval(opening: str, low: Value, high: Value, closing: str) -> Group:
    return Group("tuple", (Quantity(low), Quantity(high)), opening + closing)
