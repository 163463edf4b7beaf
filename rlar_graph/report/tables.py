"""Tables: rows with headings that a screen reader can tell, sortable where scripts run, and bounded in number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlar_graph.report.markup import Child, Markup, join, named, tag

TALL = 14
"""Rows from which on a table scrolls in a box of its own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    shown: Child
    """What it shows."""
    sort: float | str | None = None
    """What it is sorted by, where that is not what it shows."""
    kind: str = ""
    """``number`` (set to the right), ``head`` (names the row), ``wide`` (long), ``tight`` (one line) or nothing."""


def number(shown: Child, value: float | None = None) -> Cell:
    """Return a cell with a figure; without a value it sorts last."""
    return Cell(shown, -1e300 if value is None else value, "number")


def head(shown: Child) -> Cell:
    """Return the cell that names its row."""
    return Cell(shown if isinstance(shown, Markup) else named(shown), kind="head")


def wide(shown: Child) -> Cell:
    """Return a cell of running text."""
    return Cell(shown, kind="wide")


def table(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    most: int = 100,
    sortable: bool = True,
    total: int | None = None,
) -> Markup:
    """Return a table in a box that scrolls by itself where the page is narrow.

    Args:
        caption: What it holds, read out before it.
        headings: The headings of its columns.
        rows: Its rows.
        most: Rows that are shown; how many more there are is said below.
        sortable: Whether its headings become buttons where scripts run.
        total: How many rows there are, where not all of them are given.
    """
    kinds = [cell.kind for cell in rows[0]] if rows else [""] * len(headings)
    top = tag(
        "tr",
        [
            tag("th", heading, scope="col", class_="number" if kind == "number" else None)
            for heading, kind in zip(headings, kinds, strict=True)
        ],
    )
    body = [tag("tr", [_cell(cell) for cell in row]) for row in rows[:most]]
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", top),
        tag("tbody", body),
        class_="sortable" if sortable and len(rows) > 1 else None,
    )
    tall = "scroll tall" if len(rows) > TALL else "scroll"
    left = (total or len(rows)) - min(len(rows), most)
    more = tag("p", f"and {left:,} more", class_="note") if left > 0 else None
    return join(tag("div", inner, class_=tall, tabindex=0, role="region", aria_label=caption), more)


def _cell(cell: Cell) -> Markup:
    if cell.kind == "head":
        return tag("th", cell.shown, scope="row")
    return tag("td", cell.shown, class_=cell.kind or None, data_sort=cell.sort)
