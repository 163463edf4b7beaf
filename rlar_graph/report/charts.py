"""Charts: SVG drawn here, in the colours of the style sheet, each with a name, a description and figures on hover.

Values are drawn on their whole scale, 0 to 1: a curve that fills its frame only because the frame was fitted to it
tells a story that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlar_graph.report.curve import Axis, Curve, Point
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.words import place, share

LEFT, RIGHT, TOP = 30.0, 8.0, 8.0
COUNTS = 22.0
"""Height of the strip of bars that says on how many completions each point rests."""
LABELS = 16.0
COLOURS = 6
"""Colours of a stack; the last is that of everything else."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where on the drawing the values lie."""

    width: float
    """Width of the drawing."""
    height: float
    """Height of the drawing."""
    places: int
    """How many places the axis has."""

    @property
    def bottom(self) -> float:
        """Return where the value 0 is."""
        return self.height - LABELS - COUNTS

    @property
    def slot(self) -> float:
        """Return the width of one place."""
        return (self.width - LEFT - RIGHT) / max(self.places, 1)

    def x(self, number: int) -> float:
        """Return the middle of a place."""
        return round(LEFT + (number + 0.5) * self.slot, 2)

    def y(self, value: float) -> float:
        """Return the height of a value in [0, 1]."""
        return round(self.bottom - min(max(value, 0.0), 1.0) * (self.bottom - TOP), 2)


def reward_chart(curve: Curve, axis: Axis, places: Sequence[str], *, wide: bool = False) -> Markup:
    """Return the chart of a curve: mean, one standard deviation round it, and a strip of counts."""
    frame = Frame(960.0 if wide else 360.0, 260.0 if wide else 170.0, len(places))
    name = curve.tool or "All tools together"
    return _svg(
        frame,
        f"Reward of {name}",
        described(curve, axis),
        _scale(frame, ("0", "0.5", "1")),
        _ticks(frame, axis, places),
        _band(frame, curve.points),
        _line(frame, curve.points),
        _changes(frame, curve.points),
        _counts(frame, curve.points),
        *(_hover(frame, number, point, axis) for number, point in enumerate(curve.points) if point),
    )


def described(curve: Curve, axis: Axis) -> str:
    """Return a curve in a sentence, for who does not see it."""
    points = [point for point in curve.points if point is not None and point.mean is not None]
    if not points:
        return f"{curve.completions:,} completions, none of them with a value."
    first, last = points[0], points[-1]
    low = min(points, key=lambda point: point.mean or 0.0)
    high = max(points, key=lambda point: point.mean or 0.0)
    return (
        f"Mean {first.mean:.3f} at {place(first.place, axis)}, {last.mean:.3f} at {place(last.place, axis)}; "
        f"lowest {low.mean:.3f} at {place(low.place, axis)}, highest {high.mean:.3f} at {place(high.place, axis)}; "
        f"{curve.completions:,} completions."
    )


def stacked_chart(
    title: str,
    description: str,
    places: Sequence[str],
    stacks: Sequence[Sequence[float]],
    names: Sequence[str],
) -> Markup:
    """Return a chart of shares stacked on each other over time.

    Args:
        title: What it shows.
        description: The same in a sentence.
        places: The places on the axis of time.
        stacks: The shares at each place, one per name, in [0, 1] together.
        names: What the shares are of.
    """
    frame = Frame(960.0, 220.0 + COUNTS, len(places))
    top = _round_up(max((sum(stack) for stack in stacks), default=0.0))
    bars: list[Markup] = []
    for number, stack in enumerate(stacks):
        floor = 0.0
        for colour, part in enumerate(stack):
            high, low = frame.y((floor + part) / top), frame.y(floor / top)
            floor += part
            if low > high:
                label = (
                    f"{place(places[number], 'time')}: {names[colour]}, {share(part, 1)} of all completions"
                )
                bars.append(_bar(frame, number, high, low - high, f"c{colour}", label))
    scale = tuple(f"{100 * top * step:.3g}%" for step in (0.0, 0.5, 1.0))
    return _svg(frame, title, description, _scale(frame, scale), _ticks(frame, "time", places), *bars)


def gap_chart(name: str, description: str, gaps: Sequence[tuple[float, float]], baseline: float) -> Markup:
    """Return the chart of a tool's mean value above its audit's, with its standard error, and the first audits' level.

    Args:
        name: Name of the tool and its version.
        description: The same in a sentence.
        gaps: Mean and standard error, in the order of the audits.
        baseline: The mean of the first audits.
    """
    frame = Frame(360.0, 170.0, len(gaps))
    reach = max(0.1, *(abs(mean) + error for mean, error in gaps), abs(baseline))

    def level(value: float) -> float:
        return frame.y(0.5 + value / (2 * reach))

    marks = [
        join(
            tag("line", x1=frame.x(n), x2=frame.x(n), y1=level(m - e), y2=level(m + e), class_="whisker"),
            tag("circle", cx=frame.x(n), cy=level(m), r=3, class_="dot"),
        )
        for n, (m, e) in enumerate(gaps)
    ]
    edge = frame.width - RIGHT
    usual = tag("line", x1=LEFT, x2=edge, y1=level(baseline), y2=level(baseline), class_="change")
    scale = (f"{-reach:+.2g}", "0", f"{reach:+.2g}")
    return _svg(frame, f"Gap between {name} and its audits", description, _scale(frame, scale), usual, *marks)


def spark(values: Sequence[float | None], colour: str = "line") -> Markup:
    """Return a small curve beside a figure; what it shows is said in words there."""
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Markup("")
    step = 116 / (len(values) - 1)
    points = " ".join(
        f"{2 + number * step:.1f},{28 - 26 * min(max(value, 0.0), 1.0):.1f}" for number, value in known
    )
    line = tag("polyline", points=points, class_=colour)
    return tag("svg", line, viewBox="0 0 120 30", class_="spark", aria_hidden="true", focusable="false")


def meter(part: float, whole: float, colour: str = "c0") -> Markup:
    """Return a bar for a share; the share is written beside it."""
    width = 100 * min(max(part / whole if whole else 0.0, 0.0), 1.0)
    bars = (
        tag("rect", width=100, height=8, rx=2, class_="track"),
        tag("rect", width=f"{width:.2f}", height=8, rx=2, class_=colour),
    )
    ratio = "none"
    return tag(
        "svg", *bars, viewBox="0 0 100 8", preserveAspectRatio=ratio, class_="meter", aria_hidden="true"
    )


def legend(names: Sequence[str]) -> Markup:
    """Return what the colours of a stack stand for."""
    swatch = [
        tag(
            "svg",
            tag("rect", width=12, height=12, rx=2, class_=f"c{n}"),
            viewBox="0 0 12 12",
            aria_hidden="true",
        )
        for n in range(len(names))
    ]
    return tag(
        "ul", [tag("li", mark, name) for mark, name in zip(swatch, names, strict=True)], class_="legend"
    )


def _svg(frame: Frame, title: str, description: str, *parts: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *parts,
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        class_="chart",
        role="img",
        aria_label=f"{title}. {description}",
    )


def _scale(frame: Frame, labels: tuple[str, ...]) -> Markup:
    """Return the lines across the drawing, with their values."""
    parts = []
    for number, label in enumerate(labels):
        y = frame.y(number / (len(labels) - 1))
        parts.append(tag("line", x1=LEFT, x2=frame.width - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", label, x=LEFT - 5, y=y + 3.5, class_="tick", text_anchor="end"))
    return join(parts)


def _ticks(frame: Frame, axis: Axis, places: Sequence[str]) -> Markup:
    """Return the first, the middle and the last place, below the drawing."""
    if not places:
        return Markup("")
    last = len(places) - 1
    shown = {0: "start", last: "end"} if last else {0: "middle"}
    if last >= 4 and frame.width > 500:
        shown[last // 2] = "middle"
    edges = {"start": LEFT, "end": frame.width - RIGHT}
    return join(
        [
            tag(
                "text",
                place(places[number], axis),
                x=edges.get(anchor, frame.x(number)),
                y=frame.height - 3,
                class_="tick",
                text_anchor=anchor,
            )
            for number, anchor in shown.items()
        ]
    )


def _runs(points: Sequence[Point | None]) -> list[list[tuple[int, float, float]]]:
    """Return the stretches of points with a mean, as place, mean and spread: a gap is not bridged by a line."""
    runs: list[list[tuple[int, float, float]]] = [[]]
    for number, point in enumerate(points):
        if point is not None and point.mean is not None:
            runs[-1].append((number, point.mean, point.spread))
        elif point is not None and runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _band(frame: Frame, points: Sequence[Point | None]) -> Markup:
    shapes = []
    for run in _runs(points):
        above = [f"{frame.x(n)},{frame.y(mean + spread)}" for n, mean, spread in run]
        below = [f"{frame.x(n)},{frame.y(mean - spread)}" for n, mean, spread in reversed(run)]
        if len(run) > 1:
            shapes.append(tag("path", d=f"M{' L'.join([*above, *below])} Z", class_="band"))
    return join(shapes)


def _line(frame: Frame, points: Sequence[Point | None]) -> Markup:
    shapes = []
    for run in _runs(points):
        if len(run) > 1:
            path = " ".join(f"{frame.x(n)},{frame.y(mean)}" for n, mean, _ in run)
            shapes.append(tag("polyline", points=path, class_="line"))
        if len(run) <= 20:
            shapes += [
                tag("circle", cx=frame.x(n), cy=frame.y(mean), r=2.2, class_="dot") for n, mean, _ in run
            ]
    return join(shapes)


def _changes(frame: Frame, points: Sequence[Point | None]) -> Markup:
    """Return a mark where a new version of the tool began to score."""
    marks, before = [], None
    for number, point in enumerate(points):
        if point is None:
            continue
        if before is not None and point.version > before:
            x = frame.x(number) - frame.slot / 2
            marks.append(tag("line", x1=x, x2=x, y1=TOP, y2=frame.bottom, class_="change"))
            marks.append(tag("text", f"v{point.version}", x=x + 3, y=TOP + 8, class_="tick"))
        before = max(point.version, before or 0)
    return join(marks)


def _counts(frame: Frame, points: Sequence[Point | None]) -> Markup:
    """Return the strip of counts, abstentions in their own colour on top."""
    most = max((point.completions for point in points if point), default=0)
    bars = []
    for number, point in enumerate(points):
        if point is None or not most:
            continue
        room = COUNTS - 6
        whole = max(room * point.completions / most, 0.8)
        missing = whole * point.abstentions / point.completions if point.completions else 0.0
        floor = frame.height - LABELS
        bars.append(_bar(frame, number, floor - whole, whole - missing, "count", None))
        if missing:
            bars.append(_bar(frame, number, floor - missing, missing, "missing", None))
    return join(bars)


def _bar(frame: Frame, number: int, y: float, height: float, colour: str, label: str | None) -> Markup:
    width = min(frame.slot * 0.8, 40.0)
    x = frame.x(number) - width / 2
    shape = tag(
        "rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", class_=colour
    )
    return shape if label is None else tag("g", tag("title", label), shape)


def _hover(frame: Frame, number: int, point: Point, axis: Axis) -> Markup:
    """Return an unseen column over a place that says its figures."""
    mean = "no value" if point.mean is None else f"mean {point.mean:.3f} ± {point.spread:.3f}"
    label = (
        f"{place(point.place, axis)}: {mean}, {point.completions:,} completions, "
        f"{share(point.abstentions, point.completions)} abstained, version {point.version}"
    )
    x = f"{frame.x(number) - frame.slot / 2:.2f}"
    column = tag("rect", x=x, y=0, width=f"{frame.slot:.2f}", height=frame.height, class_="hover")
    return tag("g", tag("title", label), column)


def _round_up(value: float) -> float:
    """Return the next round share, so that an axis ends at a number that can be read."""
    for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if value <= step:
            return step
    return math.ceil(value * 10) / 10 if value < 1 else 1.0
