"""Counts as prompts write them: "at least 300", "two or three", "no more than a dozen"."""

from __future__ import annotations

import re

_WORDS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_VALUES = {word: value for value, word in enumerate(_WORDS, 1)}
_VALUES |= {"a": 1, "an": 1, "single": 1, "once": 1, "twice": 2, "thrice": 3, "thirty": 30, "forty": 40}
_VALUES |= {"fifty": 50, "hundred": 100, "a hundred": 100, "two hundred": 200, "a dozen": 12}

NUMBER = (
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,6}|(?:a |two )?hundred|a dozen|thirty|forty|fifty|" + "|".join(_WORDS) + r")"
)
"""A number in digits or words, without a group of its own."""

_OVER = r"(?:more than|over|above|exceed(?:s|ing)?|longer than|greater than)"
_AT_LEAST = (
    r"(?:at least|no fewer than|not less than|no less than|not fewer than|a minimum of|minimum of|minimum)"
)
_UNDER = r"(?:less than|fewer than|under|below|shorter than)"
_AT_MOST = (
    r"(?:at most|no more than|not more than|not exceed(?:ing)?|no longer than|a maximum of|maximum of|maximum|up to"
    r"|within)"
)
_EXACTLY = r"(?:exactly|precisely|only|just)"

RELATION = rf"(?P<relation>{_AT_LEAST}|{_AT_MOST}|not {_OVER}|{_OVER}|{_UNDER}|{_EXACTLY})"
"""How a number bounds a count."""

RANGE = (
    rf"(?:between\s+|from\s+|in the range of\s+)?(?P<low>{NUMBER})\s*(?:-|–|to|or|and)\s*(?P<high>{NUMBER})"
)
"""Two numbers that bound a count on both sides."""

_AFTER = re.compile(r"\s?(?:\+|or more\b|or longer\b|and above\b|or less\b|or fewer\b)")


def value_of(text: str) -> int:
    """Return the number that a text matching :data:`NUMBER` (or ``once``, ``twice``) stands for."""
    word = text.strip().lower()
    if word in _VALUES:
        return _VALUES[word]
    return int(word.replace(",", ""))


def bounds(relation: str | None, number: int, after: str = "") -> list[tuple[str, int]]:
    """Return what is asked of a count, as the checkers' relations with their numbers; empty where it is left open.

    Args:
        relation: Text matching :data:`RELATION`, or None.
        number: The number.
        after: What stands right behind the number: ``+``, ``or more``, ``or less``.
    """
    word = " ".join((relation or "").lower().split())
    tail = _AFTER.match(after)
    if not word and tail:
        return (
            [("less than", number + 1)]
            if tail[0].strip().endswith(("less", "fewer"))
            else [("at least", number)]
        )
    if re.fullmatch(_EXACTLY, word):
        return [("at least", number), ("less than", number + 1)]
    if re.fullmatch(_AT_LEAST, word):
        return [("at least", number)]
    if re.fullmatch(rf"{_AT_MOST}|not {_OVER}", word):
        return [("less than", number + 1)]
    if re.fullmatch(_OVER, word):
        return [("at least", number + 1)]
    if re.fullmatch(_UNDER, word):
        return [("less than", number)]
    return []
