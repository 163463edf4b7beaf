"""The command's frame: subcommands, the options they share, and the one place where errors become exit codes.

Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 something failed, 2 bad input or usage,
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rlar_graph import __version__
from rlar_graph.cli import doctor, evaluate, prepare, report, score, serve, tools
from rlar_graph.errors import InputError, RlarError, SettingsError

app = typer.Typer(
    name="rlar",
    help="Rewards for RL on language models, found, written, tested and kept by an agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("score")(score.score)
app.command("prepare")(prepare.prepare)
app.command("eval")(evaluate.evaluate)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.command("serve")(serve.serve)
app.add_typer(tools.app, name="tools")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlar-graph {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take options that stand before the subcommand."""


def main() -> None:
    """Run the command; an error is told in one line and becomes an exit code."""
    try:
        app()
    except RlarError as error:
        typer.echo(f"rlar: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError | SettingsError) else 1)
    except KeyboardInterrupt:
        typer.echo("rlar: interrupted; what was scored before is kept", err=True)
        sys.exit(130)
