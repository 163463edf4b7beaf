"""``rlar prepare``: the tools for a file's prompts, ahead of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlar_graph.cli.console import console
from rlar_graph.cli.options import JsonOption, RegistryOption, WorkersOption, settings_from
from rlar_graph.cli.score import FileArgument, read_rollouts


def prepare(
    file: FileArgument,
    probes: Annotated[
        Path | None,
        typer.Option("--probes", help="Completions whose verdict you know, to prove tools on (.jsonl)."),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Seek again where tools were sought before in vain.")
    ] = False,
    json_: JsonOption = False,
    registry: RegistryOption = None,
    workers: WorkersOption = None,
) -> None:
    """Acquire the tools for a file's prompts ahead of training; score nothing."""
    from rich.markup import escape
    from rich.table import Table

    from rlar_graph.probes import load_probes
    from rlar_graph.reward import AgentReward

    known = load_probes(str(probes)) if probes is not None else ()
    with AgentReward(settings_from(registry, workers)) as reward:
        report = reward.prepare([rollout for _, rollout in read_rollouts(file)], probes=known, retry=retry)
        spent = reward.spent()
    if json_:
        rows = [
            {"signature": s.signature, "rollouts": s.rollouts, "tool": s.tool, "missing": s.missing}
            for s in report.signatures
        ]
        typer.echo(json.dumps({"covered": report.covered, "signatures": rows, "llm": spent}, indent=2))
        return
    table = Table("signature", "prompts", "tool", title=f"{report.covered:.1%} of the prompts are covered")
    for entry in report.signatures:
        table.add_row(entry.signature, str(entry.rollouts), escape(entry.tool or f"none: {entry.missing}"))
    console().print(table)
    _tell(spent)


def _tell(spent: dict[str, dict[str, float]]) -> None:
    """Say what the language model was asked, and where to look if it did not answer."""
    for role, used in spent.items():
        failed = f", {used['failures']:.0f} requests failed" if used["failures"] else ""
        typer.echo(
            f"language model, {role}: {used['calls']:.0f} calls, {used['tokens']:.0f} tokens{failed}",
            err=True,
        )
    if any(used["failures"] for used in spent.values()):
        typer.echo("`rlar doctor` asks the language model once and says what it answers.", err=True)
