"""The cache of what a judge said, in the registry, by the hash of all that decides it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlar_graph.types import Verdict

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

VERDICTS, ANSWERS = "judge", "judge_answer"
"""Kinds of entry: verdicts on completions, and the answers that judges committed to."""


class VerdictCache:
    """What was said before. The first entry of a key stays, so that all processes go by the same one.

    Args:
        registry: Where it is kept.
        kinds: Kinds of entry that are kept and looked up; others are forgotten at once.
    """

    def __init__(self, registry: Registry, kinds: Sequence[str] = (VERDICTS, ANSWERS)) -> None:
        self._registry, self._kinds = registry, kinds

    def look_up(self, kind: str, keys: Sequence[str]) -> dict[str, str]:
        """Return what is kept under the keys; those without are left out."""
        return self._registry.cached_all(kind, keys) if kind in self._kinds and keys else {}

    def keep(self, kind: str, values: Mapping[str, str]) -> dict[str, str]:
        """Keep values, and return what stands under their keys now: another process may have been first."""
        if kind not in self._kinds or not values:
            return dict(values)
        self._registry.cache_all(kind, values)
        return {**values, **self._registry.cached_all(kind, list(values))}


def digest(*parts: str) -> str:
    """Return the key of all that decides an entry."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def to_text(verdict: Verdict) -> str:
    """Return a verdict as it is kept."""
    return json.dumps(
        {"value": verdict.value, "abstained": verdict.abstained, "detail": dict(verdict.detail)}
    )


def from_text(text: str) -> Verdict:
    """Return the verdict that was kept."""
    kept = json.loads(text)
    return Verdict(kept["value"], kept["abstained"], None, kept["detail"])
