"""Errors as text, without running a line of the code that raised them."""

from __future__ import annotations

import builtins

_TEXT = 192
_BUILTIN_ERRORS = frozenset(
    value for value in vars(builtins).values() if isinstance(value, type) and issubclass(value, BaseException)
)


def describe(error: BaseException) -> str:
    """The kind of an error, with its text only where reading the text runs no code of the program's own."""
    kind = type(error)
    name = str(kind.__name__) if type(kind.__name__) is str else "error"
    if kind in _BUILTIN_ERRORS and error.args and type(error.args[0]) is str:
        return f"{name}: {error.args[0][:_TEXT]}"
    return name
