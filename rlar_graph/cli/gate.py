"""``rlar tools test``: the admission gate again, on this machine, for tools that ship and tools that were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlar_graph.cli.options import RegistryOption, settings_from

if TYPE_CHECKING:
    from rlar_graph.admission import AdmissionReport
    from rlar_graph.engine import Engine
    from rlar_graph.probes import Probe
    from rlar_graph.registry.records import ToolVersion


def retest(
    name: Annotated[str, typer.Argument(help="Name of the tool.")],
    probes: Annotated[
        Path | None, typer.Option("--probes", help="Labelled completions to add (.jsonl).")
    ] = None,
    number: Annotated[
        int | None, typer.Option("--version", help="Version of a made tool.  [default: active, else latest]")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the report and let it decide on a made tool's state.")
    ] = False,
    registry: RegistryOption = None,
) -> None:
    """Run a tool through the admission gate again on this machine; exit code 1 if it fails.

    A made tool takes the probes of its families and those it was imported with. With --keep its report is stored: an
    imported candidate that passed can then be approved, and a version in service that failed is quarantined.
    """
    from rlar_graph.admission import admit
    from rlar_graph.engine import Engine
    from rlar_graph.probes import load_probes, load_table
    from rlar_graph.rewards.load import builtin_named

    more = load_probes(str(probes)) if probes else ()
    with Engine(settings_from(registry)) as engine:
        if builtin_named(name) is not None:
            report = admit(engine.library.load(name), [*load_table(name), *more])
        else:
            version = _version(engine, name, number)
            report = _measured(engine, version, more)
            if keep:
                reason = f"measured by hand: {report.summary}"
                engine.resources.registry.readmit(name, version.number, report, reason=reason)
    typer.echo(report.render())
    if not report.admitted:
        raise typer.Exit(1)


def _version(engine: Engine, name: str, number: int | None) -> ToolVersion:
    """Return the version that is asked for: the active or else the latest one where none is named."""
    from rlar_graph.errors import UnknownTool

    record = engine.resources.registry.tool(name)
    if number is None:
        return record.active or record.versions[-1]
    for version in record.versions:
        if version.number == number:
            return version
    raise UnknownTool(f"{name} has no version {number}")


def _measured(engine: Engine, version: ToolVersion, more: tuple[Probe, ...]) -> AdmissionReport:
    """Run a made tool through the gate, on every probe it can be held to."""
    from rlar_graph.admission import admit
    from rlar_graph.probe_making.keeping import kept
    from rlar_graph.registry.portable_evidence import own_key
    from rlar_graph.rewards.base import ToolSpec
    from rlar_graph.rewards.load import load_registered
    from rlar_graph.toolmaking.proving import requirements_for

    registry = engine.resources.registry
    source = registry.source(version.tool, version.number) or ""
    spec = ToolSpec(version.tool, version.kind, version.summary, version.graded, version.content_hash)
    keys = (*registry.keys(version.tool), own_key(version.tool))
    probes = {repr(probe): probe for key in keys for probe in kept(registry, key)}
    tools = [load_registered(spec, source, engine.resources) for _ in range(2)]
    cases = [*probes.values(), *more]
    requirements = requirements_for(version.kind, [probe for probe in cases if not probe.visible])
    return admit(tools[0], cases, requirements=requirements, again=tools[1])
