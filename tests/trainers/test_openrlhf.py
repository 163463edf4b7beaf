"""Inside OpenRLHF: its single-turn executor, with the Python file and with a server."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, LABEL, SLOW, TASK, forbid, killing, stopping
from tests.patience import COMMAND_SECONDS, PATIENCE
from tests.ports import free_port

pytest.importorskip("openrlhf")

ASKED = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


class Tokenizer:
    """Tokens are code points."""

    def __call__(self, text: str, **_: object) -> dict[str, Any]:
        """Encode."""
        import torch

        return {"input_ids": torch.tensor([[ord(letter) for letter in text]])}

    def decode(self, tokens: list[int], skip_special_tokens: bool = True) -> str:
        """Decode."""
        return "".join(map(chr, tokens))


class Engine:
    """Says what it is told to."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def generate(self, *_: object, **__: object) -> Any:
        """Return one completion."""
        tokens = [ord(letter) for letter in self.text]
        output = SimpleNamespace(token_ids=tokens, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


def _execute(endpoint: str, question: str, completion: str, label: str) -> dict[str, Any]:
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    executor = SingleTurnAgentExecutor(endpoint)
    sampling = SimpleNamespace(max_tokens=64, logprobs=None)
    arguments = (ASKED.format(question), label, sampling, 4096, Tokenizer(), Engine(completion))
    return dict(asyncio.run(executor.execute(*arguments)))


@pytest.fixture
def python_file(tmp_path: Path) -> str:
    path = tmp_path / "reward.py"
    path.write_text("from rlar_graph.adapters.openrlhf import reward_func  # noqa: F401\n")
    return str(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@contextmanager
def _serving(folder: Path, *options: str) -> Iterator[str]:
    pytest.importorskip("fastapi")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "rlar_graph.cli",
        "serve",
        "--port",
        str(port),
        "--registry",
        str(folder / "rlar.db"),
        *options,
    ]
    process = subprocess.Popen(command, cwd=folder, env=dict(os.environ))
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/get_reward"
    process.terminate()
    process.wait(PATIENCE)


CASES = [
    ("What is 2 + 2?", "The answer is 4.<|im_end|>", "4", 1.0, 0.0),
    ("What is 2 + 2?", "The answer is 5.<|im_end|>", "4", 0.0, 0.0),
    ("Write a poem.", "Rain falls.<|im_end|>", "", 0.5, 1.0),
]


def _number(value: Any) -> float:
    """Read a figure as OpenRLHF's experience maker does: `torch.tensor([value])`, flattened."""
    import torch

    return float(torch.tensor([value]).reshape(-1)[0])


@pytest.mark.parametrize(("question", "completion", "label", "reward", "abstained"), CASES)
def test_the_python_file(
    python_file: str, question: str, completion: str, label: str, reward: float, abstained: float
) -> None:
    output = _execute(python_file, question, completion, label)
    assert (_number(output["reward"]), _number(output["scores"])) == (reward, reward)
    assert _number(output["extra_logs"]["rlar_abstain"]) == abstained


@pytest.mark.parametrize(("question", "completion", "label", "reward", "abstained"), CASES)
def test_the_server(
    server: str, question: str, completion: str, label: str, reward: float, abstained: float
) -> None:
    output = _execute(server, question, completion, label)
    assert (_number(output["reward"]), _number(output["scores"])) == (reward, reward)
    assert _number(output["extra_logs"]["rlar_abstain"]) == abstained


def test_a_dead_engine_is_a_flagged_neutral_reward_not_none(python_file: str, broken_registry: None) -> None:
    output = _execute(python_file, "What is 2 + 2?", "4", "4")
    assert _number(output["reward"]) == 0.5
    assert _number(output["extra_logs"]["rlar_abstain"]) == 1.0


def test_a_dead_server_is_none_after_five_tries() -> None:
    output = _execute("http://127.0.0.1:9/get_reward", "What is 2 + 2?", "4", "4")
    assert output["reward"] is None


def _program(endpoint: str, completion: str) -> tuple[float, float]:
    output = _execute(endpoint, TASK, completion, LABEL)
    return _number(output["reward"]), _number(output["extra_logs"]["rlar_abstain"])


def test_an_engine_killed_in_mid_batch_costs_no_reward(python_file: str, machine: Place) -> None:
    with killing(machine):
        assert _program(python_file, SLOW) == (1.0, 0.0)
    with killing(machine, 2):
        assert _program(python_file, SLOW) == (0.5, 1.0)


def test_an_engine_that_says_nothing_is_replaced(python_file: str, machine: Place) -> None:
    with stopping(machine):
        assert _program(python_file, SLOW) == (1.0, 0.0)


def test_an_engine_that_says_nothing_is_not_waited_for_too_long(
    python_file: str, machine: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlar_graph.adapters.openrlhf.SECONDS", 0.5)
    with stopping(machine):
        assert _program(python_file, SLOW) == (0.5, 1.0)


def test_an_engine_that_cannot_be_had_is_a_flagged_neutral_reward(python_file: str, machine: Place) -> None:
    forbid(machine)
    assert _program(python_file, SLOW) == (0.5, 1.0)


def test_an_endless_program_is_wrong(python_file: str, server: str, machine: Place) -> None:
    assert _program(python_file, ENDLESS) == (0.0, 0.0)
    assert _program(server, ENDLESS) == (0.0, 0.0)


def test_a_server_that_gives_a_request_up_is_none_after_five_tries(tmp_path: Path) -> None:
    with _serving(tmp_path, "--request-seconds", "1") as url:
        assert _execute(url, TASK, ENDLESS, LABEL)["reward"] is None
