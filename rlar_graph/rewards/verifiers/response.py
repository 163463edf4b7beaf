"""The part of a completion that is meant for its reader.

Reasoning models think aloud between tags before they respond. Constraints on form (no commas, one JSON
document) are asked of the response, so the thinking is left out; a completion that never stops thinking has
no response.
"""

from __future__ import annotations

import re
import unicodedata

from rlar_graph.rewards.verifiers.final_answer import spoken

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_SPOKEN = re.compile(r"[^\W_]")
_WITHDRAWN = re.compile(
    r"\b(?:take (?:it|that|this) back|(?:above|that|this) is (?:all )?wrong"
    r"|(?:disregard|ignore) (?:this|that|the above))\b",
    re.IGNORECASE,
)


def response_of(completion: str) -> str:
    """Return what a completion says after its last thought; nothing where a thought never ends."""
    span = spoken(completion)
    return "" if span is None else completion[slice(*span)]


def visible(text: str) -> str:
    """Return the text without characters nobody can see, which otherwise hide words or pretend to be some."""
    return text if text.isascii() else _INVISIBLE.sub("", text)


def plain(text: str) -> str:
    """Return the text with full-width and styled letters, digits and marks in their ordinary form."""
    if text.isascii():
        return text
    # Character by character: as a whole, NFKC may make a text 18 times as long.
    forms = {ord(character): unicodedata.normalize("NFKC", character) for character in set(text)}
    return text.translate({code: form for code, form in forms.items() if len(form) == 1})


def says_nothing(text: str) -> bool:
    """Return whether a text has no letter, digit or symbol: empty, white space, or only punctuation marks."""
    if _SPOKEN.search(text):
        return False
    return not any(unicodedata.category(character)[0] == "S" for character in set(text))


def withdraws(afterthought: str) -> bool:
    """Return whether what follows an answer takes it back without giving another."""
    return _WITHDRAWN.search(afterthought) is not None
