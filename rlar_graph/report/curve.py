"""Curves: what each tool gave over the trainer's steps, or over time where no trainer names its step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import sqlalchemy as sa

from rlar_graph.registry import summary
from rlar_graph.registry.summary_records import RewardSum

Axis: TypeAlias = Literal["step", "time"]

POINTS = 60
"""Points of a drawn curve."""


@dataclass(frozen=True, slots=True)
class Point:
    """What was given in one stretch of steps or of time."""

    place: str
    """The first step, or the beginning in time as ISO text (UTC)."""
    completions: int
    """Completions that were asked about."""
    abstentions: int
    """Those without a value."""
    mean: float | None
    """Mean value; None where nothing was judged."""
    spread: float
    """Standard deviation of the values."""
    version: int
    """The highest version that scored."""

    @property
    def judged(self) -> int:
        """Return how many completions have a value."""
        return self.completions - self.abstentions

    @property
    def error(self) -> float:
        """Return the standard error of the mean, as if completions were independent of each other."""
        return self.spread / math.sqrt(self.judged) if self.judged > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one tool, or of all tools together, at the same places."""

    tool: str | None
    """Name of the tool; None for all together."""
    points: tuple[Point | None, ...]
    """One per place; None where nothing was asked."""

    @property
    def completions(self) -> int:
        """Return how many completions the curve rests on."""
        return sum(point.completions for point in self.points if point is not None)

    @property
    def judged(self) -> list[Point]:
        """Return the points that have a mean, in order."""
        return [point for point in self.points if point is not None and point.mean is not None]

    @property
    def ends(self) -> tuple[float, float] | None:
        """Return the mean over the first and over the last tenth of the points: single points jump about."""
        points = self.judged
        width = max(1, len(points) // 10)
        return (_mean(points[:width]), _mean(points[-width:])) if points else None


@dataclass(frozen=True, slots=True)
class Curves:
    """All curves over one axis."""

    axis: Axis
    """What the places are."""
    places: tuple[str, ...]
    """The places, in order."""
    last: str
    """The last step or minute; the last place is where its stretch begins."""
    all_tools: Curve
    """All tools together."""
    by_tool: tuple[Curve, ...]
    """Each tool, most completions first."""


def read_curves(connection: sa.Connection, since: str) -> Curves | None:
    """Return the curves of what was rewarded since a minute, or None where nothing was."""
    reach = summary.extent(connection, since)
    if reach is None:
        return None
    if reach.first_step is not None and reach.first_step != reach.last_step:
        return _curves("step", summary.rewards_by_step(connection, reach, since), str(reach.last_step))
    return _curves("time", summary.rewards_by_time(connection, reach, since), reach.last)


def _curves(axis: Axis, rows: Sequence[RewardSum], last: str) -> Curves:
    """Return the curves of some sums, neighbouring places joined until there are few enough to draw."""
    found = {row.place for row in rows}
    ordered = sorted(found, key=int) if axis == "step" else sorted(found)
    width = math.ceil(len(ordered) / POINTS)
    stretch = {place: number // width for number, place in enumerate(ordered)}
    places = tuple(ordered[::width])
    by_tool: dict[str, dict[int, list[RewardSum]]] = {}
    together: dict[int, list[RewardSum]] = {}
    for row in rows:
        by_tool.setdefault(row.tool, {}).setdefault(stretch[row.place], []).append(row)
        together.setdefault(stretch[row.place], []).append(row)
    curves = [_curve(tool, places, sums) for tool, sums in by_tool.items()]
    curves.sort(key=lambda curve: (-curve.completions, curve.tool or ""))
    return Curves(axis, places, last, _curve(None, places, together), tuple(curves))


def _curve(tool: str | None, places: Sequence[str], sums: dict[int, list[RewardSum]]) -> Curve:
    return Curve(
        tool,
        tuple(_point(place, sums[number]) if number in sums else None for number, place in enumerate(places)),
    )


def _mean(points: Sequence[Point]) -> float:
    """Return the mean over points, each with its weight."""
    return sum(p.mean * p.judged for p in points if p.mean is not None) / sum(p.judged for p in points)


def _point(place: str, rows: Iterable[RewardSum]) -> Point:
    """Add up sums into one point."""
    rows = list(rows)
    completions, abstentions = sum(row.completions for row in rows), sum(row.abstentions for row in rows)
    judged = completions - abstentions
    version = max(row.version for row in rows)
    if judged <= 0:
        return Point(place, completions, abstentions, None, 0.0, version)
    mean = sum(row.total for row in rows) / judged
    variance = sum(row.squares for row in rows) / judged - mean * mean
    return Point(place, completions, abstentions, mean, math.sqrt(max(variance, 0.0)), version)
