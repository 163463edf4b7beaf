"""Draws the compiled graph into docs/architecture.md; a test fails when the drawing is not the graph's own."""

from __future__ import annotations

import re
from pathlib import Path

from rlar_graph.graph import build_graph


def main() -> None:
    """Replace the drawing."""
    page = Path(__file__).parent / "architecture.md"
    drawing = build_graph().get_graph(xray=True).draw_mermaid().strip()
    text = page.read_text(encoding="utf-8")
    page.write_text(
        re.sub(
            r"```mermaid\n.*?```", lambda _: f"```mermaid\n{drawing}\n```", text, count=1, flags=re.DOTALL
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
