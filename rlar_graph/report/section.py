"""Sections: a heading that can be linked to, and what stands below it."""

from __future__ import annotations

from rlar_graph.report.markup import Child, Markup, tag


def section(name: str, title: str, *parts: Child) -> Markup:
    """Return a section; its name is what links lead to."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *parts, id=name, aria_labelledby=f"{name}-title")


def figures(rows: Markup) -> Markup:
    """Return the figures of a chart, folded away: what a chart shows is there to be read, too."""
    return tag("details", tag("summary", "Figures"), rows, class_="figures")
