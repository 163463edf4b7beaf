"""What the learned router sees of a prompt: its words and pairs of words, hashed, and how many of them it knows."""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

WIDTH = 8_192
"""Columns into which words and pairs of words are hashed."""

WORD_BITS = 1 << 17
"""Places into which known words are hashed."""

STRANGE = 0.05
"""Share of held-out prompts that count as strange: those with the fewest known words."""

HEAD_CHARS, TAIL_CHARS = 800, 400
"""Characters from either end of a prompt that are looked at."""

FOLDS = 5
"""Parts of the labels that are held out in turn."""

_TOKEN = re.compile(r"[^\W\d_]+|\d|[?!$\\{}|=+*/^<>\n\"]")


def features_of(texts: Sequence[str]) -> Matrix:
    """Return one unit-length row per text: hashed words, pairs of words, and signs such as ``?`` or ``$``."""
    import numpy as np

    rows = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        tokens = _tokens(text)
        grams = Counter(tokens)
        grams.update(f"{left} {right}" for left, right in itertools.pairwise(tokens))
        grams[f"length {len(text).bit_length()}"] = grams["always"] = 1
        for gram, count in grams.items():
            code = zlib.crc32(gram.encode("utf-8", "replace"))
            row[code % WIDTH] += (1.0 if code & 0x8000_0000 else -1.0) * (1.0 + np.log(count))
        row /= np.linalg.norm(row) or 1.0
    return rows


def _tokens(text: str) -> list[str]:
    """Return words and signs at both ends of a text."""
    ends = text if len(text) <= HEAD_CHARS + TAIL_CHARS else f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    return _TOKEN.findall(ends.lower())


def words_of(text: str) -> list[int]:
    """Return the different words of a text, as places among the known ones."""
    words = {token for token in _tokens(text) if len(token) > 1}
    return [zlib.crc32(word.encode("utf-8", "replace")) % WORD_BITS for word in words]


def seen_in(words: Sequence[list[int]]) -> NDArray[np.bool_]:
    """Return which words occur in texts."""
    import numpy as np

    seen = np.zeros(WORD_BITS, dtype=np.bool_)
    for row in words:
        seen[row] = True
    return seen


def known_share(known: NDArray[np.bool_], words: list[int]) -> float:
    """Return the share of known words; a text without words has none."""
    return float(known[words].mean()) if words else 0.0


def least_known(words: Sequence[list[int]], folds: NDArray[np.int64]) -> float:
    """Return the share of known words that all but the strangest held-out prompts have, known from the others."""
    import numpy as np

    shares = np.zeros(len(words))
    for fold in range(FOLDS):
        known = seen_in([row for row, other in zip(words, folds, strict=True) if other != fold])
        for place in np.flatnonzero(folds == fold).tolist():
            shares[place] = known_share(known, words[place])
    return float(np.quantile(shares, STRANGE))


def fold_of(text: str) -> int:
    """Return the held-out part a prompt belongs to; prompts that begin alike are held out together."""
    return zlib.crc32(" ".join(text.lower().split()[:4]).encode("utf-8", "replace")) % FOLDS
