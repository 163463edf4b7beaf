"""A reading: what a network said of one completion, before any calibration; and whoever gives readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """What a network said of one completion."""

    raw: float | None
    """Its reward, on a scale of its own; None where there is none."""
    why: str | None = None
    """Why there is none."""
    dropped: int = 0
    """Tokens that were left out because prompt and completion are too long for the network."""


class Reader(Protocol):
    """Reads completions with a network, here or on a server."""

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Return one reading per (prompt, completion).

        Raises:
            ToolError: Nothing could be read at all.
        """
        ...
