"""What a verifier said before, by what decides it: a bounded number of bytes, the oldest entries leaving first."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping

from rlar_graph.types import Verdict

MEMO_BYTES = 6 << 20
"""Of one verifier. A process has a handful of them, and what is asked again is mostly asked again soon."""
LARGEST_BYTES = 16 << 10
"""Larger entries are not kept: a few of them would push out all others, and hardly come again."""
ENTRY_BYTES = 400
"""What an entry takes beside its key's texts, measured: the table, the tuples, the verdict."""


class Memo:
    """Verdicts by key. Safe to share between threads.

    Args:
        limit: Bytes it may take, about.
    """

    def __init__(self, limit: int = MEMO_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[Hashable, tuple[Verdict, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def bytes(self) -> int:
        """Return about how many bytes it takes."""
        return self._bytes

    def get(self, key: Hashable) -> Verdict | None:
        """Return what was said, if it is still known."""
        found = self._verdicts.get(key)
        return None if found is None else found[0]

    def keep(self, verdicts: Mapping[Hashable, Verdict]) -> None:
        """Keep verdicts for later; abstentions are not kept, a second try may succeed."""
        sized = [(key, verdict, _size(key)) for key, verdict in verdicts.items() if verdict.abstained is None]
        with self._lock:
            for key, verdict, size in sized:
                if size <= LARGEST_BYTES and key not in self._verdicts:
                    self._verdicts[key] = verdict, size
                    self._bytes += size
            while self._bytes > self._limit:
                _, (_, size) = self._verdicts.popitem(last=False)
                self._bytes -= size


def _size(key: Hashable) -> int:
    """Return about how many bytes an entry takes."""
    parts = key if isinstance(key, tuple) else (key,)
    return ENTRY_BYTES + sum(_text_size(part) for part in parts)


def _text_size(part: object) -> int:
    if isinstance(part, tuple):
        return sys.getsizeof(part) + sum(map(_text_size, part))
    return sys.getsizeof(part)
