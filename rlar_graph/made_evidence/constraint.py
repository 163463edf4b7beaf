"""A constraint: one verifiable demand of a prompt, and the makers of rules that read such demands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from rlar_graph.made_evidence.counts import NUMBER, RANGE, RELATION, bounds, value_of

I = re.IGNORECASE  # noqa: E741 - what re calls it
N = rf"(?P<number>{NUMBER})"
QUOTED = r"[\"“](?P<text>[^\"”“\n]{1,300})[\"”]"


@dataclass(frozen=True)
class Constraint:
    """A verifiable constraint of a prompt."""

    instruction_id: str
    """Name of its checker, one of IFEval's."""
    kwargs: Mapping[str, object] = field(default_factory=dict)
    """The checker's parameters."""
    span: tuple[int, int] = (0, 0)
    """Where the prompt says so; (0, 0) where that is not known."""

    @property
    def key(self) -> str:
        """Return what makes two constraints the same: the checker and its parameters."""
        return f"{self.instruction_id} {sorted(self.kwargs.items())!r}"


Rule: TypeAlias = Callable[[str], Iterator[Constraint]]
"""Yields the constraints of one sort that a prompt states."""


_OF_A_PART = re.compile(r"\b(?:each|every|per)\b", I)


def sentence_start(prompt: str, place: int) -> int:
    """Return where the sentence around a place begins; what stands there tells what a passage is about."""
    return max(prompt.rfind(mark, 0, place) for mark in ".?!\n") + 1


def plain(instruction_id: str, pattern: str, unless: str = "") -> Rule:
    """Return a rule for a constraint without parameters.

    Args:
        instruction_id: The checker.
        pattern: What states the constraint.
        unless: What in the passage, or before it in its sentence, shows that something else is meant.
    """
    compiled, other = re.compile(pattern, I), re.compile(unless, I) if unless else None

    def apply(prompt: str) -> Iterator[Constraint]:
        for found in compiled.finditer(prompt):
            if other is None or not other.search(prompt, sentence_start(prompt, found.start()), found.end()):
                yield Constraint(instruction_id, {}, found.span())
                return

    return apply


def counted(instruction_id: str, noun: str, relation: str, number: str, *, times: bool = False) -> Rule:
    """Return a rule for a count of something with a relation, such as words or sentences.

    Args:
        instruction_id: The checker.
        noun: Pattern of what is counted.
        relation: Name of its parameter for the relation.
        number: Name of its parameter for the number.
        times: Also read "... at least 5 times" behind the noun.
    """
    patterns = [
        rf"\b{RELATION}\s+{N}(?P<after>\s?\+)?[\s-]+{noun}",
        rf"\b{N}(?P<after>\s?\+|\s+or (?:more|fewer|less))[\s-]+{noun}",
        rf"\b{N}[\s-]+{noun}(?P<after>\s+(?:or more|or less|or fewer|or longer))\b",
        rf"\bnumber of {noun}[^.\n]{{0,60}}?\b{RELATION}\s+{N}(?P<after>\s?\+)?",
    ]
    if times:
        patterns.append(rf"\b{noun}[^.\n]{{0,60}}?\b{RELATION}\s+{N}(?P<after>\s?\+)?\s+times?\b")
    compiled = [re.compile(pattern, I) for pattern in patterns]
    ranged = [
        re.compile(rf"\b{RANGE}[\s-]+{noun}", I),
        re.compile(rf"\bnumber of {noun}[^.\n]{{0,60}}?\b{RANGE}", I),
    ]

    def apply(prompt: str) -> Iterator[Constraint]:
        for pattern in ranged:
            for found in _of_the_whole(pattern, prompt):
                low, high = value_of(found["low"]), value_of(found["high"])
                yield Constraint(instruction_id, {relation: "at least", number: low}, found.span())
                yield Constraint(instruction_id, {relation: "less than", number: high + 1}, found.span())
        for pattern in compiled:
            for found in _of_the_whole(pattern, prompt):
                groups = found.groupdict()
                asked = bounds(groups.get("relation"), value_of(found["number"]), groups["after"] or "")
                for word, bound in asked:
                    yield Constraint(instruction_id, {relation: word, number: bound}, found.span())

    return apply


def _of_the_whole(pattern: re.Pattern[str], prompt: str) -> Iterator[re.Match[str]]:
    """Yield matches that do not speak of each part: a count per paragraph or line says nothing of the whole."""
    for found in pattern.finditer(prompt):
        if not _OF_A_PART.search(prompt, sentence_start(prompt, found.start()), found.end() + 15):
            yield found


def numbered(instruction_id: str, parameter: str, *patterns: str) -> Rule:
    """Return a rule for a number of parts; the first pattern that is found counts."""
    compiled = [re.compile(pattern, I) for pattern in patterns]

    def apply(prompt: str) -> Iterator[Constraint]:
        for pattern in compiled:
            found = pattern.search(prompt)
            if found:
                yield Constraint(instruction_id, {parameter: value_of(found["number"])}, found.span())
                return

    return apply
