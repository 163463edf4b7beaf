"""Inside verifiers 0.4: `Task.score` with the reward plugged in by its configuration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("verifiers.v1")


def _scored(question: str, reply: str, **fields: object) -> Any:
    from verifiers.v1.configs.task import RewardFunctionConfig, TaskConfig
    from verifiers.v1.task import Task, WireTaskData
    from verifiers.v1.trace import Trace, TraceTask

    config = TaskConfig(
        rewards={"rlar": RewardFunctionConfig(fn="rlar_graph.adapters.verifiers:rlar", weight=2.0)}
    )
    data = WireTaskData(prompt=question, **fields)
    task = Task(data, config)
    trace = Trace.model_construct(
        task=TraceTask(type="Task", data=data), root_reply=reply, rewards={}, metrics={}, info={}
    )
    asyncio.run(task.score(trace))
    return trace


def test_a_weighted_reward() -> None:
    right, wrong = (_scored("What is 2 + 2?", f"The answer is {n}.", answer="4") for n in (4, 5))
    assert (right.reward, wrong.reward) == (2.0, 0.0)
    assert right.info["rlar"]["tool"] == "maths"


def test_an_abstention_is_a_task_error() -> None:
    from verifiers.v1.errors import TaskError

    with pytest.raises(TaskError, match="no tool serves"):
        _scored("Write a poem.", "Rain falls.")


def test_a_dead_engine_is_a_task_error(broken_registry: None) -> None:
    from verifiers.v1.errors import TaskError

    with pytest.raises(TaskError, match="registry"):
        _scored("What is 2 + 2?", "4", answer="4")
