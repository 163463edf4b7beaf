"""The gap between a tool's values and those of an independent audit, and how far it has widened since the beginning.

Completions of one rollout fail together, so what counts as chance is how far rollouts differ, not completions: with
completions as the sample, up to a quarter of simulated healthy tools were found to drift, by the luck of the few
prompts that made their baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rlar_graph.registry.workshop_records import Audit

BASELINE_AUDITS = 300
"""Audited completions that make the baseline."""
LEAST_AUDITS = 200
"""Audited completions that a comparison with it needs."""
AUDIT_WINDOW = 400
"""Audited completions that are compared with the baseline."""
GROUP = 8
"""Completions of one rollout: that many may be one piece of evidence, where audits were told in bulk."""


def comparison(pairs: Iterable[tuple[float, float]]) -> Audit:
    """Return the sums of a batch of audited completions: of one rollout, where rollouts can be told apart."""
    values = [(train, train - audit) for train, audit in pairs]
    return Audit(
        len(values),
        sum(train for train, _ in values),
        sum(gap for _, gap in values),
        sum(gap * gap for _, gap in values),
    )


def widening(audits: Sequence[Audit], *, graded: bool, errors: float) -> tuple[float, int] | None:
    """Return how far a tool's values have risen away from the audit's since the first audits.

    A policy that gets worse by both counts is no case of it, nor is a gap that was there from the beginning. Nor is a
    verifier that rejected right answers in a form the policy has learned since: where verdicts are given, only what the
    tool accepts beyond the audit counts.

    Args:
        audits: Audits of a version, oldest first.
        graded: Whether its values only order completions, on a scale that need not be the audit's.
        errors: Standard errors to take off for chance.

    Returns:
        The widening, at least, on a scale of 0 to 1, and on how many completions; None where nothing can be said.
    """
    first, rest = _until(audits, BASELINE_AUDITS)
    last, _ = _until(rest[::-1], AUDIT_WINDOW)
    baseline, recent = sum(first, Audit()), sum(last, Audit())
    if recent.pairs < LEAST_AUDITS or recent.train / recent.pairs < baseline.train / baseline.pairs:
        return None
    usual = baseline.gap / baseline.pairs
    widened = recent.gap / recent.pairs - (usual if graded else max(usual, 0.0))
    return widened - errors * math.hypot(standard_error(last), standard_error(first)), recent.pairs


def standard_error(audits: Sequence[Audit]) -> float:
    """Return the standard error of the mean gap over some audits.

    It is what audits, of a rollout each, differ by. No sample is so uniform that it is zero: one rollout more might be
    as far off as can be.
    """
    total = sum(audits, Audit())
    mean = total.gap / total.pairs
    completions = max(total.gap_squares / total.pairs - mean * mean, 1 / total.pairs) / total.pairs
    apart = sum((audit.gap - mean * audit.pairs) ** 2 for audit in audits)
    unseen = min(total.pairs / len(audits), GROUP)
    return math.sqrt(max(completions, (apart + unseen * unseen) / total.pairs**2))


def _until(audits: Sequence[Audit], pairs: int) -> tuple[Sequence[Audit], Sequence[Audit]]:
    """Return the first audits that together hold so many pairs, and the rest."""
    total = 0
    for number, audit in enumerate(audits):
        if total >= pairs:
            return audits[:number], audits[number:]
        total += audit.pairs
    return audits, ()
