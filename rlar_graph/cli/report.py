"""``rlar report``: a registry as one HTML page, to look at during a run and to keep after it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from rlar_graph.cli.options import RegistryOption, settings_from

PAGE = "rlar-report.html"
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def report(
    registry: RegistryOption = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help=f"File to write (- for stdout).  [default: {PAGE}]")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Leave out what was before: 90m, 6h, 3d, or a date or time (UTC)."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the facts as JSON instead of writing a page.")
    ] = False,
) -> None:
    """Write what a registry knows of its rewards into one HTML page that needs no network and no server.

    The registry is only read: a run may write it at the same time.
    """
    from rlar_graph.report import gather, render

    facts = gather(settings_from(registry).registry_url, since_from(since, datetime.now(UTC)))
    target = out or ("-" if json_ else PAGE)
    written = facts.to_json() + "\n" if json_ else render(facts)
    if target == "-":
        typer.echo(written.encode("utf-8"), nl=False)
        return
    _write(Path(target), written)
    typer.echo(f"{target}: {facts.completions:,} completions, {len(facts.tools)} tools", err=True)


def since_from(said: str | None, now: datetime) -> datetime | None:
    """Return the point in time that is meant: a span back from now, or a date or time, in UTC unless it says otherwise.

    Raises:
        InputError: It is neither.
    """
    from rlar_graph.errors import InputError

    if said is None:
        return None
    span = re.fullmatch(r"(\d{1,6})([mhdw])", said.strip())
    try:
        if span:
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        found = datetime.fromisoformat(said.strip())
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"must be a span (90m, 6h, 3d, 2w) or a date or time (2026-03-01T12:00), not {said!r}",
            field="--since",
        ) from error


def _write(path: Path, page: str) -> None:
    """Write the page in one step: who reloads it during a run never sees half of one."""
    from rlar_graph.errors import InputError

    try:
        beside = path.with_name(f".{path.name}.part")
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(path)) from error
