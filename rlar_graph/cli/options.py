"""Options that several subcommands share, and how they become settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from rlar_graph.settings import Settings

RegistryOption: TypeAlias = Annotated[
    str | None, typer.Option("--registry", help="Registry URL or SQLite file.  [default: sqlite:///rlar.db]")
]
WorkersOption: TypeAlias = Annotated[
    int | None, typer.Option("--workers", min=1, help="Sandbox worker processes.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
QuietOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no talk.")]


def settings_from(registry: str | None = None, workers: int | None = None, **more: object) -> Settings:
    """Return the settings with what the command line says; a plain file name is taken as a SQLite file."""
    from rlar_graph.settings import Settings

    if registry is not None and "://" not in registry:
        registry = f"sqlite:///{registry}"
    return Settings.load(registry_url=registry, workers=workers, **more)
