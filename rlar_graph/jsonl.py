"""Records in files: JSON lines in, JSON lines out, plain or gzipped, with errors that name file and line."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rlar_graph.errors import InputError


def read_records(path: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield (line number, record) of a JSON lines file; blank lines are skipped.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``; ``-`` for standard input.

    Raises:
        InputError: The file cannot be read, or a line is not a JSON object; what came before it was yielded.
    """
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _record(line, path, number)
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"cannot be read on: {error}", file=path, line=number + 1) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from error


def _opened(path: str) -> IO[str]:
    if path == "-":
        return sys.stdin
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def _record(line: str, path: str, number: int) -> Mapping[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", file=path, line=number) from error
    if not isinstance(record, dict):
        raise InputError(f"must be a JSON object, not {type(record).__name__}", file=path, line=number)
    return record


class LineWriter:
    """Writes JSON lines, each one whole and on disk's way before the next; a context manager.

    The file is opened (and an older one of that name replaced) with the first line, so that a run that fails
    before it has anything to say destroys nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def write(self, record: Mapping[str, object]) -> None:
        """Write one line.

        Raises:
            InputError: The file cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._path.open("w", encoding="ascii")
            self._file.write(json.dumps(record, ensure_ascii=True, default=str) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", file=str(self._path)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
