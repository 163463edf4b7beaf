"""Inside a candidate: define the program, then answer a grader's calls with plain values.

The program shares this process and may do as it likes here. It is told one function and its arguments at a time; the
tests and the answers they expect are in another process.
"""

from __future__ import annotations

import builtins
import os
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

from rlar_graph.sandbox.describe import describe
from rlar_graph.sandbox.plain import NotPlain, pack, pack_answer, unpack
from rlar_graph.sandbox.serve import read_all
from rlar_graph.sandbox.wire import PLAIN_BYTES, Code

FRAME = struct.Struct("<I")
"""Length before each message between grader and candidate."""

RETURNED, RAISED, NOT_PLAIN, ABSENT = 0, 1, 2, 3
"""What a candidate answers: a value and changed arguments; an exception; an unsendable value; no such function."""

_MUTABLE = (list, dict, set, bytearray)


def read_frame(descriptor: int) -> bytes | None:
    """One message, or None where the other side hung up or breaks the protocol."""
    head = _read(descriptor, FRAME.size)
    if head is None:
        return None
    (length,) = FRAME.unpack(head)
    return _read(descriptor, length) if length <= PLAIN_BYTES else None


def _read(descriptor: int, size: int) -> bytes | None:
    found = os.read(descriptor, size)
    if len(found) == size:
        return found
    parts = [found]
    have = len(found)
    while have < size and parts[-1]:
        parts.append(os.read(descriptor, min(size - have, 1 << 16)))
        have += len(parts[-1])
    return b"".join(parts) if have == size else None


def write_frame(descriptor: int, content: bytes) -> None:
    """Send one message whole."""
    view = memoryview(FRAME.pack(len(content)) + content)
    while view:
        view = view[os.write(descriptor, view) :]


def define(source: bytes, name: str) -> tuple[types.ModuleType, BaseException | None]:
    """Run a program's source as the module ``name``; give what it raised, if anything."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        text = source.decode("utf-8", "surrogatepass")
        exec(compile(text, f"{name}.py", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  what this is for
    except BaseException as error:  # noqa: BLE001  the process edge: whatever the program raised is its outcome
        return module, error
    return module, None


def verdict_on(error: BaseException | None) -> tuple[Code, str]:
    """How loading a program went, for people."""
    if error is None:
        return Code.OK, ""
    if isinstance(error, MemoryError):
        return Code.MEMORY, "MemoryError while the program was loaded"
    return Code.ERROR, f"{describe(error)} (while the program was loaded)"


def find(module: types.ModuleType, name: str) -> Any:
    """The function a test means by ``name``; None where the program has none."""
    scope = module.__dict__
    if not name:
        functions = [
            value
            for value in scope.values()
            if isinstance(value, types.FunctionType) and value.__module__ == module.__name__
        ]
        return functions[-1] if functions else None
    owner, _, method = name.replace("()", "").partition(".")
    found = scope.get(owner)
    if method:
        return getattr(found() if isinstance(found, type) else found, method, None)
    if found is None and isinstance(solution := scope.get("Solution"), type):
        return getattr(solution(), name, None)  # the LeetCode habit: a method of class Solution
    return found


def main(descriptors: list[int]) -> None:
    """Answer calls until the grader hangs up.

    Args:
        descriptors: The source, the pipe that calls come from, and the pipe that answers go to.
    """
    source, requests, replies = descriptors
    module, error = define(read_all(source), "solution")
    code, text = verdict_on(error)
    write_frame(replies, pack([int(code), text]))
    while (frame := read_frame(requests)) is not None:
        name, arguments, keywords = unpack(frame)
        write_frame(replies, _answer(module, name, arguments, keywords))


def _answer(module: types.ModuleType, name: str, arguments: list[Any], keywords: dict[str, Any]) -> bytes:
    try:
        function = find(module, name)
        if not callable(function):
            return pack([ABSENT, name, []])
        return _call(function, arguments, keywords)
    except NotPlain as error:
        return pack([NOT_PLAIN, str(error)[:200], []])
    except BaseException as error:  # noqa: BLE001  the process edge: the grader raises its like on its own side
        return pack([RAISED, builtin_name(error), describe(error)[:200]])


def _call(function: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]) -> bytes:
    given = [*arguments, *keywords.values()]
    before = {place: pack(value) for place, value in enumerate(given) if type(value) in _MUTABLE}
    value = function(*arguments, **keywords)
    answer = pack_answer(value)
    changed: list[object] = []
    for place, old in before.items():
        try:
            if pack(given[place]) != old:
                changed.append([place, given[place]])
        except (TypeError, ValueError):
            continue  # what cannot be sent cannot be seen by the tests either
    frame = b"".join((b"\x93\x00", answer, pack_answer(changed)))
    if len(frame) > PLAIN_BYTES:
        raise NotPlain(f"an answer of over {PLAIN_BYTES >> 20} MiB is not a plain value")
    return frame


def builtin_name(error: BaseException) -> str:
    """The nearest built-in exception an error is one of."""
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return str(kind.__name__)
    return "Exception"
