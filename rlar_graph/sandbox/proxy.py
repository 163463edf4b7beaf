"""Proxies: how tests call functions of a program that lives in another process."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from rlar_graph.sandbox.candidate import ABSENT, NOT_PLAIN, RETURNED, read_frame, write_frame
from rlar_graph.sandbox.plain import NotPlain, pack_answer, unpack
from rlar_graph.sandbox.wire import PLAIN_BYTES, Code

# An AssertionError of the program's would pass a test that expects the assertion helper to raise; a StopIteration
# would end the tests' own loops early, so that all(map(...)) sees no failure; the rest would end the grader.
_NEVER = frozenset(
    {
        "AssertionError",
        "StopIteration",
        "StopAsyncIteration",
        "GeneratorExit",
        "KeyboardInterrupt",
        "SystemExit",
    }
)


class ProgramEnded(BaseException):
    """The program's process is gone; no test may catch this and go on."""


class ProgramFull(BaseException):
    """The program ran out of memory during a call."""


class NeedsCallable(BaseException):
    """The tests pass something to the program that is not a plain value."""


class Caller:
    """One program's process, as the grader sees it."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self.calls = 0

    def hello(self) -> tuple[Code, str]:
        """Wait until the program is loaded; say how that went."""
        code, text = self._read("while it was loaded")[:2]
        return (
            (Code(code), str(text)) if code in (0, 1, 2) else (Code.CRASHED, "the program broke its protocol")
        )

    def call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call the program's function ``name``; raise what it raised."""
        try:
            # An iterator that the program answered may be handed on to it: no program can ask to be left ungraded.
            frame = pack_answer([name, list(arguments), keywords])
        except (NotPlain, ValueError) as error:
            raise NeedsCallable(
                f"the tests pass a value to the program that cannot be sent: {error}"
            ) from error
        if len(frame) > PLAIN_BYTES:
            raise NeedsCallable(f"the tests pass over {PLAIN_BYTES >> 20} MiB to the program")
        self.calls += 1
        try:
            write_frame(self._requests, frame)
        except OSError:
            raise ProgramEnded("the program's process ended") from None
        kind, value, extra = self._read("during a call")
        if kind == RETURNED:
            _copy_back([*arguments, *keywords.values()], extra)
            return value
        raise _exception(kind, value, extra)

    def _read(self, when: str) -> list[Any]:
        frame = read_frame(self._replies)
        if frame is None:
            raise ProgramEnded(f"the program's process ended {when}")
        try:
            found = unpack(frame)
        except Exception as error:
            raise ProgramEnded("the program broke its protocol") from error
        if type(found) is not list or len(found) < 2:
            raise ProgramEnded("the program broke its protocol")
        return [*found, []][:3]


def _copy_back(arguments: list[Any], changed: Any) -> None:
    """Show the tests what the program did to the lists, dicts and sets it was given."""
    if type(changed) is not list:
        return
    for pair in changed:
        if (
            type(pair) is not list
            or len(pair) != 2
            or type(pair[0]) is not int
            or not 0 <= pair[0] < len(arguments)
        ):
            continue
        old, new = arguments[pair[0]], pair[1]
        if type(old) is not type(new):
            continue
        if isinstance(old, list | bytearray):
            old[:] = new
        elif isinstance(old, dict | set):
            old.clear()
            old.update(new)


def _exception(kind: object, value: object, text: object) -> BaseException:
    if kind == ABSENT:
        return NameError(f"the program defines no function {str(value)[:80]!r}")
    if value == "MemoryError":
        return ProgramFull("MemoryError")
    if kind == NOT_PLAIN:
        return TypeError(f"the answer cannot be compared: {str(value)[:120]}")
    found = getattr(builtins, value, None) if type(value) is str and value not in _NEVER else None
    message = str(text)[:200]
    if not (isinstance(found, type) and issubclass(found, Exception)):
        return RuntimeError(message)
    try:
        return found(message.partition(": ")[2] or message)
    except TypeError:
        return RuntimeError(message)  # UnicodeDecodeError and the like want more arguments


class _Proxy:
    """Stands in the tests for one function of the program."""

    def __init__(self, call: Callable[..., Any], name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self._call = call

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._call(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NeedsCallable(f"the tests use .{name} of the program's function")


def proxy_for(caller: Caller, name: str) -> Any:
    """A stand-in for the program's function ``name``."""
    return _Proxy(lambda *arguments, **keywords: caller.call(name, arguments, keywords), name)
