"""What overlap counts: the words of a text in any script, and how much two word lists have in common."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped, unused-ignore]

STEMMED_LENGTH = 4
"""Characters from which a Latin word is stemmed, as in the ROUGE package."""

_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def is_unspaced(text: str) -> bool:
    """Return whether most of a text is in a script that leaves no space between words."""
    letters = sum(1 for character in text if character.isalpha())
    return sum(1 for _ in _UNSPACED.finditer(text)) * 2 > letters


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    In Chinese, Japanese, Thai, Lao, Khmer and Burmese, which leave no space between words, every character is one.
    """
    lower = text.lower()
    if not lower.isascii():
        lower = _UNSPACED.sub(r" \1 ", lower)
    breaks = {ord(sign): " " for sign in set(lower) if unicodedata.category(sign)[0] not in "LNM"}
    return lower.translate(breaks).split()


def stems(text: str) -> list[str]:
    """Return the words of a text, English endings taken off."""
    return [_stem(word) for word in words(text)]


def shared_ngrams(first: Sequence[str], second: Sequence[str], size: int) -> float:
    """Return the F-measure of the runs of ``size`` words two lists share, each counted as often as in both."""
    counts = [
        Counter(zip(*(listed[start:] for start in range(size)), strict=False)) for listed in (first, second)
    ]
    return f_measure((counts[0] & counts[1]).total(), counts[0].total(), counts[1].total())


def shared_order(first: Sequence[str], second: Sequence[str]) -> float:
    """Return the F-measure of the longest common subsequence of two word lists."""
    return f_measure(_common_length(first, second), len(first), len(second))


def f_measure(shared: int, first: int, second: int) -> float:
    """Return the harmonic mean of precision and recall; 0 where there is nothing on either side."""
    return 2 * shared / (first + second) if first + second else 0.0


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, a whole row of the table in one big integer."""
    places: dict[str, int] = {}
    for number, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << number
    everywhere = (1 << len(first)) - 1
    row = everywhere
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everywhere
    return len(first) - row.bit_count()


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word)) if word.isascii() and len(word) >= STEMMED_LENGTH else word


@cache
def _stemmer() -> PorterStemmer:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
