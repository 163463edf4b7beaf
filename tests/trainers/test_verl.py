"""Inside verl: its loader and its naive reward manager, which asks for one sample at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rlar_graph.errors import EngineError, RegistryError
from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, LABEL, SLOW, TASK, forbid, killing, stopping

pytest.importorskip("verl")


class Tokenizer:
    """Decodes tokens that are code points."""

    def decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """Return the text."""
        return "".join(chr(int(token)) for token in tokens)


def _config(**kwargs: object) -> Any:
    from omegaconf import OmegaConf

    function = {"path": "pkg://rlar_graph.adapters.verl", "name": "compute_score", "reward_kwargs": kwargs}
    return OmegaConf.create(
        {"reward": {"custom_reward_function": function, "reward_model": {"enable": False}}}
    )


def _sample(question: str, completion: str, ground_truth: str | None) -> Any:
    import numpy as np
    import torch
    from verl import DataProto

    tokens = torch.tensor([[ord(letter) for letter in completion]])
    fields = {
        "data_source": "made/up",
        "reward_model": {"style": "rule", "ground_truth": ground_truth},
        "extra_info": {"question": question, "index": 0},
    }
    columns = {name: np.array([value], dtype=object) for name, value in fields.items()}
    tensors = {"responses": tokens, "attention_mask": torch.ones_like(tokens)}
    return DataProto.from_dict(tensors=tensors, non_tensors=columns)


async def _run(samples: list[Any], **kwargs: object) -> list[dict[str, Any]]:
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn

    config = _config(**kwargs)
    manager = NaiveRewardManager(config, Tokenizer(), compute_score=get_custom_reward_fn(config))
    assert manager.is_async_reward_score
    return list(await asyncio.gather(*(manager.run_single(sample) for sample in samples)))


def test_verls_own_manager_gets_rewards_and_flags() -> None:
    samples = [
        _sample("What is 2 + 2?", "The answer is 4.", "4"),
        _sample("What is 2 + 2?", "The answer is 5.", "4"),
        _sample("Write a poem.", "Rain falls.", None),
    ]
    results = asyncio.run(_run(samples, neutral=0.25))
    assert [result["reward_score"] for result in results] == [1.0, 0.0, 0.25]
    infos = [result["reward_extra_info"] for result in results]
    assert [info["rlar_abstain"] for info in infos] == [0.0, 0.0, 1.0]
    assert len({tuple(info) for info in infos}) == 1


def test_many_samples_at_a_time_each_get_their_own(registry_url: str) -> None:
    samples = [_sample(f"What is {n} + 0?", f"The answer is {n + n % 2}.", str(n)) for n in range(64)]
    results = asyncio.run(_run(samples, registry_url=registry_url))
    assert [result["reward_score"] for result in results] == [1.0 - n % 2 for n in range(64)]


def test_a_dead_engine_fails_the_task(broken_registry: None) -> None:
    with pytest.raises(RegistryError):
        asyncio.run(_run([_sample("What is 2 + 2?", "4", "4")]))


def _program(completion: str) -> tuple[float, float]:
    (result,) = asyncio.run(_run([_sample(TASK, completion, LABEL)]))
    return result["reward_score"], result["reward_extra_info"]["rlar_abstain"]


def test_an_engine_killed_in_mid_batch_costs_no_reward(machine: Place) -> None:
    with killing(machine):
        assert _program(SLOW) == (1.0, 0.0)
    with killing(machine, 2), pytest.raises(EngineError, match="second time"):
        _program(SLOW)


def test_an_engine_that_says_nothing_is_replaced(machine: Place) -> None:
    with stopping(machine):
        assert _program(SLOW) == (1.0, 0.0)


def test_an_engine_that_cannot_be_had_fails_the_task(machine: Place) -> None:
    forbid(machine)
    with pytest.raises(EngineError):
        _program(SLOW)


def test_an_endless_program_is_wrong(machine: Place) -> None:
    assert _program(ENDLESS) == (0.0, 0.0)
