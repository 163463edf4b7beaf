"""What the gate asks of a judge besides what it asks of every tool: does it say the same again, and in the other order?

Verdicts are cached, so a judge in service never contradicts itself; but one that would is guessing, and one whose
verdict hangs on what is listed first looks at the list. The gate's own repeat cannot see either, for the cache answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from rlar_graph.admission import Check, Failure
from rlar_graph.admission.trial import group_key
from rlar_graph.probes import Probe
from rlar_graph.rewards.judge import Judge
from rlar_graph.types import Rollout, Verdict

SAMPLE = 20
"""Probes asked again, and once more in the other order: each costs a call or more."""

STEADY = 0.9
"""Share of them whose verdict must stay."""

DRIFT = 0.2
"""How far a graded value may move and count as the same."""


def steadiness(judge: Judge, probes: Sequence[Probe], sample: int = SAMPLE) -> tuple[Check, Check]:
    """Return two checks: the judge's verdicts on some good and bad probes when repeated, and in the other order.

    Args:
        judge: The judge, after the gate has run it on the probes: what it said there is not asked again.
        probes: The probes.
        sample: How many of them at most, half of them good where there are enough.
    """
    picked = _picked(probes, sample)
    before, graded = _verdicts(judge, picked), judge.spec.graded
    again = _verdicts(judge.asked_anew(), picked)
    swapped = _verdicts(judge.asked_in_the_other_order(), picked)
    return (
        _same("repeated without the cache", graded, picked, before, again),
        _same("asked in the other order", graded, picked, before, swapped),
    )


def _picked(probes: Sequence[Probe], sample: int) -> list[Probe]:
    """Return good and bad probes, drawn by a seed so that a report can be reproduced."""
    random = Random(0)  # noqa: S311 - a choice, not a secret
    sides = [[probe for probe in probes if probe.expect == expect] for expect in ("good", "bad")]
    half = sample // 2
    return [probe for side in sides for probe in random.sample(side, min(half, len(side)))]


def _verdicts(judge: Judge, probes: Sequence[Probe]) -> list[Verdict]:
    """Return a judge's verdict on each probe, those of one prompt asked as one rollout."""
    members: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        members.setdefault(group_key(probe.rollout), []).append(number)
    batch: list[Rollout] = [
        replace(
            probes[numbers[0]].rollout, completions=tuple(probes[number].completion for number in numbers)
        )
        for numbers in members.values()
    ]
    verdicts: dict[int, Verdict] = {}
    for numbers, row in zip(members.values(), judge.score(batch), strict=True):
        verdicts.update(zip(numbers, row, strict=True))
    return [verdicts[number] for number in range(len(probes))]


def _same(
    name: str, graded: bool, probes: Sequence[Probe], before: Sequence[Verdict], after: Sequence[Verdict]
) -> Check:
    """Compare verdicts probe by probe."""
    failures = [
        Failure.of(name, probe, f"{_words(first)}, then {_words(second)}")
        for probe, first, second in zip(probes, before, after, strict=True)
        if not _agree(first, second, graded)
    ]
    share = 1 - len(failures) / len(probes) if probes else 0.0
    note = f"{len(probes) - len(failures)} of {len(probes)}" if probes else "there is no good or bad probe"
    return Check.on_probes(name, share >= STEADY, share, STEADY, note, failures)


def _agree(first: Verdict, second: Verdict, graded: bool) -> bool:
    if first.value is None or second.value is None:
        return first.value is second.value
    if graded:
        return abs(first.value - second.value) <= DRIFT
    return (first.value >= 0.5) == (second.value >= 0.5)


def _words(verdict: Verdict) -> str:
    return f"abstained ({verdict.abstained})" if verdict.value is None else f"{verdict.value:.3g}"
