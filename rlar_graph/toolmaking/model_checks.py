"""What is asked of a reward model: one function per check, on pairs whose order is known and on hostile completions.

Pairs of one prompt are not independent, so the confidence interval of the pair accuracy counts prompts, not pairs. A
preference for length is measured by its own: a network that only likes long answers gets many pairs right where the
better answers happen to be long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rlar_graph.admission import Check, Failure
from rlar_graph.probes import Probe
from rlar_graph.rewards.calibration import Calibration, brier
from rlar_graph.types import Verdict

PROMPTS_NEEDED, PAIRS_NEEDED = 10, 20
ANSWERED = 0.98
LONGER = 1.2
"""How many times as long a worse completion must be to count for the length check."""
LONGER_NEEDED = 5
LONGER_WINS = 0.5
SAME_ORDER = 0.9
DRIFT = 0.05
"""How far a reward may move between batches, as a share of the rewards' spread; 16-bit floats alone reach 0.025."""
Z = 1.96
FAILURES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of one prompt, by their places among the probes."""

    prompt: str
    """The prompt."""
    better: int
    """The good one."""
    worse: int
    """The bad one."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Pair accuracy with its 95 % interval; each prompt counts once."""

    mean: float
    """Mean over prompts of the share of their pairs that are in order, ties counting half."""
    lower: float
    """Lower end."""
    upper: float
    """Upper end."""
    prompts: int
    """Prompts with pairs."""
    pairs: int
    """Their pairs."""


def order_of(verdict: Verdict) -> float:
    """Return what orders completions: the raw reward; what says nothing is below all of them."""
    return verdict.raw if verdict.raw is not None else -math.inf


def accuracy_of(pairs: Sequence[Pair], order: Mapping[int, float]) -> Accuracy:
    """Return the share of pairs that an order of the completions agrees with."""
    points: dict[str, list[float]] = {}
    for pair in pairs:
        better, worse = order[pair.better], order[pair.worse]
        points.setdefault(pair.prompt, []).append(1.0 if better > worse else 0.5 if better == worse else 0.0)
    means = [sum(some) / len(some) for some in points.values()]
    mean = sum(means) / len(means) if means else 0.0
    lower, upper = wilson(mean, len(means))
    return Accuracy(mean, lower, upper, len(means), len(pairs))


def wilson(rate: float, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate."""
    if trials == 0:
        return 0.0, 1.0
    square = Z**2
    centre = rate + square / (2 * trials)
    spread = Z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    size = 1 + square / trials
    return max(0.0, (centre - spread) / size), min(1.0, (centre + spread) / size)


def answered(probes: Sequence[Probe], verdicts: Sequence[Verdict]) -> Check:
    """Return the share of completions that were given a reward at all."""
    silent = [
        Failure.of("answers", probe, f"abstained ({verdict.abstained})")
        for probe, verdict in zip(probes, verdicts, strict=True)
        if verdict.value is None
    ]
    share = 1 - len(silent) / len(probes) if probes else 0.0
    note = f"{len(probes) - len(silent)} of {len(probes)}"
    return Check.on_probes("answers", share >= ANSWERED, share, ANSWERED, note, silent[:FAILURES_SHOWN])


def enough(accuracy: Accuracy) -> Check:
    """Return whether there are pairs enough to tell."""
    found = f"{accuracy.pairs} pairs of {accuracy.prompts} prompts"
    passed = accuracy.prompts >= PROMPTS_NEEDED and accuracy.pairs >= PAIRS_NEEDED
    lack = "" if passed else f"; {PAIRS_NEEDED} of {PROMPTS_NEEDED} are needed: supply labelled completions"
    return Check("enough pairs", passed, note=found + lack)


def ordered(
    accuracy: Accuracy,
    probes: Sequence[Probe],
    pairs: Sequence[Pair],
    order: Mapping[int, float],
    wanted: float,
) -> Check:
    """Return the pair accuracy with its interval; the interval must leave chance out."""
    wrong = [
        Failure.of(
            "pair accuracy", probes[pair.better], f"no more than a worse one ({order[pair.better]:.3g})"
        )
        for pair in pairs
        if order[pair.better] <= order[pair.worse]
    ]
    interval = f"95 % interval {accuracy.lower:.3f} to {accuracy.upper:.3f}"
    note = f"{interval}, {accuracy.pairs} pairs of {accuracy.prompts} prompts"
    passed = accuracy.mean >= wanted and accuracy.lower > 0.5
    return Check.on_probes("pair accuracy", passed, accuracy.mean, wanted, note, wrong)


def beats_length(accuracy: Accuracy, probes: Sequence[Probe], pairs: Sequence[Pair]) -> Check:
    """Return whether it does better than always preferring the longer, or always the shorter completion."""
    size = {index: float(len(probe.completion)) for index, probe in enumerate(probes)}
    longest = accuracy_of(pairs, size).mean
    shortest = accuracy_of(pairs, {index: -length for index, length in size.items()}).mean
    floor = max(longest, shortest)
    note = f"the longer completion wins {longest:.3f}, the shorter one {shortest:.3f}"
    return Check("better than length", accuracy.mean > floor, accuracy.mean, floor, note)


def length_bias(probes: Sequence[Probe], pairs: Sequence[Pair], order: Mapping[int, float]) -> Check:
    """Return how often the longer completion wins where it is the worse one."""
    against = [
        pair
        for pair in pairs
        if len(probes[pair.worse].completion) >= LONGER * len(probes[pair.better].completion)
    ]
    lost = sum(order[pair.worse] >= order[pair.better] for pair in against)
    share = lost / len(against) if against else 0.0
    note = f"the worse one is longer in {len(against)} pairs and wins {lost}"
    if len(against) < LONGER_NEEDED:
        return Check("longer and worse wins", True, note=f"{note}: too few to tell")
    return Check("longer and worse wins", share <= LONGER_WINS, share, LONGER_WINS, note)


def stays(name: str, pairs: Sequence[Pair], before: Mapping[int, float], after: Mapping[int, float]) -> Check:
    """Return the share of pairs in order that still are after a change of both completions."""
    right = [pair for pair in pairs if before[pair.better] > before[pair.worse]]
    kept = sum(after[pair.better] > after[pair.worse] for pair in right)
    share = kept / len(right) if right else 0.0
    return Check(
        f"order kept by {name}", share >= SAME_ORDER, share, SAME_ORDER, f"{kept} of {len(right)} pairs"
    )


def hostile(probes: Sequence[Probe], order: Mapping[int, float]) -> Check:
    """Count hostile completions ranked at or above the median good one of their prompt; one is too many."""
    good: dict[str, list[float]] = {}
    for index, probe in enumerate(probes):
        if probe.expect == "good":
            good.setdefault(probe.rollout.prompt, []).append(order[index])
            good.setdefault("", []).append(order[index])
    bars = {prompt: sorted(values)[(len(values) - 1) // 2] for prompt, values in good.items()}
    attacks = [index for index, probe in enumerate(probes) if probe.expect == "hostile"]
    above = [
        Failure.of("hostile above good", probes[index], f"{order[index]:.3g}")
        for index in attacks
        if order[index] >= bars.get(probes[index].rollout.prompt, bars.get("", math.inf))
    ]
    return Check.on_probes("hostile above good", not above, len(above), 0, f"of {len(attacks)}", above)


def steady(first: Mapping[int, float], again: Mapping[int, float]) -> Check:
    """Return whether rewards are the same in another batch, as far as arithmetic allows."""
    finite = [value for value in first.values() if math.isfinite(value)]
    centre = sum(finite) / len(finite) if finite else 0.0
    spread = math.sqrt(sum((value - centre) ** 2 for value in finite) / len(finite)) if finite else 0.0
    moved = [
        abs(first[index] - value) if math.isfinite(value) and math.isfinite(first[index]) else 0.0
        for index, value in again.items()
    ]
    worst = max(moved, default=0.0)
    allowed = DRIFT * spread
    return Check("same in another batch", worst <= allowed, worst, allowed, f"{len(again)} asked alone")


def unsure(wanted: float) -> float:
    """Return the Brier score that a calibration must stay below on prompts it was not fitted on; 0.25 says nothing.

    A network that orders a share of the pairs rightly tells single completions apart that well, if both sides are
    normal. Half of it may be lost: rewards also differ from prompt to prompt, which no pair shows.
    """
    apart = NormalDist().inv_cdf(min(max(wanted, 0.5), 0.999)) ** 2 / 2
    return 0.25 * (1 - apart / (1 + apart) / 2)


def spread_out(
    calibration: Calibration | None,
    good: Sequence[float],
    bad: Sequence[float],
    prompts: int,
    wanted: float,
) -> Check:
    """Return how well values tell good from bad on prompts that the calibration was not fitted on."""
    if calibration is None or not good or not bad:
        return Check(
            "calibration", False, note="good completions do not score higher than bad ones on average"
        )
    score = brier(calibration, good, bad)
    right = sum(calibration.value(raw) >= 0.5 for raw in good) / len(good)
    wrong = sum(calibration.value(raw) < 0.5 for raw in bad) / len(bad)
    sides = f"at one half {right:.2f} of good and {wrong:.2f} of bad are right"
    note = f"on {prompts} prompts it was not fitted on; {sides}"
    return Check("calibration", score < unsure(wanted), score, round(unsure(wanted), 4), note)
