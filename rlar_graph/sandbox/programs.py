"""Programs that read standard input and print: one process per input, outputs compared by the trainer as bytes."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rlar_graph.sandbox.base import Limits, Outcome, Status
from rlar_graph.sandbox.launcher import Child, Zygote
from rlar_graph.sandbox.memory import sealed_file
from rlar_graph.sandbox.wire import LOADED, Code, Kind
from rlar_graph.sandbox.worker import text_of

_READ = 1 << 16


@dataclass(slots=True)
class Run:
    """How one run of a program ended."""

    output: bytes = b""
    """What it printed."""
    ended: str = "crashed"
    """``ok``, ``error``, ``memory``, ``timeout``, ``output`` (too much of it) or ``crashed``."""
    text: str = ""
    """What it raised, if anything."""


def run_pairs(
    zygote: Zygote, source: bytes, pairs: Sequence[tuple[object, object]], limits: Limits
) -> Outcome:
    """Run a program on every input and compare what it prints."""
    deadline = time.monotonic() + limits.seconds
    passed, trouble, worst = 0, "", ""
    for number, (given, expected) in enumerate(pairs, 1):
        wanted = str(expected).encode("utf-8", "surrogatepass")
        most = max(limits.output_kb << 10, 2 * len(wanted) + 4096)
        run = _run(zygote, source, str(given), limits, deadline, most)
        if run.ended == "crashed":
            # The machine may have killed it, for want of memory say: only a program that dies twice is to blame.
            run = _run(zygote, source, str(given), limits, deadline, most)
        if run.ended == "ok" and same_output(run.output, wanted):
            passed += 1
            continue
        trouble = trouble or f"test {number}: {_why(run)}"
        if run.ended in ("timeout", "memory"):
            worst = run.ended  # the rest would only take as long again
            break
    total = len(pairs)
    if worst:
        detail = f"{passed}/{total} passed; {trouble}"
        status: Status = "timeout" if worst == "timeout" else "memory"
        return Outcome(status, None, detail, passed=passed, total=total, fault="program")
    detail = f"{passed}/{total} passed" + (f"; {trouble}" if trouble else "")
    return Outcome(
        "ok", passed / total, detail, passed=passed, total=total, fault="program" if passed < total else ""
    )


def same_output(printed: bytes, wanted: bytes) -> bool:
    """Equality up to white space at the ends of lines and empty lines at the end."""
    return printed == wanted or _lines(printed) == _lines(wanted)


def _lines(text: bytes) -> list[bytes]:
    lines = [line.rstrip() for line in text.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _why(run: Run) -> str:
    reasons = {
        "ok": "wrong output",
        "timeout": "over the time limit",
        "memory": "MemoryError",
        "output": "too much output",
        "crashed": "the process ended by itself",
    }
    return reasons.get(run.ended, run.text)


def _run(zygote: Zygote, source: bytes, given: str, limits: Limits, deadline: float, most: int) -> Run:
    out_reader, out_writer = os.pipe()
    word_reader, word_writer = os.pipe()
    try:
        owned = [
            sealed_file(source),
            sealed_file(given.encode("utf-8", "surrogatepass")),
            out_writer,
            word_writer,
        ]
        cpu = math.ceil(limits.seconds) + 2
        child = zygote.spawn_files(Kind.PROGRAM, limits.memory_mb, cpu, owned, [])
        try:
            return _watch(child, out_reader, word_reader, deadline, most)
        finally:
            child.kill()
            child.close()
    finally:
        os.close(out_reader)
        os.close(word_reader)


def _watch(child: Child, out: int, word: int, deadline: float, most: int) -> Run:
    """Collect output until the process is gone; more than ``most`` bytes cannot be right, and end the run."""
    poller = select.poll()
    poller.register(out, select.POLLIN)
    poller.register(child.handle, select.POLLIN)
    parts: list[bytes] = []
    size = 0
    while True:
        ready = {number for number, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000)}
        if not ready:
            return Run(ended="timeout")
        if out in ready:
            part = os.read(out, _READ)
            if part:
                parts.append(part)
                size += len(part)
                if size > most:
                    return Run(ended="output")
                continue
            poller.unregister(out)
        if child.handle in ready and out not in ready:
            break
    said = os.read(word, LOADED.size)
    if len(said) != LOADED.size:
        return Run(b"".join(parts))
    code, text = LOADED.unpack(said)
    ended = {Code.OK: "ok", Code.ERROR: "error", Code.MEMORY: "memory"}.get(code, "crashed")
    return Run(b"".join(parts), ended, text_of(text))
