"""Calibration: raw rewards, on whatever scale a network has, to values in [0, 1].

A logistic curve with two numbers, fitted to completions known to be good or bad; it keeps the order. The raw figure is
kept beside the value, for trainers that normalise by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = 200
STEEPEST = 50.0
"""Most slope on standardised rewards: without a limit, separable data would make every value 0 or 1."""
PRIOR = 1.0
"""Weight of the pull of the standardised slope towards 1."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic curve."""

    slope: float = 1.0
    """How steep; above 0."""
    middle: float = 0.0
    """The raw reward of value one half."""

    def value(self, raw: float) -> float:
        """Return the value of a raw reward."""
        return sigmoid(self.slope * (raw - self.middle))


def sigmoid(number: float) -> float:
    """Return the logistic function, without overflow."""
    if number >= 0:
        return 1.0 / (1.0 + math.exp(-min(number, 700.0)))
    power = math.exp(max(number, -700.0))
    return power / (1.0 + power)


def fit(good: Sequence[float], bad: Sequence[float]) -> Calibration | None:
    """Return the curve that fits raw rewards of good and of bad completions best, both sides weighing the same.

    Returns:
        None where there is none: a side is empty, or good ones do not score higher.
    """
    if not good or not bad:
        return None
    everything = [*good, *bad]
    centre = (_mean(good) + _mean(bad)) / 2
    spread = math.sqrt(_mean([(raw - centre) ** 2 for raw in everything]))
    if spread == 0 or _mean(good) <= _mean(bad):
        return None
    rows = [((raw - centre) / spread, 1.0, 0.5 / len(good)) for raw in good]
    rows += [((raw - centre) / spread, 0.0, 0.5 / len(bad)) for raw in bad]
    slope, offset = _newton(rows, PRIOR / len(everything))
    if slope <= 0:
        return None
    return Calibration(slope / spread, centre - offset * spread / slope)


def _newton(rows: Sequence[tuple[float, float, float]], prior: float) -> tuple[float, float]:
    """Return slope and offset of the weighted logistic fit by damped Newton steps."""
    slope, offset = 1.0, 0.0
    for _ in range(STEPS):
        down_slope, down_offset = prior * (slope - 1.0), prior * offset
        curve_slope, curve_both, curve_offset = prior, 0.0, prior
        for place, target, weight in rows:
            chance = sigmoid(slope * place + offset)
            error, bend = weight * (chance - target), weight * max(chance * (1 - chance), 1e-9)
            down_slope += error * place
            down_offset += error
            curve_slope += bend * place * place
            curve_both += bend * place
            curve_offset += bend
        size = curve_slope * curve_offset - curve_both**2
        step_slope = (curve_offset * down_slope - curve_both * down_offset) / size
        step_offset = (curve_slope * down_offset - curve_both * down_slope) / size
        slope = min(max(slope - max(min(step_slope, 1.0), -1.0), -STEEPEST), STEEPEST)
        offset -= max(min(step_offset, 1.0), -1.0)
        if abs(step_slope) + abs(step_offset) < 1e-9:
            break
    return slope, offset


def brier(calibration: Calibration, good: Sequence[float], bad: Sequence[float]) -> float:
    """Return the mean squared distance of values from 1 and 0, both sides weighing the same; 0.25 says nothing."""
    right = _mean([(1 - calibration.value(raw)) ** 2 for raw in good])
    wrong = _mean([calibration.value(raw) ** 2 for raw in bad])
    return (right + wrong) / 2


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0
