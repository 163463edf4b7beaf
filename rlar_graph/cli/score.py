"""``rlar score``: a file of prompts and completions in, scores out, batch by batch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlar_graph.cli.console import console
from rlar_graph.cli.options import JsonOption, QuietOption, RegistryOption, WorkersOption, settings_from
from rlar_graph.errors import InputError

if TYPE_CHECKING:
    from rlar_graph.engine import Engine
    from rlar_graph.scoring import Planned
    from rlar_graph.types import Rollout, Score

BATCH_COMPLETIONS = 256
"""Completions scored together: enough to keep the workers busy, few enough to see progress and lose little."""

FileArgument = Annotated[
    str, typer.Argument(help="JSON lines with prompts (.jsonl, .jsonl.gz, or - for stdin).")
]


@dataclass
class Tally:
    """What one signature came to."""

    tool: str
    """The tool that scored it, e.g. ``maths v1``; a dash where none did."""
    completions: int = 0
    """Completions."""
    abstained: int = 0
    """Completions without a value."""
    total: float = 0.0
    """Sum of the values there are."""
    seconds: float = 0.0
    """Wall-clock seconds of the tool."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why completions abstained, and how many for each reason."""

    def add(self, row: list[Score]) -> None:
        """Count the scores of one rollout."""
        for score in row:
            self.completions += 1
            self.seconds += score.seconds
            if score.value is None:
                self.abstained += 1
                self.reasons[score.abstained or ""] = self.reasons.get(score.abstained or "", 0) + 1
            else:
                self.total += score.value

    @property
    def mean(self) -> float | None:
        """Return the mean of the values there are."""
        judged = self.completions - self.abstained
        return self.total / judged if judged else None


def score(
    file: FileArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write one JSON line per prompt to this file.")
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say for each prompt which tool scores it and why; score nothing."),
    ] = False,
    json_: JsonOption = False,
    registry: RegistryOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """Score the completions of a file and show a table by signature."""
    from rlar_graph.engine import Engine

    with Engine(settings_from(registry, workers)) as engine:
        if explain:
            _explain(file, engine, json_)
            return
        started = time.perf_counter()
        tallies = _score_file(file, engine, out, quiet)
        seconds = time.perf_counter() - started
    if json_:
        typer.echo(json.dumps(_summary(file, tallies, seconds), indent=2))
        return
    _show(tallies, seconds)
    if not quiet:
        _advise(file, tallies, out)


def read_rollouts(file: str, *, completions: bool = False) -> Iterator[tuple[int, Rollout]]:
    """Yield (line number, rollout) of a file.

    Args:
        file: JSON lines.
        completions: Whether a rollout without completions is an error.

    Raises:
        InputError: A line cannot be read; the error names file, line and field.
    """
    from rlar_graph.jsonl import read_records
    from rlar_graph.records import rollout_from

    for number, record in read_records(file):
        try:
            rollout = rollout_from(record)
        except InputError as error:
            raise InputError(error.problem, file=file, line=number, field=error.field) from error
        if completions and not rollout.completions:
            problem = f"there are no completions to score; the record's fields are: {', '.join(record)}"
            raise InputError(problem, file=file, line=number, field="completions")
        yield number, rollout


def _batches(file: str) -> Iterator[list[tuple[int, Rollout]]]:
    """Yield a file's rollouts in batches; on a bad line, first those read before it."""
    batch: list[tuple[int, Rollout]] = []
    size = 0
    lines = read_rollouts(file, completions=True)
    while True:
        try:
            number, rollout = next(lines)
        except StopIteration:
            break
        except InputError:
            if batch:
                yield batch
            raise
        batch.append((number, rollout))
        size += len(rollout.completions)
        if size >= BATCH_COMPLETIONS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _score_file(file: str, engine: Engine, out: Path | None, quiet: bool) -> dict[tuple[str, str], Tally]:
    """Score a file batch by batch; each batch's lines are on disk before the next begins."""
    from rlar_graph.acquisition import Acquisition
    from rlar_graph.cli.progress import progress_over
    from rlar_graph.jsonl import LineWriter

    tallies: dict[tuple[str, str], Tally] = {}
    acquisition = Acquisition(engine)
    with LineWriter(out or Path("/dev/null")) as writer, progress_over(file, quiet) as advance:
        for batch in _batches(file):
            rollouts = [rollout for _, rollout in batch]
            plan = engine.plan(rollouts)
            if engine.may_acquire and acquisition.seek(plan):
                plan = engine.plan(rollouts)
            rows = engine.score(plan)
            for (number, rollout), planned, row in zip(batch, plan, rows, strict=True):
                if out is not None:
                    writer.write(_line(number, rollout, planned, row))
                _tally(tallies, planned, row)
            advance(len(batch), sum(len(row) for row in rows))
    return tallies


def _tally(tallies: dict[tuple[str, str], Tally], planned: Planned, row: list[Score]) -> None:
    tool = "-" if isinstance(planned.tool, str) else planned.tool.label
    tallies.setdefault((planned.route.signature.key, tool), Tally(tool)).add(row)


def _line(number: int, rollout: Rollout, planned: Planned, row: list[Score]) -> dict[str, object]:
    """Return one line of results."""
    scores = [
        {
            "value": score.value,
            "raw": score.raw,
            "abstained": score.abstained,
            "tool": score.tool,
            "version": score.version,
            "seconds": score.seconds,
            "detail": dict(score.detail),
        }
        for score in row
    ]
    signature = planned.route.signature.key
    return {
        "line": number,
        "id": rollout.id,
        "signature": signature,
        "why": planned.route.why,
        "scores": scores,
    }


def _explain(file: str, engine: Engine, json_: bool) -> None:
    """Print one line per prompt: signature, tool, reason."""
    from rlar_graph.library import Loaded

    for batch in _batches(file):
        plan = engine.plan([rollout for _, rollout in batch])
        for (number, rollout), planned in zip(batch, plan, strict=True):
            tool = planned.tool.label if isinstance(planned.tool, Loaded) else None
            missing = None if isinstance(planned.tool, Loaded) else planned.tool
            signature, why = planned.route.signature.key, planned.route.why
            if json_:
                row = {"line": number, "id": rollout.id, "signature": signature, "tool": tool}
                typer.echo(json.dumps(row | {"why": why, "missing": missing}))
            else:
                typer.echo(f"line {number}: {signature} -> {tool or 'abstains'}: {why}")


def _summary(file: str, tallies: dict[tuple[str, str], Tally], seconds: float) -> dict[str, object]:
    rows = [
        {
            "signature": key[0],
            "tool": tally.tool,
            "completions": tally.completions,
            "mean": tally.mean,
            "abstained": tally.abstained,
            "reasons": tally.reasons,
            "seconds": tally.seconds,
        }
        for key, tally in sorted(tallies.items())
    ]
    return {"file": file, "seconds": seconds, "signatures": rows}


def _show(tallies: dict[tuple[str, str], Tally], seconds: float) -> None:
    """Print the table by signature."""
    from rich.table import Table

    total = sum(tally.completions for tally in tallies.values())
    table = Table(title=f"{total:,} completions in {seconds:.1f} s")
    table.add_column("signature")
    table.add_column("tool")
    for name in ("completions", "mean", "abstained", "samples/s"):
        table.add_column(name, justify="right")
    for key, tally in sorted(tallies.items()):
        mean = "-" if tally.mean is None else f"{tally.mean:.3f}"
        rate = f"{tally.completions / tally.seconds:,.0f}" if tally.seconds else "-"
        table.add_row(key[0], tally.tool, f"{tally.completions:,}", mean, f"{tally.abstained:,}", rate)
    console().print(table)


def _advise(file: str, tallies: dict[tuple[str, str], Tally], out: Path | None) -> None:
    """Say in plain words what an abstention means and how to cover it."""
    if not tallies:
        typer.echo(f"{file} holds no prompts: nothing was scored.", err=True)
        return
    if out is not None:
        typer.echo(f"Scores are in {out}, one line per prompt.", err=True)
    reasons: dict[str, int] = {}
    for tally in tallies.values():
        for reason, count in tally.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    if not reasons:
        return
    typer.echo(
        f"\n{sum(reasons.values())} completions abstained: no tool could tell whether they are good, so they have no"
        " score.\nAn abstention is not a zero; trainers leave such completions out (None). The reasons:",
        err=True,
    )
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:8]:
        typer.echo(f"  {count:5d}  {reason}", err=True)
    typer.echo(
        "To cover them, give the prompts evidence (a reference, tests, a schema, constraints). Open-ended prompts"
        " need\na judge (RLAR_LLM_BASE_URL, RLAR_LLM_MODEL, RLAR_LLM_API_KEY) or a reward model"
        " (RLAR_REWARD_MODELS=hub).\n`rlar prepare FILE` then seeks tools and says what came of it.",
        err=True,
    )
