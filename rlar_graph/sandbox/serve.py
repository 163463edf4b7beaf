"""Inside a worker: define one verifier, then serve batches of calls from shared memory.

The verifier shares this process, so it can falsify its own results and nobody else's: one worker per verifier.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import types
from collections.abc import Callable, Mapping

from rlar_graph.sandbox import lint
from rlar_graph.sandbox.bell import Bell
from rlar_graph.sandbox.describe import describe
from rlar_graph.sandbox.plain import pack, unpack, unpacker
from rlar_graph.sandbox.wire import (
    INBOX,
    INBOX_BYTES,
    LOADED,
    RECORD,
    SHARED_BYTES,
    SLOT_BYTES,
    TEXT_BYTES,
    TEXTS,
    Code,
)


def encode(text: str, size: int = TEXT_BYTES) -> bytes:
    """``text`` as at most ``size`` bytes that always decode."""
    return text.encode("utf-8", "replace")[:size]


def read_all(descriptor: int) -> bytes:
    """Everything in a sealed memory file; the descriptor is closed."""
    size = os.fstat(descriptor).st_size
    found = os.pread(descriptor, size, 0)
    os.close(descriptor)
    return found


def main(descriptors: list[int]) -> None:
    """Serve until the trainer hangs up.

    Args:
        descriptors: The source, the memory shared with the trainer, and the doorbell.
    """
    source_file, shared_file, doorbell = descriptors
    source = read_all(source_file)
    shared = mmap.mmap(shared_file, SHARED_BYTES)
    os.close(shared_file)
    module = sys.modules["verifier"] = types.ModuleType("verifier")  # dataclasses look their module up
    bell = Bell(doorbell, shared)
    module.__dict__["run_code"] = bell.run_code
    code, text = _define(source, module.__dict__)
    os.write(doorbell, LOADED.pack(code, encode(text)))
    if code is Code.OK:
        _serve(module.__dict__, shared, bell)


def _define(source: bytes, scope: dict[str, object]) -> tuple[Code, str]:
    try:
        text = source.decode("utf-8", "surrogatepass")
        found = lint.runs_code(text)
        if found:
            return Code.REFUSED, found
        exec(compile(text, "verifier.py", "exec", dont_inherit=True), scope)  # noqa: S102  what the sandbox is for
    except MemoryError:
        return Code.MEMORY, "MemoryError while the source was defined"
    except BaseException as error:  # noqa: BLE001  the worker's edge: whatever the source raised is its outcome
        return Code.ERROR, f"{describe(error)} (while the source was defined)"
    return Code.OK, ""


def rehearse() -> None:
    """Do once in the zygote what every child does first, so that the interpreter's lazy tables are filled by then."""
    scope: dict[str, object] = {}
    _define(
        b"import math\ndef f(x: int = 1) -> float:\n    return [x for x in (1, 2.0)][0] if x else 0", scope
    )
    unpack(pack([1, "a", None, {"b": (1.5, {2})}]))


def _serve(scope: Mapping[str, object], shared: mmap.mmap, bell: Bell) -> None:
    view = memoryview(shared)
    while (batch := bell.next()) is not None:
        slot, calls, length, name_length = batch
        start = INBOX + slot * INBOX_BYTES
        name = bytes(view[start : start + name_length]).decode("utf-8", "replace")
        feed = unpacker()
        feed.feed(view[start + name_length : start + length])
        function = scope.get(name)
        if not callable(function):
            function = _missing(name)
        _run(function, feed, calls, shared, slot * SLOT_BYTES)
        bell.done()


def _missing(name: str) -> Callable[..., object]:
    def absent(**_: object) -> object:
        raise NameError(f"the source defines no function {name!r}")

    return absent


def _run(function: Callable[..., object], feed: object, calls: int, shared: mmap.mmap, base: int) -> None:
    # Everything is bound to locals before the first call: a verifier that patches modules spoils less.
    put, finite, record = RECORD.pack_into, math.isfinite, RECORD.size
    ok, invalid = int(Code.OK), int(Code.INVALID)
    offset, index = base, 0
    following = feed.__next__  # type: ignore[attr-defined]
    while index < calls:
        arguments = following()
        index += 1
        try:
            value = function(**arguments)
            kind = type(value)
            if kind is float or kind is int or kind is bool:
                number = value * 1.0  # type: ignore[operator]
                code, text = (ok, None) if finite(number) else (invalid, f"not finite: {number}")
            else:
                code, number, text = invalid, 0.0, f"returned {_name(kind)}, not a number"
        except OverflowError as error:
            code, number, text = _overflow(error)
        except MemoryError:
            code, number, text = int(Code.MEMORY), 0.0, "MemoryError"
        except BaseException as error:  # noqa: BLE001  the worker's edge: whatever the call raised is its outcome
            code, number, text = int(Code.ERROR), 0.0, describe(error)
        if text is not None:
            place = base + TEXTS + (index - 1) * TEXT_BYTES
            shared[place : place + TEXT_BYTES] = encode(text).ljust(TEXT_BYTES, b"\0")
        put(shared, offset, number, code, index)
        offset += record


def _overflow(error: OverflowError) -> tuple[int, float, str]:
    """An int too large for a float is no score; any other overflow is the verifier's own error."""
    if error.args == ("int too large to convert to float",) and error.__traceback__ is not None:
        inner = error.__traceback__.tb_next
        if inner is None:
            return int(Code.INVALID), 0.0, "an int too large for a float"
    return int(Code.ERROR), 0.0, describe(error)


def _name(kind: type) -> str:
    return kind.__name__ if type(kind.__name__) is str else "an object"
