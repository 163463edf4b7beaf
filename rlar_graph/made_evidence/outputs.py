"""Outputs: what an untrusted function returns for given arguments, read out of the sandbox.

A sandbox hands back one number per call and nothing else. A result's ``repr`` therefore comes as numbers: its length,
then six bytes a call, which a float holds exactly. Code that gives another result each time yields no literal.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from rlar_graph.sandbox.base import Limits, Sandbox

LONGEST = 360
BYTES = 6
LIMITS = Limits(seconds=1.0, memory_mb=256)
FIRST = 3
"""Calls after which code that has failed all of them is not called again: it may hang each time."""

_PEEK = """

def _peek_at_the_result(entry_point, arguments, offset, size):
    import json
    data = repr(globals()[entry_point](*json.loads(arguments))).encode("ascii", "backslashreplace")
    return len(data) if offset < 0 else int.from_bytes(data[offset:offset + size], "big")
"""

MISSING = object()
"""No output: the function failed, or its result is no literal."""


def outputs_of(sandbox: Sandbox, source: str, entry_point: str, inputs: Sequence[str]) -> list[object]:
    """Return the result for each input, as a literal; :data:`MISSING` where there is none.

    Args:
        sandbox: Where the code runs.
        source: Code that defines the function.
        entry_point: Name of the function.
        inputs: Its arguments, each as a JSON array.

    Raises:
        SandboxError: The sandbox could not do its work.
    """
    calls = [(entry_point, text, -1) for text in inputs]
    lengths = _call(sandbox, source, calls[:FIRST])
    works = any(length is not None for length in lengths)
    lengths += _call(sandbox, source, calls[FIRST:]) if works else [None] * len(calls[FIRST:])
    asked = [
        (number, offset)
        for number, length in enumerate(lengths)
        if length is not None and 0 < length <= LONGEST
        for offset in range(0, int(length), BYTES)
    ]
    pieces = _call(sandbox, source, [(entry_point, inputs[number], offset) for number, offset in asked])
    texts: dict[int, bytes] = {}
    broken: set[int] = set()
    for (number, offset), piece in zip(asked, pieces, strict=True):
        size = min(BYTES, int(lengths[number] or 0) - offset)
        if piece is None or not 0 <= piece < 256**size:
            broken.add(number)
        else:
            texts[number] = texts.get(number, b"") + int(piece).to_bytes(size, "big")
    return [
        _literal(texts[number]) if number in texts and number not in broken else MISSING
        for number in range(len(inputs))
    ]


def _call(sandbox: Sandbox, source: str, calls: Sequence[tuple[str, str, int]]) -> list[float | None]:
    arguments: list[Mapping[str, object]] = [
        {"entry_point": name, "arguments": text, "offset": offset, "size": BYTES}
        for name, text, offset in calls
    ]
    if not arguments:
        return []
    outcomes = sandbox.call_batch(source + _PEEK, "_peek_at_the_result", arguments, LIMITS)
    return [outcome.value if outcome.status == "ok" else None for outcome in outcomes]


def _literal(data: bytes) -> object:
    try:
        value: object = ast.literal_eval(data.decode("ascii"))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return MISSING
    return value
