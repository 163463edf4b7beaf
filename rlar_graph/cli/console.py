"""Where tables go: standard output, as wide as the terminal, and wide enough where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 160
"""Width of a table written into a pipe or a file; 80 would cut its columns."""


def console() -> Console:
    """Return a console on standard output."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=PIPE_COLUMNS)
