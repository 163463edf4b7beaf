"""JSON as responses carry it: which one document a response commits itself to, and what counts as JSON.

* The response is one document; or it holds fenced blocks labelled ``json`` (else unlabelled ones), which then must
  all be the same document; or it is prose around one object or array, from its first bracket to its last.
* Two different documents are no commitment: a reader could not know which one is meant.
* Stricter than Python's reader: a key given twice, ``NaN``, ``Infinity``, numbers beyond double precision and more
  than 100 levels are refused, since other readers differ on them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

from rlar_graph.rewards.verifiers.code_block import fenced_blocks

MAX_DEPTH = 100
"""Levels of nesting that are read; deeper text could exhaust the stack of the process that reads it."""

_STRUCTURE = re.compile(r'[\[\]{}"\\]')


class NotJson(ValueError):
    """The text is not, or does not commit itself to, one JSON document; the message says why."""


def document_in(response: str) -> str:
    """Return the text of the one JSON document a response commits itself to.

    Raises:
        NotJson: There is none, there are several, or it is malformed.
    """
    whole = response.strip()
    try:
        read(whole)
    except NotJson as error:
        document = _fenced(whole) or _bracketed(_without_code(whole))
        if document is None:
            raise NotJson(f"no JSON document: {error}") from error
        read(document)
        return document
    return whole


def read(document: str) -> object:
    """Return the value of a JSON document, read strictly.

    Raises:
        NotJson: The text is not JSON by this module's rules.
    """
    if nests_too_deep(document):
        raise NotJson(f"nested more than {MAX_DEPTH} levels deep")
    try:
        value: object = json.loads(
            document, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except ValueError as error:
        raise NotJson(str(error)) from error
    return value


def _fenced(text: str) -> str | None:
    """Return the one document in the text's fenced blocks, if it has such blocks."""
    blocks = [(block.label, block.source.strip()) for block in fenced_blocks(text)]
    labelled = {source for label, source in blocks if label == "json"}
    documents = labelled or {source for label, source in blocks if not label}
    if len(documents) > 1:
        raise NotJson(f"{len(documents)} different fenced documents")
    return documents.pop() if documents else None


def _without_code(text: str) -> str:
    """Return a text without its blocks of Python, where ``{}`` is no document; one that is JSON stays."""
    for block in fenced_blocks(text) if "```py" in text else ():
        if block.is_python and block.label and not is_json(block.source):
            text = text.replace(block.source, "\n")
    return text


def _bracketed(text: str) -> str | None:
    """Return the object or array between a text's first bracket and its last, if that is well formed."""
    spans = ((text.find(opening), text.rfind(closing)) for opening, closing in ("{}", "[]"))
    for start, end in sorted(spans):
        piece = text[max(start, 0) : end + 1]
        if 0 <= start < end and is_json(piece):
            return piece
    return None


def is_json(text: str) -> bool:
    """Return whether a text is one JSON document by this module's rules."""
    try:
        read(text)
    except NotJson:
        return False
    return True


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotJson("a key is given twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson("a number is too large")
    return number


def nests_too_deep(text: str) -> bool:
    """Return whether brackets outside strings nest deeper than :data:`MAX_DEPTH`, without recursion."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for mark in _brackets(text):
        depth += 1 if mark in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _brackets(text: str) -> Iterator[str]:
    """Yield the brackets outside strings, in order."""
    quoted, escaped_at = False, -1
    for found in _STRUCTURE.finditer(text):
        mark, place = found[0], found.start()
        if place == escaped_at:
            continue
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark != "\\":
            yield mark
        elif quoted and mark == "\\":
            escaped_at = place + 1
