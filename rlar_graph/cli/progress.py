"""The progress bar, on standard error; where nobody watches, its last state is all that is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Advance: TypeAlias = Callable[[int, int], None]
"""Called with how many prompts and completions are done now."""


@contextmanager
def progress_over(file: str, quiet: bool) -> Iterator[Advance]:
    """Show progress over a file's lines; what is yielded moves it on.

    Args:
        file: The file; its lines are counted first unless it is standard input.
        quiet: Show nothing.
    """
    if quiet:
        yield lambda prompts, completions: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("prompts", total=_lines(file))
        yield lambda prompts, completions: bar.update(task, advance=prompts)


def _lines(file: str) -> int | None:
    """Count the lines of a plain file; None where counting would cost a second reading or cannot be done."""
    if file == "-" or file.endswith(".gz") or not Path(file).is_file():
        return None
    with open(file, "rb") as lines:
        return sum(1 for line in lines if line.strip())
