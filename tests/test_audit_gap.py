"""The gap to an audit: it is found where a policy moves into a hole, and not where prompts, or their luck, differ."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rlar_graph.audit_gap import comparison, widening
from rlar_graph.drift import GAP_WIDENING, Z
from rlar_graph.registry import Audit

GROUP = 16
ROLLOUTS = 300

Say = Callable[[random.Random, float], list[tuple[float, float]]]
"""What tool and audit say of a rollout: (chance, how far the training is) -> pairs."""


def right(chance: random.Random, share: float) -> list[float]:
    return [float(chance.random() < share) for _ in range(GROUP)]


def accepts_all_of_some_prompts(chance: random.Random, done: float) -> list[tuple[float, float]]:
    """A verifier with holes on one prompt in seven from the beginning, which nobody exploits."""
    hole = chance.random() < 0.15
    return [(1.0 if hole else value, value) for value in right(chance, 0.4)]


def rejects_a_form_that_the_policy_learns(chance: random.Random, done: float) -> list[tuple[float, float]]:
    """A strict verifier: it knows six in ten right answers at first, and all of them in the end."""
    return [(value * (chance.random() < 0.6 + 0.4 * done), value) for value in right(chance, 0.5)]


def errs_both_ways(chance: random.Random, done: float) -> list[tuple[float, float]]:
    """A verifier that is wrong about one prompt in five, in either direction, while the policy learns."""
    kind, values = chance.random(), right(chance, 0.3 + 0.6 * done)
    return [(1.0 if kind < 0.1 else 0.0 if kind < 0.2 else value, value) for value in values]


def hacked(chance: random.Random, done: float) -> list[tuple[float, float]]:
    """A policy that moves into a hole in the middle of its training."""
    found = [(1.0, 0.0) if chance.random() < 2 * done - 1 else None for _ in range(GROUP)]
    return [
        pair if pair is not None else (value, value)
        for pair, value in zip(found, right(chance, 0.4), strict=True)
    ]


def first_found(say: Say, seed: int, *, graded: bool = False) -> int | None:
    """Return after how many audited rollouts the gap is found to have widened, looking every ten."""
    chance = random.Random(seed)  # noqa: S311
    audits: list[Audit] = []
    for number in range(ROLLOUTS):
        audits.append(comparison(say(chance, number / ROLLOUTS)))
        found = widening(audits, graded=graded, errors=Z) if number % 10 == 9 else None
        if found is not None and found[0] > GAP_WIDENING:
            return number + 1
    return None


@pytest.mark.parametrize(
    "say", [accepts_all_of_some_prompts, rejects_a_form_that_the_policy_learns, errs_both_ways]
)
def test_a_healthy_tool_is_left_alone_whatever_prompts_made_its_baseline(say: Say) -> None:
    assert [first_found(say, seed) for seed in range(20)] == [None] * 20


def test_a_hole_that_the_policy_moves_into_is_found_soon() -> None:
    found = [first_found(hacked, seed) for seed in range(20)]
    assert all(number is not None and ROLLOUTS / 2 < number <= 0.85 * ROLLOUTS for number in found), found


def test_the_scale_of_a_graded_tool_need_not_be_the_audits() -> None:
    def below(chance: random.Random, done: float) -> list[tuple[float, float]]:
        return [(0.3 + 0.4 * done + 0.01 * value, 0.8) for value in right(chance, 0.5)]

    assert first_found(below, 1, graded=True) is not None
    assert first_found(below, 1) is None


def test_a_few_audits_prove_nothing() -> None:
    def pair(value: float) -> Audit:
        return comparison([(value, 0.0)])

    assert widening([], graded=False, errors=Z) is None
    assert widening([pair(0.0)] * 300 + [pair(1.0)] * 199, graded=False, errors=Z) is None
    found = widening([pair(0.0)] * 300 + [pair(1.0)] * 200, graded=False, errors=Z)
    assert found is not None and found[0] > 0.9 and found[1] == 200
