"""Plain values on the wire: what may cross between processes, and how it is tagged.

Subclasses travel as the plain value they hold, so an object whose ``__eq__`` lies arrives as one that cannot. Decoding
happens in confined processes only; the trainer encodes and never decodes.
"""

from __future__ import annotations

import importlib
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, cast

import msgpack

from rlar_graph.sandbox.wire import INBOX_BYTES

_BIGINT, _TUPLE, _SET, _FROZENSET, _COMPLEX, _ITERATOR, _RANGE, _DECIMAL, _FRACTION, _DEQUE, _BYTEARRAY = (
    range(1, 12)
)
_KEYS, _VALUES, _ITEMS = 12, 13, 14
_DATE, _DATETIME, _TIME, _TIMEDELTA, _NDARRAY = 15, 16, 17, 18, 19
_MOST_ITEMS = 1_000_000
_VIEWS = {type({}.keys()): _KEYS, type({}.values()): _VALUES, type({}.items()): _ITEMS}
_DATES = {date: _DATE, datetime: _DATETIME, time: _TIME}
_ITERATORS = tuple(
    type(example)
    for example in cast(
        tuple[object, ...],
        (
            (x for x in cast(tuple[int, ...], ())),
            iter([]),
            iter(()),
            iter({}),
            iter({}.values()),
            iter({}.items()),
            iter(set()),
            iter(""),
            iter(range(0)),
            map(str, ()),
            filter(None, ()),
            zip(),
            enumerate(()),
            reversed([]),
            islice((), 0),
        ),
    )
)


class NotPlain(TypeError):
    """A value that cannot cross between processes."""


def _tag(code: int, content: object) -> msgpack.ExtType:
    return msgpack.ExtType(code, pack(content))


def _special(value: Any) -> object:
    """What msgpack has no form for, as a tagged extension or as the plain value a subclass holds."""
    kind = type(value)
    for base, code in ((tuple, _TUPLE), (set, _SET), (frozenset, _FROZENSET), (deque, _DEQUE)):
        if isinstance(value, base):
            return _tag(code, list(value))
    if isinstance(value, int):
        value = int(value)
        return value if -(1 << 63) <= value < 1 << 64 else msgpack.ExtType(_BIGINT, b"%x" % value)
    plain: Any
    for plain in (str, float, bytes, dict, list):
        if isinstance(value, plain):
            return plain(value)
    return _rarer(value, kind)


def _rarer(value: Any, kind: type) -> object:
    if isinstance(value, complex):
        return msgpack.ExtType(_COMPLEX, struct.pack("<dd", value.real, value.imag))
    if kind is range:
        return _tag(_RANGE, [value.start, value.stop, value.step])
    if kind is bytearray:
        return msgpack.ExtType(_BYTEARRAY, bytes(value))
    if kind is Decimal:
        return _tag(_DECIMAL, str(value))
    if kind is Fraction:
        return _tag(_FRACTION, [value.numerator, value.denominator])
    if kind in _DATES:
        return _tag(_DATES[kind], value.isoformat())
    if kind is timedelta:
        return _tag(_TIMEDELTA, [value.days, value.seconds, value.microseconds])
    if kind in _VIEWS:
        return _tag(_VIEWS[kind], list(value))
    if kind.__module__ == "numpy":
        return _from_numpy(value, kind)
    raise NotPlain(f"{kind.__name__} is not a plain value")


def _from_numpy(value: Any, kind: type) -> object:
    """Arrays of numbers and numpy's scalars; told by name, because numpy need not be installed."""
    if kind.__name__ == "ndarray" and value.dtype.kind in "biufc":
        return _tag(_NDARRAY, [value.dtype.str, list(value.shape), value.tobytes()])
    if callable(getattr(value, "item", None)) and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise NotPlain(f"{kind.__name__} is not a plain value")


def _special_answer(value: Any) -> object:
    """As :func:`_special`, with iterators written out: they arrive as iterators again."""
    # Any iterator: this runs where the program does, which may answer what it likes anyway.
    if isinstance(value, Iterator):
        items = list(islice(cast(Iterable[object], value), _MOST_ITEMS + 1))
        if len(items) > _MOST_ITEMS:
            raise NotPlain(f"an iterator of over {_MOST_ITEMS} items is not a plain value")
        return msgpack.ExtType(_ITERATOR, pack_answer(items))
    return _special(value)


def pack(value: object) -> bytes:
    """Encode a plain value; lone surrogates survive.

    Raises:
        NotPlain: It is not made of plain values.
        ValueError: It is nested too deeply or too large.
    """
    packed: bytes = msgpack.packb(
        value, default=_special, strict_types=True, unicode_errors="surrogatepass", use_bin_type=True
    )
    return packed


def pack_answer(value: object) -> bytes:
    """As :func:`pack`, for what a program answered: iterators are run and written out."""
    packed: bytes = msgpack.packb(
        value, default=_special_answer, strict_types=True, unicode_errors="surrogatepass", use_bin_type=True
    )
    return packed


def fast_packer() -> msgpack.Packer:
    """A packer that gathers many values in one buffer, in a third of the time of :func:`pack`.

    It raises UnicodeEncodeError for lone surrogates; ``getbuffer`` gives the buffer and ``reset`` empties it.
    """
    return msgpack.Packer(default=_special, strict_types=True, use_bin_type=True, autoreset=False)


def _restore(code: int, data: bytes) -> object:
    match code:
        case 1:
            return int(data, 16)
        case 5:
            return complex(*struct.unpack("<dd", data))
        case 11:
            return bytearray(data)
    content = unpack(data)
    if code in _MAKERS:
        return _MAKERS[code](content)
    raise ValueError(f"unknown tag {code}")


def _array(parts: list[Any]) -> object:
    numpy: Any = importlib.import_module("numpy")
    kind = numpy.dtype(parts[0])
    if kind.kind not in "biufc":
        raise ValueError("an array of objects is not a plain value")
    return numpy.frombuffer(parts[2], dtype=kind).reshape(parts[1]).copy()


_MAKERS: dict[int, Any] = {
    _TUPLE: tuple,
    _SET: set,
    _FROZENSET: frozenset,
    _ITERATOR: iter,
    _RANGE: lambda parts: range(*parts),
    _DECIMAL: Decimal,
    _FRACTION: lambda parts: Fraction(*parts),
    _DEQUE: deque,
    _KEYS: lambda keys: dict.fromkeys(keys).keys(),
    _VALUES: lambda values: dict(enumerate(values)).values(),
    _ITEMS: lambda items: dict(items).items(),
    _DATE: date.fromisoformat,
    _DATETIME: datetime.fromisoformat,
    _TIME: time.fromisoformat,
    _TIMEDELTA: lambda parts: timedelta(*parts),
    _NDARRAY: _array,
}


def unpack(data: bytes | memoryview) -> Any:
    """Decode what :func:`pack` wrote. Called in confined processes only."""
    return msgpack.unpackb(
        data, ext_hook=_restore, unicode_errors="surrogatepass", strict_map_key=False, raw=False
    )


def unpacker() -> msgpack.Unpacker:
    """A decoder for many values in a row, as :func:`unpack`."""
    return msgpack.Unpacker(
        ext_hook=_restore,
        unicode_errors="surrogatepass",
        strict_map_key=False,
        raw=False,
        max_buffer_size=INBOX_BYTES,
    )
