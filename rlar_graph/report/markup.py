"""Markup: HTML and SVG elements in which everything that is not markup itself is escaped.

Names, reasons and completions are hostile. So text becomes :class:`Markup` only here, and a plain string that is given
to :func:`tag` is text, never markup.
"""

from __future__ import annotations

import re
from html import escape
from typing import TypeAlias

VOID = frozenset(("br", "hr", "link", "meta", "circle", "line", "path", "polyline", "rect"))
"""Elements without an end tag here; those of SVG close themselves."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "Markup | str | int | float | list[Markup] | tuple[Markup, ...] | None"


def text(value: object, limit: int = 300, *, counted: bool = True) -> Markup:
    """Return a text escaped and cut, with what would hide or turn it round spelt out.

    Args:
        value: The text.
        limit: Characters that are kept.
        counted: Whether a text that is cut says how long it is.
    """
    said = str(value)
    cut = (
        said if len(said) <= limit else f"{said[:limit]}…{f' ({len(said):,} characters)' if counted else ''}"
    )
    if not cut.isprintable():
        cut = "".join(char if char.isprintable() else _spelt(char) for char in cut)
    return Markup(escape(cut))


def named(value: object, limit: int = 100) -> Markup:
    """Return a name as :func:`text`, with places where a line may break: names are long and have no spaces."""
    return Markup(re.sub(r"(?<=[/:_\-])(?=\w)", "<wbr/>", text(value, limit, counted=False)))


def coded(said: str, limit: int = 600) -> Markup:
    """Return a text with what stands between backticks set as code."""
    parts = said[:limit].split("`")
    return join(*(tag("code", part) if place % 2 else text(part, limit) for place, part in enumerate(parts)))


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: Its name.
        *children: Its content; strings that are not markup are escaped.
        **attributes: Its attributes, escaped; ``_`` stands for ``-`` and ends a name that Python keeps for itself,
            None leaves one out and True writes it bare.
    """
    written = "".join(
        _attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    if name in VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{''.join(map(_content, children))}</{name}>")


def join(*parts: Child) -> Markup:
    """Return parts one after the other."""
    return Markup("".join(map(_content, parts)))


def _content(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, list | tuple):
        return "".join(map(_content, child))
    return text(child, 100_000)


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{text(value, 2_000)}"'


def _spelt(char: str) -> str:
    """Return a line break as a sign of one, and any other character that does not print as its code."""
    return {"\n": "↵ ", "\t": " ", "\r": ""}.get(char, ascii(char)[1:-1])
