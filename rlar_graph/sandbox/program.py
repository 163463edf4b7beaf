"""Inside a program run: one program, one standard input, its printed output."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from rlar_graph.sandbox.candidate import define
from rlar_graph.sandbox.describe import describe
from rlar_graph.sandbox.serve import encode, read_all
from rlar_graph.sandbox.wire import LOADED, Code


def _text(descriptor: int, mode: str) -> Any:
    return open(descriptor, mode, encoding="utf-8", errors="surrogateescape", newline=None, closefd=False)


def main(descriptors: list[int]) -> None:
    """Run the program to its end and say how it ended.

    Args:
        descriptors: The source, the standard input, and the pipes for output and for the closing word.
    """
    source_file, stdin, stdout, word = descriptors
    source = read_all(source_file)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.close(stdin)
    os.close(stdout)
    sys.stdin, sys.stdout = _text(0, "r"), _text(1, "w")
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout)
    sys.argv = ["program.py"]
    code, text = _run(source)
    os.write(word, LOADED.pack(code, encode(text)))


def _run(source: bytes) -> tuple[Code, str]:
    _, error = define(source, "__main__")
    if isinstance(error, SystemExit):
        code, text = (
            (Code.OK, "")
            if error.code in (None, 0)
            else (Code.ERROR, "SystemExit with a status other than 0")
        )
    elif isinstance(error, MemoryError):
        code, text = Code.MEMORY, "MemoryError"
    else:
        code, text = (Code.OK, "") if error is None else (Code.ERROR, describe(error))
    try:
        atexit._run_exitfuncs()  # programs print from there; os._exit would leave them out
        for stream in (sys.stdout, sys.__stdout__):
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
    except BaseException as late:  # noqa: BLE001  the process edge
        return Code.ERROR, f"{describe(late)} (while standard output was flushed)"
    return code, text
