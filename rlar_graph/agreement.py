"""Agreement: whether answers that were given independently are the same answer, however they are written.

Models rarely write an answer twice in the same way, so equality of texts would see disagreement everywhere. Compared
are final answers, as the built-in verifiers find and compare them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rlar_graph.rewards.verifiers.exact_maths import decide
from rlar_graph.rewards.verifiers.final_answer import final_answer, spoken
from rlar_graph.rewards.verifiers.maths_comparison import Ruling

COMPARED_CHARS = 2_000

_EDGES = " \t\r\n.\"'`*_"
_LOOSE = re.compile(r"\W+")


@dataclass(frozen=True, slots=True)
class Majority:
    """The answer that most of some independent attempts gave."""

    answer: str
    """The answer, as the first of those attempts wrote it."""
    votes: int
    """How many attempts gave it."""
    attempts: int
    """How many there were."""

    @property
    def share(self) -> float:
        """Return the share of attempts that gave it."""
        return self.votes / self.attempts

    def __str__(self) -> str:
        return f"{self.votes} of {self.attempts} independent answers"


def said(completion: str) -> str:
    """Return what a completion says, without its thoughts; '' where a thought never ends."""
    bounds = spoken(completion)
    return completion[slice(*bounds)].strip() if bounds else ""


def answer_of(completion: str) -> str:
    """Return the final answer of a completion where it marks one, else all that it says."""
    text = said(completion)
    found = final_answer(text)
    return found.text if found is not None and found.form in ("boxed", "tag", "hash", "phrase") else text


def same(left: str, right: str) -> bool:
    """Say whether two answers are surely the same: equal but for case, spaces and marks around, or equal in value."""
    first, second = _normal(left), _normal(right)
    if first == second:
        return bool(first)
    if max(len(first), len(second)) > COMPARED_CHARS or not (first and second):
        return False
    return decide(left.strip(), right.strip()) is Ruling.EQUAL


def might_be_same(left: str, right: str) -> bool:
    """Say whether two answers cannot be told apart for sure: alike but for punctuation, or one holds the other."""
    first, second = (_LOOSE.sub(" ", text.casefold()).strip() for text in (left, right))
    if first == second or same(left, right):
        return True
    if _is_number(left) and _is_number(right):
        return False
    return f" {first} " in f" {second} " or f" {second} " in f" {first} "


def majority(answers: Sequence[str]) -> Majority | None:
    """Return the answer that most attempts agree on; None where there is no answer. The earlier one wins a tie."""
    groups: list[list[str]] = []
    for answer in answers:
        if not answer.strip():
            continue
        home = next((group for group in groups if same(group[0], answer)), None)
        if home is None:
            groups.append([answer])
        else:
            home.append(answer)
    if not groups:
        return None
    largest = max(groups, key=len)
    return Majority(largest[0].strip(), len(largest), len(answers))


def _normal(text: str) -> str:
    return " ".join(text.split()).strip(_EDGES).casefold()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
