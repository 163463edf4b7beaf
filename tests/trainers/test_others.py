"""Inside ms-swift, AReaL and SkyRL: the code of theirs that calls a reward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rlar_graph.errors import EngineError, RegistryError
from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, LABEL, SLOW, TASK, TESTS, forbid, killing, stopping

QUESTION, POEM = "What is 2 + 2?", "Write a poem."


def _swift(*asked: tuple[str, str, dict[str, Any]]) -> list[float]:
    """Have ms-swift score (prompt, completion, further columns)."""
    algorithm = pytest.importorskip("swift.rl_core.grpo_algorithm", exc_type=ImportError)
    import torch
    from swift.rl_core.data import GRPOSample

    from rlar_graph.adapters.swift import RlarORM

    def sample(question: str, answer: str, columns: dict[str, Any]) -> Any:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return GRPOSample.from_row({"messages": messages, **columns})

    samples = [sample(*each) for each in asked]
    rewards = algorithm.compute_rewards_per_func(samples, [RlarORM()], [None], torch.device("cpu"))
    values: list[float] = rewards[:, 0].tolist()
    return values


def _areal(*asked: tuple[str, str, dict[str, Any]]) -> list[float]:
    """Have AReaL score (prompt, completion, further columns) in its pool of processes."""
    api = pytest.importorskip("areal.api.reward_api", exc_type=ImportError)
    from rlar_graph.adapters.areal import reward

    async def ask() -> list[float]:
        wrapper = api.AsyncRewardWrapper(reward, max_workers=1)
        return [await wrapper(prompt, text, [1], [2], **columns) for prompt, text, columns in asked]

    try:
        return asyncio.run(ask())
    finally:
        api.AsyncRewardWrapper._atexit_shutdown_all()  # the next pool's processes see the settings of their test


def _skyrl(*asked: tuple[str, str, dict[str, Any]]) -> list[float]:
    """Have SkyRL score (prompt, completion, further columns)."""
    gym = pytest.importorskip("skyrl_gym", exc_type=ImportError)
    if "rlar" not in gym.envs.registration.registry:
        gym.register(id="rlar", entry_point="rlar_graph.adapters.skyrl:rlar_env")
    rewards = []
    for prompt, text, columns in asked:
        env = gym.make("rlar", env_config={}, extras=columns)
        env.init([{"role": "user", "content": prompt}])
        output = env.step(text)
        assert output["done"] is True
        assert env.get_metrics() == {"rlar_abstain": float(output["metadata"]["rlar_abstained"] is not None)}
        rewards.append(output["reward"])
    return rewards


def test_ms_swift() -> None:
    asked = [(QUESTION, "4", {"solution": "4"}), (QUESTION, "5", {"solution": "4"})]
    assert _swift(*asked, (POEM, "Rain falls.", {"solution": None})) == [1.0, 0.0, 0.5]


def test_areal() -> None:
    asked = [(QUESTION, f"The answer is {n}.", {"answer": "4"}) for n in (4, 5)]
    assert _areal(*asked, (POEM, "Rain falls.", {"answer": None})) == [1.0, 0.0, 0.5]


def test_skyrl() -> None:
    truth = {"reward_spec": {"ground_truth": "4"}}
    assert _skyrl((QUESTION, "The answer is 4.", truth), (POEM, "Rain falls.", {})) == [1.0, 0.5]


def _swift_program(completion: str) -> float:
    return _swift((TASK, completion, {"tests": TESTS}))[0]


def _areal_program(completion: str) -> float:
    return _areal((TASK, completion, {"tests": TESTS}))[0]


def _skyrl_program(completion: str) -> float:
    return _skyrl((TASK, completion, {"reward_spec": {"ground_truth": LABEL}}))[0]


Program = Callable[[str], float]
every_trainer = pytest.mark.parametrize(
    "program", [_swift_program, _areal_program, _skyrl_program], ids=["swift", "areal", "skyrl"]
)


@every_trainer
def test_an_engine_killed_in_mid_batch_costs_no_reward(program: Program, machine: Place) -> None:
    with killing(machine):
        assert program(SLOW) == 1.0


@every_trainer
def test_an_engine_killed_twice_is_no_judgement(program: Program, machine: Place) -> None:
    with killing(machine, 2):
        if program is _areal_program:
            assert program(SLOW) == 0.5
        else:
            with pytest.raises(EngineError, match="second time"):
                program(SLOW)


@every_trainer
def test_an_engine_that_says_nothing_is_replaced_or_not_waited_for(
    program: Program, machine: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlar_graph.adapters.areal.SECONDS", 1.0)  # AReaL's pool is forked, and has it too
    with stopping(machine):
        assert program(SLOW) == (0.5 if program is _areal_program else 1.0)


@every_trainer
def test_an_engine_that_cannot_be_had_is_no_judgement(program: Program, machine: Place) -> None:
    forbid(machine)
    if program is _areal_program:
        assert program(SLOW) == 0.5
    else:
        with pytest.raises(EngineError, match="not this user's alone"):
            program(SLOW)


@every_trainer
def test_a_registry_that_cannot_be_opened_is_no_judgement(program: Program, broken_registry: None) -> None:
    if program is _areal_program:
        assert program(SLOW) == 0.5
    else:
        with pytest.raises(RegistryError):
            program(SLOW)


@every_trainer
def test_an_endless_program_is_wrong(program: Program, machine: Place) -> None:
    assert program(ENDLESS) == 0.0
