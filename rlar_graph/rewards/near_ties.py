"""Near ties of a reward model, put to a judge: off unless the settings name one, and never more than a share of calls.

A reward model is least sure where two completions of one prompt score alike, and there a strong judge helps most:
9 % of the pairs brought more than half of the gain of asking it always. The judge decides the order among the tied
alone; the values stay the reward model's own, so that a rollout is on one scale.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rlar_graph.errors import RegistryError, ToolError
from rlar_graph.rewards.base import RewardTool
from rlar_graph.types import Rollout, Verdict

log = logging.getLogger(__name__)


class NearTies:
    """Asks a judge about near ties. Safe to share between threads.

    Args:
        judge: Returns the judge; called at the first tie.
        margin: Values that differ by no more than this from the best of their rollout are tied with it.
        share: Most completions it is asked about, as a share of all.
    """

    def __init__(self, judge: Callable[[], RewardTool], margin: float, share: float) -> None:
        self._judge_of, self._margin, self._share = judge, margin, share
        self._judge: RewardTool | None = None
        self._lock = threading.Lock()
        self._seen = self._asked = 0

    def settled(self, rollout: Rollout, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Return a rollout's verdicts, in the judge's order where the best are tied and the judge has a say."""
        tied = self._tied(verdicts)
        if not self._may_ask(len(verdicts), len(tied)):
            return list(verdicts)
        asked = replace(rollout, completions=tuple(rollout.completions[place] for place in tied))
        try:
            with self._lock:
                judge = self._judge = self._judge or self._judge_of()
            ruled = judge.score([asked])[0]
        except (ToolError, RegistryError) as error:
            # The reward model's own order stands; losing it because a second opinion is not to be had would be worse.
            log.warning("near ties are left as they are: %s", error)
            return list(verdicts)
        if any(verdict.value is None for verdict in ruled):
            return list(verdicts)
        order = sorted(
            range(len(tied)), key=lambda number: _descending(ruled[number], verdicts[tied[number]])
        )
        values = sorted((verdicts[place].value or 0.0 for place in tied), reverse=True)
        given: Mapping[int, float] = {
            tied[number]: value for number, value in zip(order, values, strict=True)
        }
        return [
            replace(verdict, value=given[place], detail={**verdict.detail, "near_tie": judge.spec.name})
            if place in given
            else verdict
            for place, verdict in enumerate(verdicts)
        ]

    def _tied(self, verdicts: Sequence[Verdict]) -> list[int]:
        """Return the places of those that are tied with the best; none where the best is alone."""
        best = max((verdict.value for verdict in verdicts if verdict.value is not None), default=0.0)
        tied = [
            place
            for place, verdict in enumerate(verdicts)
            if verdict.value is not None and verdict.raw is not None and best - verdict.value <= self._margin
        ]
        return tied if len(tied) > 1 else []

    def _may_ask(self, completions: int, tied: int) -> bool:
        with self._lock:
            self._seen += completions
            if not tied or self._asked + tied > self._share * self._seen:
                return False
            self._asked += tied
            return True


def _descending(ruled: Verdict, own: Verdict) -> tuple[float, float]:
    return (-(ruled.value or 0.0), -(own.value or 0.0))
