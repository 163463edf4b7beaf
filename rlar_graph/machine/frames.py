"""What goes over the socket: frames of msgpack, rollouts one way and scores the other.

Nothing on the wire is code and nothing nests through extensions, so a frame of rubbish costs an exception and no more.
Values arrive as JSON would bring them: tuples as lists, arrays as lists, mappings as dictionaries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgpack

from rlar_graph import errors
from rlar_graph.errors import EngineError, InputError, RlarError
from rlar_graph.types import Rollout, Score

HEAD = struct.Struct(">I")
"""Before each frame: its length."""
FRAME_BYTES = 256 << 20
"""Longer frames are not sent, and end the connection of whoever sends one."""
BIG_INTEGER = 1
"""The one extension: an integer beyond 64 bits, in hexadecimal digits."""

HELLO, SCORE, SCORES, ERROR, ALIVE = "hello", "score", "scores", "error", "alive"
"""First word of a frame. The engine says hello, answers a score with scores or an error, and says that it is alive."""

_ROLLOUT = tuple(field.name for field in fields(Rollout))
_SCORE = tuple(field.name for field in fields(Score))
_rollout_values = attrgetter(*_ROLLOUT)
_score_values = attrgetter(*_SCORE)
_METADATA = _ROLLOUT.index("metadata")
_TUPLES = tuple(map(_ROLLOUT.index, ("aliases", "instruction_id_list", "kwargs")))
_CHOICES = _ROLLOUT.index("choices")


class Rubbish(Exception):
    """What came is no frame of ours."""


class Frames:
    """Takes bytes as they come, and gives whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield the frames that are whole now.

        Raises:
            Rubbish: A frame says that it is longer than any may be.
        """
        held = self._held
        held += received
        while len(held) >= HEAD.size:
            (length,) = HEAD.unpack_from(held)
            if length > FRAME_BYTES:
                raise Rubbish(f"a frame of {length:,} bytes")
            end = HEAD.size + length
            if len(held) < end:
                return
            frame = bytes(memoryview(held)[HEAD.size : end])
            del held[:end]
            yield frame


def framed(*message: object) -> bytes:
    """Return a message as a frame with its length before it.

    Raises:
        InputError: It holds a value that cannot be sent, or is too long.
    """
    try:
        packed: bytes = msgpack.packb(message, default=_plain, unicode_errors="surrogatepass")
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"cannot be sent to the engine of this machine: {error}") from error
    if len(packed) > FRAME_BYTES:
        raise InputError(
            f"the batch takes {len(packed) >> 20:,} MiB, and the engine of this machine takes"
            f" {FRAME_BYTES >> 20} MiB: call with fewer completions at a time"
        )
    return HEAD.pack(len(packed)) + packed


def message_in(frame: bytes) -> list[Any]:
    """Return the message in a frame.

    Raises:
        Rubbish: There is none.
    """
    try:
        message = msgpack.unpackb(
            frame, ext_hook=_restored, unicode_errors="surrogatepass", strict_map_key=False
        )
    except Exception as error:  # an edge: the bytes are whatever somebody sent
        raise Rubbish(f"{type(error).__name__}: {error}") from error
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise Rubbish("no message")
    return message


def rollout_row(rollout: Rollout) -> list[object]:
    """Return a rollout as a row of values; columns that are no evidence are left out where they cannot be sent."""
    row = list(_rollout_values(rollout))
    row[_METADATA] = {name: value for name, value in rollout.metadata.items() if _can_be_sent(value)}
    return row


def rollout_in(row: list[Any]) -> Rollout:
    """Return the rollout in a row.

    Raises:
        InputError: Its prompt or completions are not what they must be.
        Rubbish: The row is no rollout.
    """
    try:
        for place in _TUPLES:
            row[place] = tuple(row[place])
        row[_CHOICES] = tuple((label, text) for label, text in row[_CHOICES])
        return Rollout(*row)
    except (TypeError, ValueError, LookupError) as error:
        raise Rubbish(f"no rollout: {error}") from error


def score_rows(rows: Sequence[Sequence[Score]]) -> list[list[object]]:
    """Return scores as rows of values; what a detail holds that cannot be sent is sent as text."""
    return [[_sendable(_score_values(score)) for score in row] for row in rows]


def scores_in(rows: list[list[list[Any]]]) -> list[list[Score]]:
    """Return the scores in rows."""
    return [[Score(*values) for values in row] for row in rows]


def error_fields(error: BaseException) -> tuple[str, str, str | None]:
    """Return an error as its name, its words, and the field at fault if it names one."""
    if isinstance(error, InputError):
        return "InputError", error.problem, error.field
    return type(error).__name__, str(error), None


def error_in(name: str, said: str, field: str | None) -> RlarError:
    """Return the error that the engine met, as it would have been raised here; one unknown here is an EngineError."""
    kind = getattr(errors, name, None)
    if name == "InputError":
        return InputError(said, field=field)
    if isinstance(kind, type) and issubclass(kind, RlarError):
        return kind(said)
    return EngineError(f"the engine of this machine failed: {name}: {said}")


def _plain(value: Any) -> object:
    """Return what msgpack has no form for as something it has."""
    if isinstance(value, int):
        return msgpack.ExtType(BIG_INTEGER, b"%x" % value)
    if isinstance(value, Mapping):
        return dict(value)
    if callable(
        getattr(value, "tolist", None)
    ):  # numpy, whose arrays of objects trainers' tables are made of
        return value.tolist()
    if isinstance(value, Sequence | Set):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not plain")


def _restored(code: int, digits: bytes) -> int:
    if code != BIG_INTEGER:
        raise ValueError(f"unknown extension {code}")
    return int(digits, 16)


def _can_be_sent(value: object) -> bool:
    if value is None or isinstance(value, str | float | bool):
        return True
    try:
        msgpack.packb(value, default=_plain, unicode_errors="surrogatepass")
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _sendable(values: tuple[object, ...]) -> list[object]:
    *plain, detail = values
    if not detail:
        return [*plain, {}]
    assert isinstance(detail, Mapping)  # noqa: S101 - the last field of a score
    return [*plain, {name: value if _can_be_sent(value) else str(value) for name, value in detail.items()}]
