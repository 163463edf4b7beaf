"""``rlar eval``: how well the reward function agrees with labelled files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlar_graph.cli.console import console
from rlar_graph.cli.options import QuietOption, RegistryOption, WorkersOption, settings_from

if TYPE_CHECKING:
    from rlar_graph.evaluation import FileResult

COLUMNS = ("pointwise_accuracy", "tpr", "tnr", "pair_accuracy", "bon_accuracy", "pointwise_accuracy_strict")


def evaluate(
    files: Annotated[list[str], typer.Argument(help="Labelled records (.jsonl or .jsonl.gz).")],
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file (- for stdout).")
    ] = None,
    registry: RegistryOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score labelled files and print how often the scores agree with the labels."""
    from rlar_graph.cli.progress import progress_over
    from rlar_graph.engine import Engine
    from rlar_graph.evaluation import evaluate_file

    results = []
    with Engine(settings_from(registry, workers)) as engine:
        for file in files:
            with progress_over(file, quiet) as advance:
                results.append(evaluate_file(engine, file, advance))
    figures = json.dumps({"files": [result.to_dict() for result in results]}, indent=2)
    if json_ == Path("-"):
        typer.echo(figures)
        return
    if json_ is not None:
        json_.write_text(figures + "\n", encoding="utf-8")
    _show(results)


def _show(results: list[FileResult]) -> None:
    """Print one row per file."""
    from rich.table import Table

    table = Table("file", caption="abstentions are left out, and count as wrong in 'strict'")
    for name in ("items", "completions", "abstained"):
        table.add_column(name, justify="right")
    for name in COLUMNS:
        table.add_column(name.replace("_accuracy", "").replace("_", " "), justify="right")
    for result in results:
        row = result.to_dict()
        counts = [f"{count:,}" for count in (result.items, result.completions, result.abstained)]
        rates = ["-" if row[name] is None else f"{row[name]:.4f}" for name in COLUMNS]
        table.add_row(Path(result.file).name, *counts, *rates)
    console().print(table)
