"""Draws the compiled graph into the pages that show it; a test fails when a drawing is not the graph's own."""

from __future__ import annotations

import re
from pathlib import Path

from rlar_graph.graph import build_graph

PAGES = ("architecture.md", "studio.md")


def main() -> None:
    """Replace the drawings."""
    drawing = build_graph().get_graph(xray=True).draw_mermaid().strip()
    for name in PAGES:
        page = Path(__file__).parent / name
        text = page.read_text(encoding="utf-8")
        drawn = f"```mermaid\n{drawing}\n```".replace("\\", r"\\")
        text = re.sub(r"```mermaid\n.*?```", drawn, text, count=1, flags=re.DOTALL)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
