"""Inside verifiers 0.4: `Task.score` with the reward plugged in by its configuration."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, SLOW, TASK, TESTS, forbid, killing, stopping

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


def test_an_engine_killed_in_mid_batch_costs_no_reward(machine: Place) -> None:
    from verifiers.v1.errors import TaskError

    with killing(machine):
        assert _scored(TASK, SLOW, tests=TESTS).reward == 2.0
    with killing(machine, 2), pytest.raises(TaskError, match="second time"):
        _scored(TASK, SLOW, tests=TESTS)


def test_an_engine_that_says_nothing_is_replaced(machine: Place) -> None:
    with stopping(machine):
        assert _scored(TASK, SLOW, tests=TESTS).reward == 2.0


def test_an_engine_that_cannot_be_had_is_a_task_error(machine: Place) -> None:
    from verifiers.v1.errors import TaskError

    forbid(machine)
    with pytest.raises(TaskError, match="not this user's alone"):
        _scored(TASK, SLOW, tests=TESTS)


def test_an_endless_program_is_wrong(machine: Place) -> None:
    assert _scored(TASK, ENDLESS, tests=TESTS).reward == 0.0
