"""A trial: a reward tool run on probes in several ways, with every answer checked for shape before it is used."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from rlar_graph.admission.report import excerpt
from rlar_graph.errors import SandboxError
from rlar_graph.probes import Probe, Transform
from rlar_graph.rewards.base import RewardTool
from rlar_graph.types import Rollout, Verdict

ALONE = 16
CHANGED = 60
ERROR_CHARS = 300


class Broken(Exception):
    """The tool raised, or answered in a shape that no caller could use."""


def group_key(rollout: Rollout) -> str:
    """Return what makes two probes ask about the same prompt with the same evidence."""
    return repr(rollout)


class Trial:
    """The runs of one tool on one set of probes.

    Args:
        tool: The tool.
        again: What is asked to repeat the first run: a fresh instance, or the tool itself.
        probes: What it is asked.
        patience: Mean seconds a completion may take; a tool slower than that is not run again.
    """

    def __init__(self, tool: RewardTool, again: RewardTool, probes: Sequence[Probe], patience: float) -> None:
        self.probes = probes
        self.first: list[Verdict] = []
        """The verdicts of the first, cold run, by probe."""
        self.later: list[tuple[str, int, Verdict]] = []
        """(which run, probe, verdict) of the runs after it."""
        self.mutated = False
        """Whether a rollout came back changed."""
        self.seconds_per_completion = 0.0
        """Mean wall-clock seconds in the first run."""
        self.slowest_alone = 0.0
        """Most seconds for one completion in a call of its own."""
        self._tool, self._again, self._patience = tool, again, patience

    @property
    def too_slow(self) -> bool:
        """Whether the first run took so long that the others were left out."""
        return self.seconds_per_completion > self._patience

    def run(self) -> list[Verdict]:
        """Make every run and return the verdicts of the first.

        Raises:
            Broken: The tool raised, or an answer is malformed.
            SandboxError: The sandbox could not do its work.
        """
        order = list(range(len(self.probes)))
        started = time.perf_counter()
        answers = self._ask(self._tool, order)
        self.seconds_per_completion = (time.perf_counter() - started) / max(1, len(order))
        self.first = [answers[index] for index in order]
        if not self.too_slow:
            self._run_again(order)
        return self.first

    def _run_again(self, order: list[int]) -> None:
        """Repeat, shuffle and ask some probes alone; seeded, so that a report can be reproduced."""
        random = Random(0)  # noqa: S311 - an order, not a secret
        self._note("when repeated", self._ask(self._again, order))
        shuffled = random.sample(order, len(order))
        self._note("in another order", self._ask(self._tool, shuffled))
        for index in random.sample(order, min(ALONE, len(order))):
            started = time.perf_counter()
            self._note("alone", self._ask(self._again, [index]))
            self.slowest_alone = max(self.slowest_alone, time.perf_counter() - started)

    def _note(self, run: str, answers: Mapping[int, Verdict]) -> None:
        self.later += [(run, index, verdict) for index, verdict in answers.items()]

    def ask_changed(self, change: Transform) -> dict[int, Verdict]:
        """Return the verdicts on good and bad probes after a change of their completions, by probe.

        Raises:
            Broken: The tool raised, or an answer is malformed.
            SandboxError: The sandbox could not do its work.
        """
        texts: dict[int, str] = {}
        for index, probe in enumerate(self.probes):
            changed = change.apply(probe) if probe.expect in ("good", "bad") else None
            if changed is not None and len(texts) < CHANGED:
                texts[index] = changed
        return self._ask(self._tool, list(texts), texts) if texts else {}

    def _ask(
        self, tool: RewardTool, order: Sequence[int], texts: Mapping[int, str] | None = None
    ) -> dict[int, Verdict]:
        """Ask one batch: probes of one prompt become one rollout, as in training."""
        groups: dict[str, list[int]] = {}
        for index in order:
            groups.setdefault(group_key(self.probes[index].rollout), []).append(index)
        # Deep copies: a tool that changes what it is given must not spoil the probes of the next run.
        rollouts = [
            replace(
                copy.deepcopy(self.probes[members[0]].rollout),
                completions=tuple((texts or {}).get(i, self.probes[i].completion) for i in members),
            )
            for members in groups.values()
        ]
        before = repr(rollouts)
        rows = _answer(tool, rollouts)
        self.mutated = self.mutated or repr(rollouts) != before
        return {
            index: verdict
            for members, row in zip(groups.values(), rows, strict=True)
            for index, verdict in zip(members, row, strict=True)
        }


def _answer(tool: RewardTool, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
    """Call the tool and check the shape and the verdicts of its answer."""
    sizes = [len(rollout.completions) for rollout in rollouts]
    try:
        rows = tool.score(rollouts)
    except SandboxError:
        raise
    except (Exception, SystemExit) as error:
        # The gate is a boundary: whatever a tool raises is a finding about the tool.
        raise Broken(f"the tool raised {type(error).__name__}: {excerpt(str(error), ERROR_CHARS)}") from error
    if type(rows) is not list or any(type(row) is not list for row in rows):
        raise Broken("the answer is not a list of lists of verdicts")
    if [len(row) for row in rows] != sizes:
        raise Broken(f"the answer has not one verdict per completion: {[len(row) for row in rows][:8]}")
    for row in rows:
        for verdict in row:
            flaw = _flaw(verdict)
            if flaw is not None:
                raise Broken(flaw)
    return rows


def _flaw(verdict: object) -> str | None:
    """Return what is wrong with one verdict, or None."""
    if type(verdict) is not Verdict:
        return f"a verdict is a Verdict, not {type(verdict).__name__}"
    if (verdict.value is None) == (verdict.abstained is None):
        return "a verdict has either a value or a reason to abstain, and not both"
    if verdict.value is None:
        return (
            None
            if isinstance(verdict.abstained, str) and verdict.abstained
            else "an abstention needs a reason"
        )
    for name, number in (("value", verdict.value), ("raw figure", verdict.raw)):
        if number is not None and (type(number) is not float or not math.isfinite(number)):
            return f"a verdict's {name} is a finite float, not {excerpt(repr(number))}"
    if not 0.0 <= verdict.value <= 1.0:
        return f"a verdict's value is in [0, 1], not {verdict.value}"
    return None
