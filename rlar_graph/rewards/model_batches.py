"""Batches of completions for a network: like lengths together, as many tokens as fit, the longest first.

Padding is what a naive batch spends most of its time on; the longest batch first, so that what does not fit in memory
shows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

ROWS = 512
HEAD_SHARE = 4
"""One of this many tokens that are kept comes from the beginning; the rest is the end."""


def planned(lengths: Sequence[int], budget: int, rows: int = ROWS) -> list[list[int]]:
    """Return batches of indices, each of at most ``budget`` tokens with its padding, or of one sequence.

    Args:
        lengths: Tokens of each sequence.
        budget: Most tokens of a batch, padding included.
        rows: Most sequences of a batch.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        last = batches[-1] if batches else []
        if last and len(last) < rows and lengths[last[0]] * (len(last) + 1) <= budget:
            last.append(index)
        else:
            batches.append([index])
    return batches


def shortened(tokens: Sequence[int], longest: int) -> list[int]:
    """Return at most ``longest`` tokens: the beginning, where the task stands, and the end, where the answer does."""
    if len(tokens) <= longest:
        return list(tokens)
    head = longest // HEAD_SHARE
    return [*tokens[:head], *tokens[len(tokens) - (longest - head) :]]
