"""What an abstention becomes in a trainer that knows only numbers: the group's mean, else a neutral value, flagged.

Zero would say "wrong" of a completion that nothing judged, and in a group it would move every advantage. The mean of
the others in the group leaves theirs as they are and gives this one none. Where an adapter sees one completion at a
time there is no group; then the neutral value stands in, and the flag beside it lets the trainer's log, or a filter,
tell it from a judgement.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rlar_graph.types import Score


@dataclass(frozen=True, slots=True)
class Settled:
    """A score as a number, whatever it was."""

    value: float
    """The score's value, or what stands in for it."""
    abstained: bool
    """Whether the value stands in for a missing one."""
    score: Score
    """The score as it was."""


def settle(scores: Sequence[Score], neutral: float) -> list[Settled]:
    """Turn the scores of one group into numbers.

    Args:
        scores: Scores of completions of one prompt, as many as the adapter sees.
        neutral: Stands in where no completion of the group has a value.
    """
    values = [score.value for score in scores if score.value is not None]
    standing_in = fmean(values) if values else neutral
    return [
        Settled(standing_in if score.value is None else score.value, score.value is None, score)
        for score in scores
    ]


def settle_groups(keys: Sequence[Hashable], scores: Sequence[Score], neutral: float) -> list[Settled]:
    """Turn scores into numbers, group by group.

    Args:
        keys: Names each score's group, e.g. its prompt.
        scores: As many scores.
        neutral: See :func:`settle`.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    settled: dict[int, Settled] = {}
    for members in groups.values():
        settled.update(zip(members, settle([scores[index] for index in members], neutral), strict=True))
    return [settled[index] for index in range(len(scores))]
