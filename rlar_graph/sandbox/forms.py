"""The forms that tests come in, brought down to three: text, cases (call and result), and pairs (input and output)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


class Malformed(Exception):
    """The tests are in no form we know; the message says what is wrong with them."""


@dataclass(frozen=True)
class Tests:
    """Tests in one of three forms."""

    __test__ = False

    form: Literal["text", "cases", "pairs"]
    """Which of the three."""
    text: str = ""
    """Python, for ``text``."""
    rows: tuple[tuple[object, object], ...] = ()
    """Input and output each, for the other two."""
    entry: str = ""
    """The function under test, where it was named."""


def read_tests(tests: object, entry_point: str | None) -> Tests:
    """Bring ``tests`` into one of the three forms.

    Raises:
        Malformed: They are in none.
    """
    entry = entry_point or ""
    if isinstance(tests, str):
        return _from_text(tests, entry)
    if isinstance(tests, Mapping):
        return _from_mapping(tests, entry)
    if isinstance(tests, Sequence) and not isinstance(tests, bytes | bytearray):
        return _from_sequence(tests, entry)
    raise Malformed(f"tests must be text, a list or a mapping, not {type(tests).__name__}")


def _from_text(text: str, entry: str) -> Tests:
    if not text.strip():
        raise Malformed("the tests are empty")
    if text.lstrip()[:1] in "{[":
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict | list):
            return read_tests(found, entry)
    return Tests("text", text=text, entry=entry)


def _from_mapping(tests: Mapping[object, object], entry: str) -> Tests:
    inputs, outputs = tests.get("inputs", tests.get("input")), tests.get("outputs", tests.get("output"))
    if inputs is None or outputs is None:
        raise Malformed("a mapping of tests needs 'inputs' and 'outputs'")
    if isinstance(inputs, str) and isinstance(outputs, str):
        inputs, outputs = [inputs], [outputs]
    if not isinstance(inputs, Sequence) or not isinstance(outputs, Sequence):
        raise Malformed("'inputs' and 'outputs' must be lists")
    if len(inputs) != len(outputs):
        raise Malformed(f"{len(inputs)} inputs but {len(outputs)} outputs")
    name = tests.get("fn_name")
    return _from_rows(
        list(zip(inputs, outputs, strict=True)), entry or (name if isinstance(name, str) else "")
    )


def _from_sequence(tests: Sequence[object], entry: str) -> Tests:
    if not tests:
        raise Malformed("the list of tests is empty")
    if all(isinstance(item, str) for item in tests):
        return Tests("text", text="\n".join(str(item) for item in tests), entry=entry)
    rows: list[tuple[object, object]] = []
    name = ""
    for number, item in enumerate(tests, 1):
        if isinstance(item, Mapping) and "input" in item and "output" in item:
            rows.append((item["input"], item["output"]))
            name = name or str(item.get("fn_name") or "")
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes) and len(item) == 2:
            rows.append((item[0], item[1]))
        else:
            raise Malformed(f"test {number} is neither text, a pair, nor a mapping with 'input' and 'output'")
    return _from_rows(rows, entry or name)


def _from_rows(rows: list[tuple[object, object]], entry: str) -> Tests:
    if not rows:
        raise Malformed("there are no input/output pairs")
    if entry:
        return Tests("cases", rows=tuple(rows), entry=entry)
    texts: list[tuple[object, object]] = []
    for number, row in enumerate(rows, 1):
        joined = tuple(_joined(side) for side in row)
        if None in joined:
            raise Malformed(
                f"pair {number} is not text: a program reads and prints text (name a function to call it)"
            )
        texts.append((joined[0], joined[1]))
    return Tests("pairs", rows=tuple(texts))


def _joined(side: object) -> str | None:
    """Text as it is; a list of lines joined."""
    if isinstance(side, str):
        return side
    if isinstance(side, list | tuple) and all(isinstance(line, str) for line in side):
        return "\n".join(side)
    return None
