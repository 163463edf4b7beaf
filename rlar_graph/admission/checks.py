"""What the gate asks of a reward tool, one function per check, and the figures it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from rlar_graph.admission.report import Check, Failure
from rlar_graph.admission.trial import Trial, group_key
from rlar_graph.probes import Expect, Probe, Transform
from rlar_graph.types import Verdict

GRADED_DRIFT = 0.1
WILSON_Z = 1.96


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the gate asks for."""

    true_positive_rate: float = 0.9
    """Share of good probes that must be accepted (tools that are not graded)."""
    true_negative_rate: float = 0.9
    """Share of bad probes that must not be accepted (tools that are not graded)."""
    lower_bound: float = 0.0
    """What both rates' lower 95 % confidence bounds must reach as well; 0 asks for nothing."""
    order: float = 0.9
    """Share of (good, bad) pairs of one prompt that must be in order, ties counting half (graded tools)."""
    good: int = 20
    """Good probes needed for a verdict on the tool."""
    bad: int = 20
    """Bad probes needed."""
    hostile: int = 10
    """Hostile probes needed."""
    seconds_per_completion: float = 1.0
    """Mean wall-clock seconds a completion may take in the first, cold batch."""
    stability: float = 0.95
    """Share of probes whose verdict must survive each metamorphic change."""
    tolerance: float = 0.0
    """How far values may drift between runs: 0 for code, a little for networks in changing batches."""


def left_alone(trial: Trial) -> Check:
    """Return whether every rollout came back as it was given."""
    note = "a rollout was changed by the tool" if trial.mutated else "rollouts are as they were"
    return Check("rollouts left alone", not trial.mutated, note=note)


def in_time(trial: Trial, requirements: Requirements) -> Check:
    """Return the mean time of a completion in the first run."""
    mean = trial.seconds_per_completion
    return Check(
        "seconds per completion",
        mean <= requirements.seconds_per_completion,
        round(mean, 6),
        requirements.seconds_per_completion,
        f"slowest alone {trial.slowest_alone:.3g} s",
    )


def deterministic(trial: Trial, requirements: Requirements) -> Check:
    """Compare every later run with the first, probe by probe."""
    if trial.too_slow:
        return Check("deterministic", False, note="not tried, since the tool is too slow")
    failures, compared = [], 0
    for run, index, verdict in trial.later:
        first = trial.first[index]
        compared += 1
        if not _alike(first, verdict, requirements.tolerance):
            said = f"{_words(first)} at first and {_words(verdict)} {run}"
            failures.append(Failure.of("deterministic", trial.probes[index], said))
    share = 1 - len(failures) / compared if compared else 1.0
    note = "repeated, in another order, and alone"
    return Check.on_probes("deterministic", not failures, share, 1.0, note, failures)


def _alike(one: Verdict, other: Verdict, tolerance: float) -> bool:
    if one.value is None or other.value is None:
        return one.value is other.value
    return abs(one.value - other.value) <= tolerance


def _words(verdict: Verdict) -> str:
    return f"abstained ({verdict.abstained})" if verdict.value is None else f"{verdict.value:.3g}"


def wilson_lower(successes: int, trials: int) -> float:
    """Return the lower end of the 95 % Wilson interval of a rate; 0 without trials."""
    if trials == 0:
        return 0.0
    rate, square = successes / trials, WILSON_Z**2
    centre = rate + square / (2 * trials)
    spread = WILSON_Z * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials**2))
    return max(0.0, (centre - spread) / (1 + square / trials))


class Discrimination:
    """The checks that rest on what probes expect.

    Args:
        graded: Whether the tool is held to the order of its values instead of their side of 0.5.
        probes: The probes.
        requirements: What the checks ask for.
    """

    def __init__(self, graded: bool, probes: Sequence[Probe], requirements: Requirements) -> None:
        self._graded = graded
        self._probes = probes
        self._requirements = requirements
        self._groups = [group_key(probe.rollout) for probe in probes]

    def checks(self, verdicts: Sequence[Verdict]) -> list[Check]:
        """Return the checks in the order of a report."""
        wanted = self._requirements
        if self._graded:
            rates = [self._order(verdicts)]
        else:
            rates = [
                self._rate("true positives", "good", verdicts, True, wanted.true_positive_rate),
                self._rate("true negatives", "bad", verdicts, False, wanted.true_negative_rate),
            ]
        return [self._enough(), *rates, self._hostile(verdicts), self._abstains(verdicts)]

    def stable(self, change: Transform, before: Sequence[Verdict], after: dict[int, Verdict]) -> Check:
        """Compare the verdicts on changed completions, by probe, with those on the originals."""
        name = f"unchanged by {change.name}"
        failures = [
            Failure.of(name, self._probes[index], f"{_words(before[index])}, then {_words(verdict)}")
            for index, verdict in after.items()
            if not self._kept(before[index], verdict)
        ]
        share = 1 - len(failures) / len(after) if after else 0.0
        wanted = self._requirements.stability
        note = f"{len(after) - len(failures)} of {len(after)}" if after else "it applies to no probe"
        return Check.on_probes(name, share >= wanted, share, wanted, note, failures)

    def _kept(self, before: Verdict, after: Verdict) -> bool:
        if self._graded:
            return _alike(before, after, GRADED_DRIFT)
        if before.value is None or after.value is None:
            return before.value is after.value
        return (before.value >= 0.5) == (after.value >= 0.5)

    def _members(self, expect: Expect) -> list[int]:
        return [index for index, probe in enumerate(self._probes) if probe.expect == expect]

    def _failures(
        self, name: str, expect: Expect, verdicts: Sequence[Verdict], right: Callable[[int], bool]
    ) -> list[Failure]:
        return [
            Failure.of(name, self._probes[index], _words(verdicts[index]))
            for index in self._members(expect)
            if not right(index)
        ]

    def _enough(self) -> Check:
        wanted = self._requirements
        needed: dict[Expect, int] = {"good": wanted.good, "bad": wanted.bad, "hostile": wanted.hostile}
        found = {expect: len(self._members(expect)) for expect in needed}
        short = [
            f"{found[expect]} {expect} of {number}"
            for expect, number in needed.items()
            if found[expect] < number
        ]
        note = f"too few to tell: {', '.join(short)}" if short else ""
        return Check("enough probes", not short, note=note)

    def _rate(
        self, name: str, expect: Expect, verdicts: Sequence[Verdict], accepted: bool, wanted: float
    ) -> Check:
        """Return the share of probes that were accepted, or were not, as they must be."""
        failures = self._failures(
            name, expect, verdicts, lambda index: self._accepted(verdicts[index]) is accepted
        )
        members = self._members(expect)
        right = len(members) - len(failures)
        rate, bound = right / len(members) if members else 0.0, wilson_lower(right, len(members))
        abstained = sum(verdicts[index].value is None for index in members)
        note = f"{right} of {len(members)}, lower 95 % bound {bound:.2f}, {abstained} abstained"
        passed = rate >= wanted and bound >= self._requirements.lower_bound
        return Check.on_probes(name, passed, rate, wanted, note, failures)

    @staticmethod
    def _accepted(verdict: Verdict) -> bool:
        return verdict.value is not None and verdict.value >= 0.5

    def _order(self, verdicts: Sequence[Verdict]) -> Check:
        """Return the share of (good, bad) pairs of one prompt that are in order: the AUC within prompts."""
        points, failures = 0.0, []
        pairs = [
            (good, bad)
            for good, bad in product(self._members("good"), self._members("bad"))
            if self._groups[good] == self._groups[bad]
        ]
        for good, bad in pairs:
            better, worse = _rank(verdicts[good]), _rank(verdicts[bad])
            points += 1.0 if better > worse else 0.5 if better == worse else 0.0
            if better <= worse:
                said = f"{_words(verdicts[good])}, and to a bad one {_words(verdicts[bad])}"
                failures.append(Failure.of("order", self._probes[good], said))
        auc = points / len(pairs) if pairs else 0.0
        note = f"{len(pairs)} pairs" if pairs else "no prompt has both good and bad probes"
        return Check.on_probes(
            "order", auc >= self._requirements.order, auc, self._requirements.order, note, failures
        )

    def _hostile(self, verdicts: Sequence[Verdict]) -> Check:
        """Count the hostile probes that were accepted; one is too many."""
        bars = self._bars(verdicts) if self._graded else {}
        failures = self._failures(
            "hostile accepted",
            "hostile",
            verdicts,
            lambda index: _rank(verdicts[index]) < bars.get(self._groups[index], bars.get("", 0.5)),
        )
        note = f"of {len(self._members('hostile'))}"
        return Check.on_probes("hostile accepted", not failures, len(failures), 0, note, failures)

    def _bars(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        """Return the median good value by prompt, and of all under ''."""
        good: dict[str, list[float]] = {}
        for index in self._members("good"):
            value = verdicts[index].value
            if value is not None:
                good.setdefault(self._groups[index], []).append(value)
                good.setdefault("", []).append(value)
        return {group: _median(values) for group, values in good.items()}

    def _abstains(self, verdicts: Sequence[Verdict]) -> Check:
        failures = self._failures(
            "abstains", "abstain", verdicts, lambda index: verdicts[index].value is None
        )
        count = len(self._members("abstain"))
        share = 1 - len(failures) / count if count else 1.0
        note = f"on {count - len(failures)} of {count} completions it cannot judge"
        return Check.on_probes("abstains", not failures, share, 1.0, note, failures)


def _rank(verdict: Verdict) -> float:
    """Return a number that orders verdicts; an abstention is below every value."""
    return -1.0 if verdict.value is None else verdict.value


def _median(values: Sequence[float]) -> float:
    """Return the median; the standard library's costs an import of 15 ms."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
