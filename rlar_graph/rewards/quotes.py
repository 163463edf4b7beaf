"""Quotes: whether a passage that a judge claims to copy stands in the completion.

A judge that has to show its evidence can be caught inventing it. Compared are the texts without blanks, case and the
shapes of quotation marks and dashes, which models do not copy faithfully; two passages may be joined by an ellipsis.
"""

from __future__ import annotations

import re

from rlar_graph.llm.replies import encodable
from rlar_graph.rewards.verifiers.response import plain, visible

SHORTEST = 3
"""Characters below which a quote must stand as a word of its own: a single letter is in every text."""

_BLANK = re.compile(r"\s+")
_ELLIPSIS = re.compile(r"\[\.\.\.\]|\[…\]|\.\.\.|…")
_FOLDED = str.maketrans("“”„«»‘’‚`´–—−‐‑", "\"\"\"\"\"'''''-----")
_AROUND = " \t\n\"'*_"


class Quotable:
    """A completion, put in the form in which passages are looked for.

    Args:
        completion: Its text.
    """

    def __init__(self, completion: str) -> None:
        self._whole = _folded(completion)
        self._squeezed = _BLANK.sub("", self._whole)

    def has(self, quote: str) -> bool:
        """Say whether all of a quote stands in the completion; an empty quote does not."""
        claimed = _folded(quote).strip(_AROUND)
        if self._stands(claimed):
            return True
        parts = [part for part in (part.strip(_AROUND) for part in _ELLIPSIS.split(claimed)) if part]
        return len(parts) > 1 and all(map(self._stands, parts))

    def _stands(self, passage: str) -> bool:
        """Say whether a passage stands in the completion in one piece."""
        needle = _BLANK.sub("", passage)
        if not any(map(str.isalnum, needle)):
            return bool(needle) and needle == self._squeezed
        if len(needle) < SHORTEST:
            return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", self._whole) is not None
        return needle in self._squeezed


def _folded(text: str) -> str:
    # A judge is shown what a request can carry, and quotes that.
    return plain(visible(encodable(text))).translate(_FOLDED).casefold()
