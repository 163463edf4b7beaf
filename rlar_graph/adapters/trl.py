"""TRL (GRPO, RLOO, AsyncGRPO), and what takes its reward functions: Unsloth, open-r1 and others.

``reward_funcs=[AgentReward()]`` works as it is. The functions here are for the command line
(``--reward_funcs rlar_graph.adapters.trl.rlar``) and for AsyncGRPO, which pickles them into a child process: a
function is pickled by its name, and the child connects by itself. An abstention is None: TRL leaves the
row out of its group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rlar_graph.adapters.shared import score_items
from rlar_graph.microbatch import Rows
from rlar_graph.reward import score_columns
from rlar_graph.types import Message, Rollout


def rlar(
    prompts: Sequence[str | Sequence[Message]],
    completions: Sequence[str | Sequence[Message]],
    **columns: object,
) -> list[float | None]:
    """Score a batch; see :meth:`rlar_graph.reward.AgentReward.__call__`."""

    def score(rollouts: Sequence[Rollout], step: int | None) -> Rows:
        return score_items(rollouts, step=step)

    return score_columns(score, prompts, completions, columns)


async def rlar_async(
    prompts: Sequence[str | Sequence[Message]],
    completions: Sequence[str | Sequence[Message]],
    **columns: object,
) -> list[float | None]:
    """Score a batch while TRL's other asynchronous reward functions run; see :func:`rlar`."""
    return await asyncio.to_thread(rlar, prompts, completions, **columns)
