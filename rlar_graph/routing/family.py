"""Families: which known family a prompt belongs to, on the hot path.

A family found by the planner is recognised by the sketch of its template, and by nothing less: a prompt that shares
most words with it but asks for something else is served by another tool or by none. A family that the trainer names
in ``data_source`` is taken at its word and needs no look at the prompt.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rlar_graph.routing.grouping import group
from rlar_graph.routing.signature import Evidence, Signature
from rlar_graph.routing.sketch import Sketch, line_of, sketch, words_of

__all__ = ["FamilyIndex", "found_key", "group", "sketch", "source_key"]


class KnownFamily(Protocol):
    """A family as the registry keeps it."""

    @property
    def key(self) -> str:
        """Its registry key."""
        ...

    @property
    def signature(self) -> str:
        """Key of the signature of its prompts."""
        ...

    @property
    def sketch(self) -> str:
        """Text of its sketch; empty for one that is told by its name."""
        ...


def source_key(data_source: str) -> str:
    """Return the key of a family that the data names."""
    return f"source:{data_source}"


def found_key(found: Sketch, evidence: Evidence) -> str:
    """Return the key of a family found by its template, the same in every process.

    Args:
        found: The template.
        evidence: What its prompts bring; with other evidence the same template needs another tool.
    """
    digest = hashlib.sha256(f"{evidence}\n{found}".encode())
    return f"family:{digest.hexdigest()[:16]}"


class FamilyIndex:
    """Recognises the prompts of known families. Never changes, so threads may share it.

    Args:
        records: Families, oldest first; those without a readable sketch are told by their name and left out here.
    """

    def __init__(self, records: Sequence[KnownFamily]) -> None:
        known = [(record, made) for record in records if (made := _read(record.sketch)) is not None]
        uses = Counter(word for _, made in known for word in set(_constant_words(made)))
        self._by_word: dict[str, list[tuple[str, Evidence, Sketch]]] = {}
        for record, made in known:
            # The rarest word of the template is what makes us look at the whole of it.
            word = min(_constant_words(made), key=lambda word: (uses[word], -len(word), word))
            evidence = Signature.parse(record.signature).evidence
            self._by_word.setdefault(word, []).append((record.key, evidence, made))
        self._telling = frozenset(self._by_word)

    def __bool__(self) -> bool:
        return bool(self._telling)

    def match(self, prompt: str, signature: Signature | None = None) -> str | None:
        """Return the key of the family that a prompt belongs to, the most particular one if several fit.

        Args:
            prompt: The prompt.
            signature: Its signature; families of other evidence are then left out.
        """
        if not self._telling:
            return None
        words = words_of(prompt)
        hits = self._telling.intersection(words)
        if not hits:
            return None
        line = line_of(words)
        fitting = [
            (made.words, key)
            for word in hits
            for key, evidence, made in self._by_word[word]
            if (signature is None or signature.evidence is evidence) and made.fits(line)
        ]
        return max(fitting)[1] if fitting else None


def _read(text: str) -> Sketch | None:
    """Return the sketch in a record, if there is one that this version reads."""
    try:
        return Sketch.parse(text) if text else None
    except ValueError:
        return None


def _constant_words(made: Sketch) -> list[str]:
    """Return the words of a template, the marks of the ends left out where there are others."""
    words = [word for segment in made.segments for word in segment.split()]
    return [word for word in words if len(word) > 1] or words
