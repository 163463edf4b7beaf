"""Downloaded weights, looked at before any library loads them: complete, of known types, with a head.

transformers makes up a head that is missing, at random, and goes on; such a model scores noise. The header of a
safetensors file says what is in it and where, so all of this is seen without loading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from rlar_graph.hub.card import HubFile

HEADER_BYTES = 25_000_000
"""Longest header that is read; one of a thousand tensors has 0.1 MB. JSON of that size takes some ten times as much."""
SIDES = 8
"""Most dimensions of a tensor; the product of a million of them would take for ever."""
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def flaw(folder: Path, files: Sequence[HubFile], heads: Sequence[str]) -> str | None:
    """Return what is wrong with downloaded weights, or None.

    Args:
        folder: Where they are.
        files: What the Hub says of them.
        heads: Tensors of which one must be there: the head that gives the score.
    """
    names: set[str] = set()
    for file in files:
        path = folder / file.path
        if not path.is_file():
            return f"{file.path} was not downloaded"
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            return f"{file.path} has {size} bytes of {file.size}: half downloaded, or changed"
        if file.sha256 is not None and _digest(path) != file.sha256:
            return f"{file.path} is not what the Hub says it is: another digest"
        if not file.path.endswith(".safetensors"):
            continue
        found = _tensors(path, size)
        if isinstance(found, str):
            return f"{file.path} {found}"
        names |= found
    if heads and not names.intersection(heads):
        return f"its weights have no head ({' or '.join(heads)}): the score would be made up"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(path: Path, size: int) -> set[str] | str:
    """Return the names of a file's tensors, or what is wrong with its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_BYTES):
            return "is no safetensors file: its header is longer than the file, or than any model's"
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return "is no safetensors file: its header is not JSON"
    if not isinstance(header, dict):
        return "is no safetensors file: its header is no object"
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            last = _end(entry)
            if last is None:
                return f"has a tensor {name[:60]!r} of unknown form"
            end = max(end, last)
    if 8 + length + end != size:
        return f"is cut off: its tensors end at {8 + length + end}, the file at {size}"
    return set(header) - {"__metadata__"}


def _end(entry: object) -> int | None:
    """Return where a tensor ends, or None where its entry is malformed."""
    if not isinstance(entry, dict) or entry.get("dtype") not in _WIDTHS:
        return None
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return None
    if len(shape) > SIDES:
        return None
    if not all(type(number) is int and number >= 0 for number in (*shape, *offsets)):
        return None
    count = _WIDTHS[entry["dtype"]]
    for side in shape:
        count *= side
    return int(offsets[1]) if offsets[1] - offsets[0] == count else None
