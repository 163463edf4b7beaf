"""The canvas of a chart: its frame, its scale and its axis, and the name and description every drawing has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlar_graph.report.curve import Axis
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.words import place

LEFT, RIGHT, TOP = 30.0, 8.0, 8.0
COUNTS = 22.0
"""Height of the strip of bars below the values."""
LABELS = 16.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where on the drawing the values lie."""

    width: float
    """Width of the drawing."""
    height: float
    """Height of the drawing."""
    places: int
    """How many places the axis has."""
    strip: float = COUNTS
    """Height of what lies between the values and the axis."""

    @property
    def bottom(self) -> float:
        """Return where the value 0 is."""
        return self.height - LABELS - self.strip

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


def drawing(frame: Frame, title: str, description: str, *parts: Markup) -> Markup:
    """Return the parts as one image with a name and a description."""
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


def scale(frame: Frame, labels: tuple[str, ...]) -> Markup:
    """Return the lines across the drawing, with their values."""
    parts = []
    for number, label in enumerate(labels):
        y = frame.y(number / (len(labels) - 1))
        parts.append(tag("line", x1=LEFT, x2=frame.width - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", label, x=LEFT - 5, y=y + 3.5, class_="tick", text_anchor="end"))
    return join(parts)


def ticks(frame: Frame, axis: Axis, places: Sequence[str], end: str | None = None) -> Markup:
    """Return the first, the middle and the last place, below the drawing; the last stretch may end later."""
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
                place(end if end and number == last and last else places[number], axis),
                x=edges.get(anchor, frame.x(number)),
                y=frame.height - 3,
                class_="tick",
                text_anchor=anchor,
            )
            for number, anchor in shown.items()
        ]
    )


def bar(frame: Frame, number: int, y: float, height: float, colour: str, label: str | None) -> Markup:
    """Return a bar at a place, with what is said when it is pointed at."""
    width = min(frame.slot * 0.8, 40.0)
    x = frame.x(number) - width / 2
    shape = tag(
        "rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", class_=colour
    )
    return shape if label is None else tag("g", tag("title", label), shape)
