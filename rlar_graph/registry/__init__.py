"""The registry: reward tools in SQLite or PostgreSQL, each with the evidence that admitted it.

Importing this package is cheap; SQLAlchemy comes in with the first :func:`open_registry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlar_graph.registry.records import (
    Author,
    DailyUsage,
    Decision,
    Event,
    ImportedTool,
    Outcome,
    Provenance,
    Stamp,
    ToolRecord,
    ToolState,
    ToolVersion,
    Usage,
)
from rlar_graph.registry.workshop_records import (
    Attempt,
    Audit,
    FamilyRecord,
    KeptProbe,
    Label,
    Observation,
    Reacquisition,
    Spend,
)

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

__all__ = [
    "Attempt",
    "Audit",
    "Author",
    "DailyUsage",
    "Decision",
    "Event",
    "FamilyRecord",
    "ImportedTool",
    "KeptProbe",
    "Label",
    "Observation",
    "Outcome",
    "Provenance",
    "Reacquisition",
    "Spend",
    "Stamp",
    "ToolRecord",
    "ToolState",
    "ToolVersion",
    "Usage",
    "open_registry",
]


def open_registry(url: str, *, frozen: bool = False) -> Registry:
    """Open the registry at a URL, making or migrating its tables where needed; close it or use ``with``.

    Args:
        url: ``sqlite:///rlar.db`` (relative), ``sqlite:////data/rlar.db``, ``sqlite://`` (in memory, gone on
            close) or ``postgresql://user:password@host/name``.
        frozen: Serve the tools that are active now, and refuse every change of tools.

    Raises:
        RegistryError: The URL or the place it names cannot hold a registry; the message says what to do.
        MigrationError: The registry was written by a newer version of this library.
    """
    from rlar_graph.registry.store import Registry

    return Registry(url, frozen=frozen)
