"""``rlar eval``: how well the reward function agrees with labelled files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlar_graph.cli.console import console
from rlar_graph.cli.options import QuietOption, RegistryOption, WorkersOption, settings_from

if TYPE_CHECKING:
    from rlar_graph.evaluation.labelled import FileResult
    from rlar_graph.evaluation.routers import RouterReport

COLUMNS = ("pointwise_accuracy", "tpr", "tnr", "pair_accuracy", "bon_accuracy", "pointwise_accuracy_strict")


def evaluate(
    files: Annotated[list[str], typer.Argument(help="Labelled records (.jsonl or .jsonl.gz).")],
    json_: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file (- for stdout).")
    ] = None,
    routers: Annotated[
        bool, typer.Option("--routers", help="Also compare our choice of tools with other ways to choose.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Most items of each file for --routers, which runs every tool on each.")
    ] = 100,
    registry: RegistryOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score labelled files and print how often the scores agree with the labels."""
    from rlar_graph.cli.progress import progress_over
    from rlar_graph.engine import Engine
    from rlar_graph.evaluation.labelled import evaluate_file
    from rlar_graph.evaluation.routers import compare_routers

    results, report = [], None
    with Engine(settings_from(registry, workers)) as engine:
        for file in files:
            with progress_over(file, quiet) as advance:
                results.append(evaluate_file(engine, file, advance))
        if routers:
            with progress_over("routers", quiet) as advance:
                report = compare_routers(engine, files, limit, advance)
    written: dict[str, object] = {"files": [result.to_dict() for result in results]}
    if report is not None:
        written["routers"] = report.to_dict()
    figures = json.dumps(written, indent=2)
    if json_ == Path("-"):
        typer.echo(figures)
        return
    if json_ is not None:
        json_.write_text(figures + "\n", encoding="utf-8")
    _show(results)
    if report is not None:
        _show_routers(report)


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


def _show_routers(report: RouterReport) -> None:
    """Print one row per way to choose a tool."""
    from rich.table import Table

    caption = f"{len(report.judged):,} items; {report.unserved:,} more that no tool can judge; abstentions are wrong"
    table = Table("choice of tool", caption=caption)
    for name in ("pairwise", "pointwise", "picks the best tool"):
        table.add_column(name, justify="right")
    for policy, figures in report.figures().items():
        cells = ("-" if figure is None else f"{figure:.4f}" for figure in figures.values())
        table.add_row(policy.replace("_", " "), *cells)
    console().print(table)
