"""Quotes: whether a passage that a judge claims to copy stands in the completion.

A judge that has to show its evidence can be caught inventing it. Compared are the texts without blanks, case and the
shapes of quotation marks and dashes, which models do not copy faithfully; two passages may be joined by an ellipsis.
"""

from __future__ import annotations

import re

from rlar_graph.rewards.verifiers.response import plain, visible

SHORTEST = 3
"""Characters below which a quote must stand as a word of its own: a single letter is in every text."""

_BLANK = re.compile(r"\s+")
_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\]|\[…\])\s*")
_FOLDED = str.maketrans("“”„«»‘’‚`´–—−‐‑", "\"\"\"\"\"'''''-----")
_AROUND = " \t\n\"'*_"


def occurs(quote: str, completion: str) -> bool:
    """Say whether all of a quote stands in a completion; an empty quote does not."""
    whole = _folded(completion)
    squeezed = _BLANK.sub("", whole)
    claimed = _folded(quote).strip(_AROUND)
    if _stands(claimed, whole, squeezed):
        return True
    parts = [part.strip(_AROUND) for part in _ELLIPSIS.split(claimed)]
    parts = [part for part in parts if part]
    return len(parts) > 1 and all(_stands(part, whole, squeezed) for part in parts)


def _stands(passage: str, whole: str, squeezed: str) -> bool:
    """Say whether a passage stands in a text, given with and without its blanks."""
    needle = _BLANK.sub("", passage)
    if not any(map(str.isalnum, needle)):
        return bool(needle) and needle == squeezed
    if len(needle) < SHORTEST:
        return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", whole) is not None
    return needle in squeezed


def _folded(text: str) -> str:
    return plain(visible(text)).translate(_FOLDED).casefold()
