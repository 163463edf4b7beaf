"""``rlar tools``: look at the reward tools of a registry, and change which of them score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlar_graph.cli import gate
from rlar_graph.cli.console import console
from rlar_graph.cli.options import JsonOption, RegistryOption, settings_from

if TYPE_CHECKING:
    from rlar_graph.registry.records import ToolVersion
    from rlar_graph.registry.store import Registry

app = typer.Typer(
    help="Look at the reward tools of a registry, and change which of them score.", no_args_is_help=True
)
app.command("test")(gate.retest)

NameArgument = Annotated[str, typer.Argument(help="Name of the tool.")]
NumberArgument = Annotated[int, typer.Argument(help="Number of the version.", min=1)]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the history.")]


def _open(registry: str | None) -> Registry:
    from rlar_graph.registry import open_registry

    return open_registry(settings_from(registry).registry_url)


def _described(version: ToolVersion) -> dict[str, object]:
    return {
        "tool": version.tool,
        "version": version.number,
        "kind": version.kind,
        "state": version.state,
        "graded": version.graded,
        "author": version.provenance.author,
        "summary": version.summary,
        "content_hash": version.content_hash,
        "created_at": version.created_at.isoformat(),
    }


@app.command("list")
def list_tools(json_: JsonOption = False, registry: RegistryOption = None) -> None:
    """List every tool and version."""
    with _open(registry) as store:
        tools = store.tools()
        scored: dict[tuple[str, int], int] = {}
        for day in store.usage():
            scored[day.tool, day.version] = scored.get((day.tool, day.version), 0) + day.completions
    if json_:
        rows = [
            _described(version) | {"serves": list(tool.bindings)}
            for tool in tools
            for version in tool.versions
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    table = Table("tool", "version", "kind", "state", "scored", "serves")
    for tool in tools:
        for version in tool.versions:
            serves = "\n".join(tool.bindings) if version.state == "active" else ""
            count = f"{scored.get((version.tool, version.number), 0):,}"
            table.add_row(tool.name, f"v{version.number}", tool.kind, version.state, count, serves)
    console().print(table)
    if not tools:
        where = "this registry holds no tools yet: they come with the first prompts that need them"
        typer.echo(f"{where} (`rlar score FILE`), or is it another one (--registry)?", err=True)


@app.command()
def show(
    name: NameArgument,
    version: Annotated[
        int | None, typer.Option("--version", help="Number of the version.  [default: latest]")
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Print its source too.")] = False,
    json_: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Show one version, where it comes from and the report that admitted or rejected it, and what others there are."""
    from rlar_graph.admission import AdmissionReport
    from rlar_graph.admission.report import excerpt, report_id

    with _open(registry) as store:
        versions = store.tool(name).versions
        chosen = versions[-1] if version is None else _numbered(versions, name, version)
        report = store.report(name, chosen.number)
        code = store.source(name, chosen.number) if source else None
        others = [_outline(store, other) for other in versions if other != chosen]
    if json_:
        shown = _described(chosen) | {"provenance": json.loads(chosen.provenance.to_json()), "source": code}
        typer.echo(json.dumps(shown | {"report": json.loads(report) if report else None}, indent=2))
        return
    summary = excerpt(chosen.summary, 1_000)
    typer.echo(f"{name} v{chosen.number} ({chosen.kind}, {chosen.state}): {summary}")
    typer.echo(
        f"by {chosen.provenance.author}, {chosen.created_at:%Y-%m-%d %H:%M} UTC, {chosen.content_hash[:16]}"
    )
    if report:
        typer.echo(f"Report {report_id(report)}: {AdmissionReport.from_json(report).render()}")
    else:
        typer.echo("It has no admission report.")
    if source:
        typer.echo(code if code is not None else "Its source is in the library.")
    if others:
        typer.echo(f"Other versions (`rlar tools show {name} --version N` prints their reports):")
        for other in others:
            typer.echo(f"  {other}")


def _outline(store: Registry, version: ToolVersion) -> str:
    """Return one version in a line, with what it failed at."""
    from rlar_graph.admission import AdmissionReport

    report = store.report(version.tool, version.number)
    said = "has no report" if report is None else AdmissionReport.from_json(report).summary
    return f"v{version.number} {version.state}: {said}"


def _numbered(versions: tuple[ToolVersion, ...], name: str, number: int) -> ToolVersion:
    from rlar_graph.errors import UnknownTool

    for version in versions:
        if version.number == number:
            return version
    raise UnknownTool(f"{name} has no version {number}; it has {', '.join(str(v.number) for v in versions)}")


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="Name of the tool; all tools if left out.")] = None,
    json_: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Say what happened to a tool, why, who did it, and which attempts led to nothing."""
    from rlar_graph.cli.history import lines

    with _open(registry) as store:
        for line in lines(store, name, as_json=json_):
            typer.echo(line)


@app.command()
def quarantine(name: NameArgument, reason: ReasonOption = "by hand", registry: RegistryOption = None) -> None:
    """Take a tool's active version out of service: its prompts abstain."""
    with _open(registry) as store:
        version = store.quarantine(name, reason)
    typer.echo(f"{name} v{version.number} is quarantined")


@app.command()
def promote(
    name: NameArgument,
    number: NumberArgument,
    reason: ReasonOption = "by hand",
    registry: RegistryOption = None,
) -> None:
    """Make an admitted version the one that scores."""
    with _open(registry) as store:
        version = store.promote(name, number, reason=reason)
    typer.echo(f"{name} v{version.number} is active")


@app.command()
def approve(
    name: NameArgument,
    number: Annotated[
        int | None,
        typer.Argument(help="Number of the version; the newest admitted candidate if left out.", min=1),
    ] = None,
    reason: ReasonOption = "approved by hand",
    registry: RegistryOption = None,
) -> None:
    """Let a candidate that passed the gate score: it serves the prompts it was made for from the next batch on."""
    from rlar_graph.errors import RegistryError

    with _open(registry) as store:
        waiting = [v for v in store.tool(name).versions if v.state == "candidate" and v.admitted]
        if number is None and not waiting:
            raise RegistryError(
                f"no version of {name!r} waits for approval; `rlar tools show {name}` lists them"
            )
        chosen = waiting[-1].number if number is None else number
        version = store.promote(name, chosen, reason=reason)
        keys = store.tool(name).bindings
    typer.echo(f"{name} v{version.number} is active; it serves {', '.join(keys) or 'no key yet'}")


@app.command()
def rollback(name: NameArgument, reason: ReasonOption = "by hand", registry: RegistryOption = None) -> None:
    """Go back to the version that scored before."""
    with _open(registry) as store:
        version = store.rollback(name, reason=reason)
    typer.echo(f"{name} v{version.number} is active again")


@app.command("export")
def export_tools(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    names: Annotated[list[str] | None, typer.Argument(help="Tools; by default all with a source.")] = None,
    registry: RegistryOption = None,
) -> None:
    """Write tools, with their reports, into a file that another team can import."""
    with _open(registry) as store:
        written = store.export(file, names)
    why = "" if written else ": only tools that were made have a source; built-in ones are everywhere"
    typer.echo(f"{len(written)} tools written to {file}{why}")


@app.command("import")
def import_tools(
    file: Annotated[Path, typer.Argument(help="File written by `rlar tools export`.")],
    trusted: Annotated[
        bool, typer.Option("--trusted", help="Take the file's reports at their word.")
    ] = False,
    registry: RegistryOption = None,
) -> None:
    """Take in another team's tools, as candidates that must pass the gate here."""
    with _open(registry) as store:
        taken = store.import_(file, trusted=trusted)
    for tool in taken:
        typer.echo(
            f"{tool.version.tool} v{tool.version.number}: {'new' if tool.new else 'known'}, {tool.version.state}"
        )
