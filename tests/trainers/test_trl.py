"""Inside TRL: two real GRPO steps on a tiny model, and the reward call itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from rlar_graph.adapters.trl import rlar, rlar_async
from rlar_graph.errors import EngineError, RegistryError
from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, SLOW, TASK, TESTS, forbid, killing, stopping

pytest.importorskip("trl")

PROMPTS = ["What is 2 + 2?", "Write a poem."]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*alphabet, "<pad>", "<eos>"])}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def _trainer(tokenizer: Any, folder: Path, functions: list[Any]) -> Any:
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    options = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=4,
        max_steps=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
    )
    rows = Dataset.from_dict({"prompt": PROMPTS * 4, "solution": ["4", None] * 4})
    return GRPOTrainer(model, functions, args=options, train_dataset=rows, processing_class=tokenizer)


@pytest.mark.parametrize("function", [rlar, rlar_async], ids=["sync", "async"])
def test_two_steps(tokenizer: Any, tmp_path: Path, function: Any) -> None:
    trainer = _trainer(tokenizer, tmp_path, [function])
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if f"rewards/{function.__name__}/mean" in entry]
    assert len(steps) == 2
    assert any(0 < entry["rlar/abstain_rate"] <= 1 for entry in steps)
    assert all(math.isfinite(entry["grad_norm"]) for entry in steps)


@pytest.mark.parametrize("function", [rlar, rlar_async], ids=["sync", "async"])
def test_an_abstention_is_nan_and_the_others_are_numbers(
    tokenizer: Any, tmp_path: Path, function: Any
) -> None:
    trainer = _trainer(tokenizer, tmp_path, [function])
    inputs = [
        {"prompt": p, "solution": s} for p, s in zip([*PROMPTS, PROMPTS[0]], ["4", None, "4"], strict=True)
    ]
    rewards = trainer._calculate_rewards(
        inputs, [i["prompt"] for i in inputs], ["4", "Rain.", "5"], [[1], [2], [3]]
    )
    values = rewards[:, 0].tolist()
    assert (values[0], values[2]) == (1.0, 0.0)
    assert math.isnan(values[1])


def test_a_dead_engine_stops_the_training(tokenizer: Any, tmp_path: Path, broken_registry: None) -> None:
    trainer = _trainer(tokenizer, tmp_path, [rlar])
    with pytest.raises(RegistryError):
        trainer.train()


def _rewards(tokenizer: Any, folder: Path, completion: str) -> list[float]:
    trainer = _trainer(tokenizer, folder, [rlar])
    inputs = [{"prompt": TASK, "tests": TESTS}]
    values: list[float] = trainer._calculate_rewards(inputs, [TASK], [completion], [[1]])[:, 0].tolist()
    return values


def test_an_engine_killed_in_mid_batch_costs_no_reward(
    tokenizer: Any, tmp_path: Path, machine: Place
) -> None:
    with killing(machine):
        assert _rewards(tokenizer, tmp_path, SLOW) == [1.0]
    with killing(machine, 2), pytest.raises(EngineError, match="second time"):
        _rewards(tokenizer, tmp_path, SLOW)


def test_an_engine_that_says_nothing_is_replaced(tokenizer: Any, tmp_path: Path, machine: Place) -> None:
    with stopping(machine):
        assert _rewards(tokenizer, tmp_path, SLOW) == [1.0]


def test_an_engine_that_cannot_be_had_stops_the_training(
    tokenizer: Any, tmp_path: Path, machine: Place
) -> None:
    forbid(machine)
    with pytest.raises(EngineError):
        _trainer(tokenizer, tmp_path, [rlar]).train()


def test_an_endless_program_is_wrong(tokenizer: Any, tmp_path: Path, machine: Place) -> None:
    assert _rewards(tokenizer, tmp_path, ENDLESS) == [0.0]
