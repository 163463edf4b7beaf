"""Inside ms-swift, AReaL and SkyRL: the code of theirs that calls a reward."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

QUESTION, POEM = "What is 2 + 2?", "Write a poem."


def test_ms_swift() -> None:
    algorithm = pytest.importorskip("swift.rl_core.grpo_algorithm", exc_type=ImportError)
    import torch
    from swift.rl_core.data import GRPOSample

    from rlar_graph.adapters.swift import RlarORM

    def sample(question: str, answer: str, solution: str | None) -> Any:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return GRPOSample.from_row({"messages": messages, "solution": solution})

    samples = [sample(QUESTION, "4", "4"), sample(QUESTION, "5", "4"), sample(POEM, "Rain falls.", None)]
    rewards = algorithm.compute_rewards_per_func(samples, [RlarORM()], [None], torch.device("cpu"))
    assert rewards[:, 0].tolist() == [1.0, 0.0, 0.5]


def test_areal() -> None:
    api = pytest.importorskip("areal.api.reward_api", exc_type=ImportError)
    from rlar_graph.adapters.areal import reward

    async def ask() -> list[float]:
        wrapper = api.AsyncRewardWrapper(reward, max_workers=1)
        asked = [(QUESTION, "The answer is 4."), (QUESTION, "The answer is 5."), (POEM, "Rain falls.")]
        return [await wrapper(*pair, [1], [2], answer=None if pair[0] == POEM else "4") for pair in asked]

    assert asyncio.run(ask()) == [1.0, 0.0, 0.5]


def test_skyrl() -> None:
    gym = pytest.importorskip("skyrl_gym", exc_type=ImportError)
    gym.register(id="rlar", entry_point="rlar_graph.adapters.skyrl:rlar_env")
    env = gym.make("rlar", env_config={}, extras={"reward_spec": {"ground_truth": "4"}})
    env.init([{"role": "user", "content": QUESTION}])
    output = env.step("The answer is 4.")
    assert (output["reward"], output["done"]) == (1.0, True)
    assert env.get_metrics() == {"rlar_abstain": 0.0}
