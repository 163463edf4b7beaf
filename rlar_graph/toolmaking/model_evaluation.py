"""The evaluation of a reward model on one family: measured, calibrated, and told in an admission report.

The network has learnt from none of the probes, so all of them may decide. A user's labels come first: where there are
enough of them they decide alone. The calibration is fitted on one half of the prompts and checked on the other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from random import Random
from typing import get_args

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.admission.report import attacks_of
from rlar_graph.errors import ToolError
from rlar_graph.probes import LEADING_PROSE, OUTER_WHITESPACE, Expect, Probe, Transform
from rlar_graph.rewards.base import RewardTool
from rlar_graph.rewards.calibration import Calibration, fit
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.toolmaking import model_checks as checks
from rlar_graph.toolmaking.candidates import judged
from rlar_graph.toolmaking.model_checks import Accuracy, Pair
from rlar_graph.types import Verdict

PER_PROMPT = 12
"""Pairs of one prompt that count at most."""
ALONE = 12
"""Completions asked again by themselves."""
CHANGED_PAIRS = 60
SECONDS = 1.0

BULLET = Transform("a bullet in front", lambda probe: f"- {probe.completion}")
CHANGES = (OUTER_WHITESPACE, BULLET, LEADING_PROSE)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of measuring one reward model."""

    source: ModelSource
    """The model, calibrated where that was possible."""
    report: AdmissionReport
    """Every check."""
    accuracy: Accuracy
    """Its pair accuracy."""
    seconds_per_completion: float = 0.0
    """How long it takes, loading apart."""

    @property
    def rank(self) -> tuple[float, float, int, str]:
        """Return what orders evaluations, the best last: surely right, right, small, then by name."""
        return (
            round(self.accuracy.lower, 2),
            round(self.accuracy.mean, 3),
            -self.source.weight_bytes,
            self.source.repo,
        )


def pairs_of(probes: Sequence[Probe], trusted: frozenset[int] = frozenset()) -> list[Pair]:
    """Return the pairs of good and bad completions of each prompt.

    Args:
        probes: The probes.
        trusted: Places of those that a user labelled; where they make pairs enough, they decide alone.
    """
    if trusted:
        own = pairs_of([probe for place, probe in enumerate(probes) if place in trusted])
        places = sorted(trusted)
        if len({pair.prompt for pair in own}) >= checks.PROMPTS_NEEDED and len(own) >= checks.PAIRS_NEEDED:
            return [Pair(pair.prompt, places[pair.better], places[pair.worse]) for pair in own]
    sides: dict[str, dict[str, list[int]]] = {}
    for place, probe in enumerate(probes):
        sides.setdefault(probe.rollout.prompt, {}).setdefault(probe.expect, []).append(place)
    found = []
    for prompt, by_side in sides.items():
        some = list(product(by_side.get("good", ()), by_side.get("bad", ())))
        if len(some) > PER_PROMPT:
            some = Random(0).sample(some, PER_PROMPT)  # noqa: S311 - a choice, not a secret
        found += [Pair(prompt, better, worse) for better, worse in some]
    return found


def evaluate(
    load: Callable[[ModelSource], RewardTool],
    source: ModelSource,
    probes: Sequence[Probe],
    *,
    name: str,
    wanted: float,
    trusted: frozenset[int] = frozenset(),
) -> Evaluation:
    """Measure a reward model on a family's probes.

    Args:
        load: Returns the tool that a source makes.
        source: The model, not calibrated.
        probes: The family's probes.
        name: Name of the tool it would be.
        wanted: Pair accuracy it must reach.
        trusted: Places of the probes that a user labelled.
    """
    started = time.perf_counter()
    pairs = pairs_of(probes, trusted)
    nothing = Accuracy(0.0, 0.0, 1.0, 0, len(pairs))
    try:
        measured = _measured(load, source, probes, pairs, wanted)
    except ToolError as error:
        found = [Check("loads and runs", False, note=str(error)[:600])]
        measured = Evaluation(source, _report(name, source, probes, found, 0.0), nothing)
    seconds = round(time.perf_counter() - started, 4)
    report = _report(name, measured.source, probes, measured.report.checks, seconds)
    return replace(measured, report=report)


def _measured(
    load: Callable[[ModelSource], RewardTool],
    source: ModelSource,
    probes: Sequence[Probe],
    pairs: Sequence[Pair],
    wanted: float,
) -> Evaluation:
    tool = load(source)
    judged(tool, probes[:1])  # loads it, so that the time below is that of reading
    began = time.perf_counter()
    verdicts = judged(tool, probes)
    pace = (time.perf_counter() - began) / max(1, len(probes))
    order = {place: checks.order_of(verdict) for place, verdict in enumerate(verdicts)}
    accuracy = checks.accuracy_of(pairs, order)
    calibration, calibrated = _calibrated(probes, verdicts, pairs, wanted)
    found = [
        Check("loads and runs", True, note=source.label),
        checks.answered(probes, verdicts),
        checks.enough(accuracy),
        checks.ordered(accuracy, probes, pairs, order, wanted),
        checks.beats_length(accuracy, probes, pairs),
        checks.length_bias(probes, pairs, order),
        *(_stays(tool, change, probes, pairs, order) for change in CHANGES),
        checks.hostile(probes, order),
        checks.steady(order, _alone(tool, probes)),
        calibrated,
        Check("seconds per completion", pace <= SECONDS, round(pace, 6), SECONDS),
    ]
    final = replace(source, calibration=calibration) if calibration is not None else source
    return Evaluation(final, _report("", final, probes, found, 0.0), accuracy, pace)


def _stays(
    tool: RewardTool,
    change: Transform,
    probes: Sequence[Probe],
    pairs: Sequence[Pair],
    order: Mapping[int, float],
) -> Check:
    """Return whether pairs stay in order when both completions are written a little differently."""
    some = [pair for pair in pairs if order[pair.better] > order[pair.worse]][:CHANGED_PAIRS]
    places = sorted({place for pair in some for place in (pair.better, pair.worse)})
    changed = [replace(probes[place], completion=change.apply(probes[place]) or "") for place in places]
    verdicts = judged(tool, changed)
    after = {place: checks.order_of(verdict) for place, verdict in zip(places, verdicts, strict=True)}
    return checks.stays(change.name, some, order, after)


def _alone(tool: RewardTool, probes: Sequence[Probe]) -> dict[int, float]:
    """Ask about some completions again, each by itself."""
    places = Random(0).sample(range(len(probes)), min(ALONE, len(probes)))  # noqa: S311 - a choice, not a secret
    return {place: checks.order_of(judged(tool, [probes[place]])[0]) for place in places}


def _calibrated(
    probes: Sequence[Probe], verdicts: Sequence[Verdict], pairs: Sequence[Pair], wanted: float
) -> tuple[Calibration | None, Check]:
    """Fit a calibration on one half of the prompts and check it on the other."""
    prompts = sorted({pair.prompt for pair in pairs}, key=_shuffled)
    fitted = frozenset(prompts[: len(prompts) // 2])
    sides: dict[tuple[bool, str], list[float]] = {}
    places = sorted({place for pair in pairs for place in (pair.better, pair.worse)})
    for place in places:
        raw = verdicts[place].raw
        if raw is not None:
            probe = probes[place]
            sides.setdefault((probe.rollout.prompt in fitted, probe.expect), []).append(raw)
    calibration = fit(sides.get((True, "good"), []), sides.get((True, "bad"), []))
    check = checks.spread_out(
        calibration,
        sides.get((False, "good"), []),
        sides.get((False, "bad"), []),
        len(prompts) - len(fitted),
        wanted,
    )
    return calibration, check


def _shuffled(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()


def _report(
    name: str, source: ModelSource, probes: Sequence[Probe], found: Sequence[Check], seconds: float
) -> AdmissionReport:
    text = source.to_json().encode("utf-8", "surrogatepass")
    rows = [[repr(probe.rollout), probe.completion, probe.expect] for probe in probes]
    return AdmissionReport(
        tool=name,
        kind="reward_model",
        content_hash=hashlib.sha256(text).hexdigest(),
        graded=True,
        probes={expect: sum(probe.expect == expect for probe in probes) for expect in get_args(Expect)},
        probes_hash=hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        seconds=seconds,
        checks=tuple(found),
        attacks=attacks_of(probes),
    )


def outdone(evaluation: Evaluation, winner: Evaluation) -> Evaluation:
    """Return an evaluation whose report says that another model did better."""
    note = (
        f"{winner.source.label} orders {winner.accuracy.mean:.3f} of the pairs rightly"
        f" (at least {winner.accuracy.lower:.3f})"
    )
    lost = Check("best of those measured", False, evaluation.accuracy.mean, winner.accuracy.mean, note)
    return replace(evaluation, report=replace(evaluation.report, checks=(*evaluation.report.checks, lost)))
