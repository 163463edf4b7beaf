r"""The shapes an answer may have: one quantity, several answers together, a relation, words, an approximation.

Shapes hold exact values, see :mod:`~rlar_graph.rewards.verifiers.maths_values`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rlar_graph.rewards.verifiers.maths_values import Value

GroupKind: TypeAlias = Literal["list", "set", "tuple", "braces", "union"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value, and what was written behind it."""

    value: Value
    """The number or expression; a percentage is not yet divided by 100."""
    unit: str = ""
    """Unit words in lower case, without spaces."""
    percent: bool = False
    """Whether a percent sign or word followed."""
    base: str = ""
    """Base of the number system, as its subscript; the value is what the digits say in base ten."""


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers together."""

    kind: GroupKind
    """``list`` (bare commas, "and"), ``set``, ``tuple``, ``braces`` (unescaped: a set or tuple), ``union``."""
    items: tuple[Shape, ...]
    """Its members as written."""
    brackets: str = ""
    """Opening and closing bracket of a tuple or interval."""


@dataclass(frozen=True, slots=True)
class Relation:
    """An equation, inequality or chain of them."""

    signs: tuple[str, ...]
    """One of ``= < > <= >= \\ne`` between each two sides."""
    sides: tuple[Value, ...]
    """One more than signs."""


@dataclass(frozen=True, slots=True)
class Words:
    """An answer that is compared as text: a name, a day, a time, a grid of numerals."""

    text: str
    """Letters and digits only, lower case; the numerals of a grid or sequence with a space between."""


@dataclass(frozen=True, slots=True)
class Approximation:
    r"""``exact \\approx decimal``."""

    exact: Shape
    """What stands before the sign."""
    near: Shape
    """What stands last."""


Shape: TypeAlias = Quantity | Group | Relation | Words | Approximation
