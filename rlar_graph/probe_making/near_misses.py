"""Near misses: answers made from a right one by one small change, each of a kind that policies make."""

from __future__ import annotations

import re

from rlar_graph.agreement import might_be_same
from rlar_graph.rewards.verifiers.list_answer import is_order_free

_NUMBER = re.compile(r"(?<![\w.,])-?\d{1,15}(?![\w,]|\.\d)")
_SEPARATOR = re.compile(r"\s*[,;]\s*")


def near_misses(prompt: str, answer: str) -> dict[str, str]:
    """Return changed answers by what was changed.

    Left out is what might be the same answer written otherwise, and another order where the order does not matter.
    """
    changed = _numbers(answer) | _elements(answer, is_order_free(prompt, answer)) | _characters(answer)
    kept: dict[str, str] = {}
    for why, text in changed.items():
        if text.strip() and text not in kept.values() and not _equivalent(answer, text, why):
            kept[why] = text
    return kept


def _equivalent(answer: str, changed: str, why: str) -> bool:
    """Say whether a change may have left the answer as right as it was."""
    if why.startswith(("element", "line", "order")):
        return changed == answer
    return might_be_same(answer, changed)


def _numbers(answer: str) -> dict[str, str]:
    """Change the last number of an answer."""
    found = list(_NUMBER.finditer(answer))
    if not found:
        return {}
    last = found[-1]
    value = int(last[0])

    def put(number: int) -> str:
        return f"{answer[: last.start()]}{number}{answer[last.end() :]}"

    changes = {"off by one": put(value + 1), "one digit changed": put(_other_digit(value))}
    if len(found) == 1 and value:
        changes["sign changed"] = put(-value)
        changes["ten times as much"] = put(value * 10)
    return changes


def _other_digit(value: int) -> int:
    """Return a number that differs in its first digit."""
    text = str(abs(value))
    other = f"{int(text[0]) % 9 + 1}{text[1:]}"
    return -int(other) if value < 0 else int(other)


def _elements(answer: str, order_free: bool) -> dict[str, str]:
    """Drop, double or exchange the elements of a list, or the lines of a longer answer."""
    lines = answer.split("\n")
    if len(lines) >= 2:
        return _of("line", lines, "\n", "", "", order_free)
    opener, closer = (answer[0], answer[-1]) if answer[:1] in tuple("[({") and len(answer) > 2 else ("", "")
    inside = answer[len(opener) : len(answer) - len(closer)]
    parts = _SEPARATOR.split(inside)
    separator = ", " if ", " in inside else "," if "," in inside else "; "
    return _of("element", parts, separator, opener, closer, order_free) if len(parts) >= 3 else {}


def _of(
    name: str, parts: list[str], separator: str, opener: str, closer: str, order_free: bool
) -> dict[str, str]:
    def put(changed: list[str]) -> str:
        return f"{opener}{separator.join(changed)}{closer}"

    changes = {f"{name} dropped": put(parts[:-1]), f"{name} doubled": put([*parts, parts[-1]])}
    if not order_free and parts[0] != parts[-1]:
        changes["order changed"] = put([parts[-1], *parts[1:-1], parts[0]])
    return changes


def _characters(answer: str) -> dict[str, str]:
    """Change a letter in the middle of an answer, where there is a word."""
    places = [place for place, char in enumerate(answer) if char.isascii() and char.isalpha()]
    if not places:
        return {}
    middle = places[len(places) // 2]
    char = answer[middle]
    other = chr((ord(char.lower()) - 96) % 26 + 97)
    return {
        "one letter changed": f"{answer[:middle]}{other.upper() if char.isupper() else other}{answer[middle + 1 :]}"
    }
