"""The other charts: abstentions stacked over time, the gap to an audit, and small marks beside figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlar_graph.report.canvas import LEFT, RIGHT, Frame, bar, drawing, scale, ticks
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.words import place, share

GAP = 4.0


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
    frame = Frame(960.0, 220.0, len(places), strip=GAP)
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
                bars.append(bar(frame, number, high, low - high, f"c{colour}", label))
    levels = tuple(f"{100 * top * step:.3g}%" for step in (0.0, 0.5, 1.0))
    return drawing(frame, title, description, scale(frame, levels), ticks(frame, "time", places), *bars)


def gap_chart(name: str, description: str, gaps: Sequence[tuple[float, float]], baseline: float) -> Markup:
    """Return the chart of a tool's mean value above its audit's, with its standard error, and the first audits' level.

    Args:
        name: Name of the tool and its version.
        description: The same in a sentence.
        gaps: Mean and standard error, in the order of the audits.
        baseline: The mean of the first audits.
    """
    frame = Frame(360.0, 160.0, len(gaps), strip=GAP)
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
    levels = (f"{-reach:+.2g}", "0", f"{reach:+.2g}")
    return drawing(
        frame, f"Gap between {name} and its audits", description, scale(frame, levels), usual, *marks
    )


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
    return tag(
        "svg",
        line,
        viewBox="0 0 120 30",
        class_="spark",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def meter(part: float, whole: float, colour: str = "c0") -> Markup:
    """Return a bar for a share that is not zero; the share is written beside it."""
    if not part:
        return Markup("")
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


def _round_up(value: float) -> float:
    """Return the next round share, so that an axis ends at a number that can be read."""
    for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        if value <= step:
            return step
    return math.ceil(value * 10) / 10 if value < 1 else 1.0
