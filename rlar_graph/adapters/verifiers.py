"""verifiers 0.4 and prime-rl: ``rlar = { fn = "rlar_graph.adapters.verifiers:rlar" }`` among a task's rewards.

An abstention is raised: verifiers marks the trace as not ok, and prime-rl does not train on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import ascore_items
from rlar_graph.errors import Unscored


class TaskData(Protocol):
    """What is used of verifiers' frozen task data."""

    def model_dump(self) -> dict[str, object]:
        """Return its fields."""
        ...


class Trace(Protocol):
    """What is used of verifiers' trace."""

    info: dict[str, object]

    @property
    def last_reply(self) -> str:
        """The last thing the agent said."""
        ...


async def rlar(task: TaskData, trace: Trace) -> float:
    """Score a trace by its last reply; which tool scored it is noted in ``trace.info["rlar"]``.

    Args:
        task: Prompt, answer and whatever further fields the taskset has.
        trace: What the agent did.

    Raises:
        Unscored: Nothing could judge it.
        RlarError: A field cannot be read, or the engine is broken.
    """
    row: Mapping[str, object] = task.model_dump()
    ((score,),) = await ascore_items([rollout_of(row.get("prompt"), trace.last_reply, None, row)])
    trace.info["rlar"] = {"tool": score.tool, "version": score.version, "abstained": score.abstained}
    if score.value is None:
        raise Unscored(score.abstained or "abstained")
    return score.value
