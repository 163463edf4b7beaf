"""Auditing: a small, even share of what was scored is shown to an independent auditor, beside the scoring.

A grader that a policy has learned to please says nothing of it: its values are high, and that is all. What tells is
somebody who does not share its fault, asked about the same completions again and again. What the auditor says goes the
way of :meth:`~rlar_graph.reward.AgentReward.audit`, to the monitor that takes a tool out of service.

An auditor may be slow, wrong or broken. The call that scores picks rollouts and goes on; one daemon thread at a time
asks. No score ever depends on what comes of it.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TypeAlias, cast

from rlar_graph.acquisition import Acquisition
from rlar_graph.auditing.sample import Sample
from rlar_graph.errors import InputError
from rlar_graph.scoring import Planned
from rlar_graph.types import Rollout, Score

log = logging.getLogger(__name__)

Values: TypeAlias = Sequence[Sequence[float | None] | None]
"""One list of values in [0, 1] per rollout; None, for a completion or a rollout, where the auditor does not know."""
Auditor: TypeAlias = Callable[[Sequence[Rollout]], Values]
"""Says what completions are worth: a person's tool, hidden tests, a stronger judge."""

WAITING = 256
"""Rollouts that wait for the auditor at most; it gets no later than that what the policy does now."""
BATCH = 16
"""Rollouts that the auditor is given at a time."""
SILENT_SECONDS = 600.0
"""An auditor that takes longer over one call is said to be silent."""
DRAIN_SECONDS = 5.0
"""How long closing waits for what is still to be audited."""


@dataclass(slots=True)
class Counts:
    """What became of the rollouts that were picked, in this process."""

    picked: int = 0
    """Rollouts picked to be audited."""
    audited: int = 0
    """Rollouts of which the auditor said something."""
    unknown: int = 0
    """Rollouts of which it did not know."""
    dropped: int = 0
    """Rollouts that it was too slow for, or that were still waiting in the end."""
    failed: int = 0
    """Rollouts on which it raised, or answered what is no answer."""


@dataclass(frozen=True, slots=True)
class Picked:
    """One rollout that is to be audited."""

    planned: Planned
    """The rollout, and the tool that scored it."""
    scores: Sequence[Score]
    """What the tool said."""


@dataclass(slots=True)
class Line:
    """What one process has waiting for the auditor. A forked child has its own: the parent's thread is not in it."""

    sample: Sample
    """What picks."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    """Held for a moment where any of this changes."""
    telling: threading.Lock = field(default_factory=threading.Lock)
    """Held while the auditor's word is passed on, so that nothing is closed meanwhile."""
    waiting: deque[Picked] = field(default_factory=deque)
    """Rollouts to be audited."""
    thread: threading.Thread | None = None
    """The thread that asks, while there is something to ask."""
    asked: int = 0
    """Rollouts that the auditor has before it now."""
    since: float = 0.0
    """When it was given them."""
    closed: bool = False
    """Whether it is too late to say anything."""
    said: set[str] = field(default_factory=set)
    """Troubles that were warned of; once is enough for a run."""
    counts: Counts = field(default_factory=Counts)
    """What became of what was picked."""


class Auditing:
    """Has a share of what is scored audited. Safe to share between threads, and across a fork.

    Args:
        auditor: Who is asked.
        acquisition: Who is told.
        share: Share of rollouts to show, as :class:`~rlar_graph.auditing.sample.Sample` picks them.
        most: Rollouts a minute at most.
        probes: Whether disagreements become probes that every later version of the tool must pass.
    """

    def __init__(
        self, auditor: Auditor, acquisition: Acquisition, share: float, most: int, *, probes: bool = True
    ) -> None:
        self._auditor, self._acquisition, self._probes = auditor, acquisition, probes
        self._share, self._most = share, most
        self._lines: dict[int, Line] = {}

    @property
    def counts(self) -> Counts:
        """What became of the rollouts that this process picked."""
        return self._line().counts

    def offer(
        self, plan: Sequence[Planned], scores: Sequence[Sequence[Score]], step: int | None = None
    ) -> None:
        """Pick rollouts of a batch that was scored, and have them audited by and by; never waits, never raises.

        Args:
            plan: The batch.
            scores: What its tools said.
            step: The trainer's step, where it is known.
        """
        line = self._line()
        places = [] if line.closed else line.sample.pick(plan, scores, step)
        if not places:
            return
        with line.changed:
            line.counts.picked += len(places)
            fit = places[: WAITING - len(line.waiting)]
            line.counts.dropped += len(places) - len(fit)
            line.waiting += [Picked(plan[place], scores[place]) for place in fit]
            silent = time.monotonic() - line.since if line.asked else 0.0
            if silent > SILENT_SECONDS and _is_news(line, "silent"):
                log.warning("the auditor has been silent for %.0f s; scoring goes on without it", silent)
            if line.thread is None:
                self._start(line)

    def close(self, seconds: float = DRAIN_SECONDS) -> None:
        """Wait a moment for what is still to be audited, and ask and tell nothing from then on.

        Args:
            seconds: How long to wait.
        """
        line = self._line()
        if line.closed:
            return
        with line.changed:
            line.changed.wait_for(lambda: line.thread is None, seconds)
        with line.telling, line.changed:
            left = len(line.waiting) + line.asked
            line.closed = True
            line.waiting.clear()
            line.asked = 0
            line.counts.dropped += left
        if left:
            log.warning("%d rollouts were not audited: the auditor was not done when it was closed", left)

    def _line(self) -> Line:
        """Return this process's line."""
        here = os.getpid()
        found = self._lines.get(here)
        return found or self._lines.setdefault(here, Line(Sample(self._share, self._most)))

    def _start(self, line: Line) -> None:
        """Start the thread that asks; it ends when nothing waits."""
        thread = threading.Thread(target=self._work, args=(line,), name="rlar-auditing", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # No thread is to be had, at the end of the process or of its limits; the scores are as good without.
            line.counts.dropped += len(line.waiting)
            line.waiting.clear()
            if _is_news(line, "thread"):
                log.warning("rollouts are not audited: %s", error)
        else:
            line.thread = thread

    def _work(self, line: Line) -> None:
        while batch := _next(line):
            try:
                self._audit(line, batch)
            except (Exception, SystemExit) as error:
                # The thread's edge, and foreign code: whatever an auditor does, scoring goes on without it.
                with line.changed:
                    line.counts.failed += line.asked
                    line.asked = 0
                if _is_news(line, "failed"):
                    log.warning("the auditor failed; this is counted, and not said again", exc_info=error)

    def _audit(self, line: Line, batch: Sequence[Picked]) -> None:
        """Ask about a batch, and pass on what is said of it."""
        rollouts = [picked.planned.rollout for picked in batch]
        values = read_values(self._auditor(rollouts), rollouts)
        with line.telling:
            if line.closed:
                return
            plan, scores = [picked.planned for picked in batch], [picked.scores for picked in batch]
            for version in self._acquisition.tell(plan, scores, values, probes=self._probes):
                line.sample.settle(version)
            with line.changed:
                known = sum(any(value is not None for value in row) for row in values)
                line.counts.audited += known
                line.counts.unknown += len(batch) - known
                line.asked = 0


def _next(line: Line) -> list[Picked]:
    """Take the next rollouts out of line; none is the end of the thread."""
    with line.changed:
        batch = [line.waiting.popleft() for _ in range(min(BATCH, len(line.waiting)))]
        line.asked, line.since = len(batch), time.monotonic()
        if not batch:
            line.thread = None
            line.changed.notify_all()
        return batch


def _is_news(line: Line, trouble: str) -> bool:
    """Say whether a kind of trouble has not been warned of in this process."""
    known = trouble in line.said
    line.said.add(trouble)
    return not known


def read_values(said: object, rollouts: Sequence[Rollout]) -> list[list[float | None]]:
    """Return what an audit said as one list per rollout, None where it does not know.

    Raises:
        InputError: The shape is not that of the rollouts, or a value is no number in [0, 1].
    """
    wanted = [len(rollout.completions) for rollout in rollouts]
    try:
        given = [
            None if row is None else list(row) for row in cast("Iterable[Iterable[object] | None]", said)
        ]
        rows = [[None] * count if row is None else row for row, count in zip(given, wanted, strict=True)]
    except (TypeError, ValueError) as error:
        raise _misshapen() from error
    if [len(row) for row in rows] != wanted:
        raise _misshapen()
    return [[_value(value) for value in row] for row in rows]


def _misshapen() -> InputError:
    return InputError("must hold one value per completion, in the shape of the rollouts", field="values")


def _value(value: object) -> float | None:
    if value is None:
        return None
    number = float(value) if isinstance(value, Real) else math.nan
    if not 0.0 <= number <= 1.0:
        raise InputError("must be between 0 and 1, or None where the audit does not know", field="values")
    return number
