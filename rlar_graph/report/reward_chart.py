"""The chart of rewards: what one tool gave over steps or time, and on how many completions each point rests.

Values are drawn on their whole scale, 0 to 1: a curve that fills its frame only because the frame was fitted to it
tells a story that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlar_graph.report.canvas import COUNTS, LABELS, TOP, Frame, bar, drawing, scale, ticks
from rlar_graph.report.curve import Axis, Curve, Curves, Point
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.words import place, share


def reward_chart(curve: Curve, curves: Curves, *, wide: bool = False) -> Markup:
    """Return the chart of a curve: mean, where it surely lies, one standard deviation, and a strip of counts.

    Args:
        curve: The curve.
        curves: What it is one of: the axis is theirs, so that charts can be compared.
        wide: Whether it takes the whole width of the page.
    """
    axis, places, end = curves.axis, curves.places, curves.last
    frame = Frame(960.0 if wide else 360.0, 260.0 if wide else 170.0, len(places))
    name = curve.tool or "All tools together"
    return drawing(
        frame,
        f"Reward of {name}",
        described(curve, axis),
        scale(frame, ("0", "0.5", "1")),
        ticks(frame, axis, places, end),
        _band(frame, curve.points, "band", lambda point: point.spread),
        _band(frame, curve.points, "sure", lambda point: 2 * point.error),
        _line(frame, curve.points),
        _changes(frame, curve.points),
        _counts(frame, curve.points),
        *(_hover(frame, number, point, axis) for number, point in enumerate(curve.points) if point),
    )


def described(curve: Curve, axis: Axis) -> str:
    """Return a curve in a sentence, for who does not see it."""
    known = [(point.mean, point.place) for point in curve.judged if point.mean is not None]
    if not known:
        return f"{curve.completions:,} completions, none of them with a value."
    (first, begin), (last, end) = known[0], known[-1]
    (low, trough), (high, peak) = min(known), max(known)
    return (
        f"Mean {first:.3f} at {place(begin, axis)}, {last:.3f} at {place(end, axis)}; "
        f"lowest {low:.3f} at {place(trough, axis)}, highest {high:.3f} at {place(peak, axis)}; "
        f"{curve.completions:,} completions."
    )


def _runs(points: Sequence[Point | None]) -> list[list[tuple[int, float, Point]]]:
    """Return the stretches of points with a mean, as place, mean and point; where all abstained, the line breaks."""
    runs: list[list[tuple[int, float, Point]]] = [[]]
    for number, point in enumerate(points):
        if point is not None and point.mean is not None:
            runs[-1].append((number, point.mean, point))
        elif point is not None and runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _band(frame: Frame, points: Sequence[Point | None], name: str, reach: Callable[[Point], float]) -> Markup:
    """Return the band that reaches so far above and below each mean."""
    shapes = []
    for run in _runs(points):
        above = [f"{frame.x(n)},{frame.y(mean + reach(point))}" for n, mean, point in run]
        below = [f"{frame.x(n)},{frame.y(mean - reach(point))}" for n, mean, point in reversed(run)]
        if len(run) > 1:
            shapes.append(tag("path", d=f"M{' L'.join([*above, *below])} Z", class_=name))
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
        bars.append(bar(frame, number, floor - whole, whole - missing, "count", None))
        if missing:
            bars.append(bar(frame, number, floor - missing, missing, "missing", None))
    return join(bars)


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
