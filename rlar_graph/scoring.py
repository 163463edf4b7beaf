"""The hot path: a planned batch of rollouts in, scores out. No LLM, no graph, no import.

All completions of one rollout are scored by the same tool at the same version; what a tool cannot judge, and
what no tool serves, abstains.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlar_graph.errors import InputError
from rlar_graph.library import Library, Loaded
from rlar_graph.registry.records import Usage
from rlar_graph.rewards.base import RewardTool
from rlar_graph.routing.router import Route
from rlar_graph.types import Rollout, Score, Verdict, abstain

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """What will score one rollout, and why."""

    rollout: Rollout
    """The rollout."""
    route: Route
    """Its signature and the reason for it."""
    tool: Loaded | str
    """The tool that will score it, or why none will."""


def plan_rollouts(rollouts: Sequence[Rollout], routes: Sequence[Route], library: Library) -> list[Planned]:
    """Look up the tool of each rollout; completions are not needed for that.

    Raises:
        RegistryError: The registry cannot be read.
    """
    library.refresh()
    return [
        Planned(rollout, way, library.find(rollout, way.signature))
        for rollout, way in zip(rollouts, routes, strict=True)
    ]


def score_planned(plan: Sequence[Planned], max_chars: int) -> tuple[list[list[Score]], list[Usage]]:
    """Score a planned batch, tool by tool.

    Args:
        plan: What :func:`plan_rollouts` returned.
        max_chars: Longer completions abstain.

    Returns:
        Scores in the shape of the rollouts, and what was asked of each tool.

    Raises:
        InputError: A rollout has no completions.
    """
    for number, planned in enumerate(plan, 1):
        if not planned.rollout.completions:
            where = f"rollout {number}" + (f" ({planned.rollout.id})" if planned.rollout.id else "")
            raise InputError(f"{where} has no completions to score", field="completions")
    scores: list[list[Score]] = [[] for _ in plan]
    by_tool: dict[Loaded, list[int]] = {}
    for index, planned in enumerate(plan):
        if isinstance(planned.tool, str):
            scores[index] = [Score(None, abstained=planned.tool)] * len(planned.rollout.completions)
        else:
            by_tool.setdefault(planned.tool, []).append(index)
    usage = []
    for loaded, indices in by_tool.items():
        rollouts = [plan[index].rollout for index in indices]
        started = time.perf_counter()
        rows, errors = _judge(loaded.tool, rollouts, max_chars)
        seconds = time.perf_counter() - started
        count = sum(map(len, rows))
        share = seconds / count
        missing, total, squares = 0, 0.0, 0.0
        for index, row in zip(indices, rows, strict=True):
            scores[index] = [
                Score(v.value, v.raw, v.abstained, loaded.name, loaded.version, share, v.detail) for v in row
            ]
            values = [v.value for v in row if v.value is not None]
            missing += len(row) - len(values)
            total += sum(values)
            squares += sum(value * value for value in values)
        usage.append(Usage(loaded.name, loaded.version, count, missing, errors, seconds, total, squares))
    return scores, usage


def _judge(tool: RewardTool, rollouts: list[Rollout], max_chars: int) -> tuple[list[list[Verdict]], int]:
    """Have a tool score rollouts, completions over the length limit left out; return verdicts and errors."""
    if all(len(text) <= max_chars for rollout in rollouts for text in rollout.completions):
        return _guarded(tool, rollouts)
    kept = [
        replace(rollout, completions=tuple(text for text in rollout.completions if len(text) <= max_chars))
        for rollout in rollouts
    ]
    asked = [rollout for rollout in kept if rollout.completions]
    judged, errors = _guarded(tool, asked) if asked else ([], 0)
    verdicts = iter([verdict for row in judged for verdict in row])
    rows = []
    for rollout in rollouts:
        lengths = map(len, rollout.completions)
        rows.append([next(verdicts) if n <= max_chars else _too_long(n, max_chars) for n in lengths])
    return rows, errors


def _too_long(length: int, limit: int) -> Verdict:
    return abstain(
        f"the completion has {length:,} characters and the limit is {limit:,} (max_completion_chars)"
    )


def _guarded(tool: RewardTool, rollouts: list[Rollout]) -> tuple[list[list[Verdict]], int]:
    """Call a tool; if it breaks, go on rollout by rollout so that only the one that broke it abstains."""
    try:
        return _checked(tool.score(rollouts), rollouts), 0
    except Exception as error:
        log.warning("reward tool %s failed on %d rollouts", tool.spec.name, len(rollouts), exc_info=error)
        if len(rollouts) == 1:
            problem = f"{tool.spec.name} failed: {type(error).__name__}: {error}"
            return [[abstain(problem[:500])] * len(rollouts[0].completions)], 1
    rows: list[list[Verdict]] = []
    errors = 0
    for rollout in rollouts:
        row, failed = _guarded(tool, [rollout])
        rows += row
        errors += failed
    return rows, errors


def _checked(rows: list[list[Verdict]], rollouts: list[Rollout]) -> list[list[Verdict]]:
    """Return the rows if there is exactly one verdict per completion."""
    if [len(row) for row in rows] != [len(rollout.completions) for rollout in rollouts]:
        raise ValueError("verdicts do not match the completions one to one")
    return rows
