"""Records in files: JSON lines in, JSON lines out, plain or gzipped, with errors that name file and line."""

from __future__ import annotations

import codecs
import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from rlar_graph.errors import InputError

PARQUET = (
    "this is Parquet; make JSON lines: pandas.read_parquet(FILE).to_json(FILE, orient='records', lines=True)"
)


def read_records(path: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield (line number, record) of a JSON lines file; blank lines are skipped.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``; ``-`` for standard input.

    Raises:
        InputError: The file cannot be read, or a line is not a JSON object in UTF-8; what came before it was yielded.
    """
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _record(line, path, number)
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"cannot be read on: {error}", file=path, line=number + 1) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from error


def _opened(path: str) -> IO[bytes]:
    """Open a file for bytes: a text reader decodes ahead, and could not say in which line a bad byte stands."""
    if path == "-":
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def _record(line: bytes, path: str, number: int) -> Mapping[str, object]:
    try:
        record = json.loads(_text(line, number))
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8: {error.reason} at byte {error.start + 1}; save the file in UTF-8"
        raise InputError(problem, file=path, line=number) from error
    except (ValueError, RecursionError) as error:
        said = (
            f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else error
        )
        problem = f"is not JSON: {said}; each line must be one whole JSON object"
        raise InputError(problem, file=path, line=number) from error
    if not isinstance(record, dict):
        raise InputError(f"must be a JSON object, not {type(record).__name__}", file=path, line=number)
    return record


def _text(line: bytes, number: int) -> str:
    """Return a line as text, without the mark that Windows' programs put before the first one.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        ValueError: It begins a file of another kind.
    """
    if number == 1 and line.startswith(b"PAR1"):
        raise ValueError(PARQUET)
    return (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode("utf-8")


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
