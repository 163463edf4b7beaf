"""What each trainer's call comes to when the engine it shares dies, hangs or cannot be had, and when a program hangs.

The trainers' own code is called in tests/trainers; here are the shapes of their calls, for all of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from rlar_graph.adapters import areal, nemo_gym, openrlhf, shared, skyrl, slime, swift, trl, verifiers, verl
from rlar_graph.errors import EngineError
from tests.adapters.test_adapters import Dumped, Sample, Traced
from tests.machine.conftest import Place
from tests.machine.trouble import ENDLESS, LABEL, SLOW, TASK, TESTS, forbid, killing, stopping, warmed

Answer = tuple[float | None, bool]
"""The reward that the trainer sees, and whether it is told that this is no judgement."""


def _trl(completion: str) -> Answer:
    (value,) = trl.rlar([TASK], [completion], tests=[TESTS])
    return value, value is None


def _verl(completion: str) -> Answer:
    found = asyncio.run(verl.compute_score("d", completion, LABEL, {"question": TASK}))
    return found["score"], bool(found["rlar_abstain"])


def _openrlhf(completion: str) -> Answer:
    found: dict[str, Any] = openrlhf.reward_func([TASK + completion], [TASK], [LABEL])
    return found["rewards"][0], bool(found["extra_logs"]["rlar_abstain"][0])


def _verifiers(completion: str) -> Answer:
    return asyncio.run(verifiers.rlar(Dumped(prompt=TASK, tests=TESTS), Traced(completion))), False


def _slime(completion: str) -> Answer:
    sample = Sample(TASK, completion, LABEL)
    value = asyncio.run(slime.reward(SimpleNamespace(), sample))
    assert isinstance(value, float)
    return value, sample.remove_sample


def _areal(completion: str) -> Answer:
    return areal.reward(TASK, completion, tests=TESTS), False


def _swift(completion: str) -> Answer:
    messages = [[{"role": "user", "content": TASK}]]
    return swift.RlarORM()([completion], messages=messages, tests=[TESTS])[0], False


def _skyrl(completion: str) -> Answer:
    env = skyrl.SingleTurn({}, {"reward_spec": {"ground_truth": LABEL}})
    env.init([{"role": "user", "content": TASK}])
    value = env.step(completion)["reward"]
    assert isinstance(value, float)
    return value, bool(env.get_metrics()["rlar_abstain"])


def _nemo_gym(completion: str) -> Answer:
    message = {"type": "message", "content": [{"text": completion}]}
    fields = {"responses_create_params": {"input": TASK}, "response": {"output": [message]}, "tests": TESTS}
    found = asyncio.run(nemo_gym.verify(fields))
    reward = found["reward"]
    assert isinstance(reward, float)
    return reward, bool(found.get("mask_sample"))


CALLS: dict[str, Callable[[str], Answer]] = {
    "trl": _trl,
    "verl": _verl,
    "openrlhf": _openrlhf,
    "verifiers": _verifiers,
    "slime": _slime,
    "areal": _areal,
    "swift": _swift,
    "skyrl": _skyrl,
    "nemo_gym": _nemo_gym,
}
SWALLOW = {"openrlhf", "areal"}
"""Trainers that swallow an exception, or make a zero of it: their adapters raise none."""


def _all_at_once(completion: str) -> dict[str, Answer]:
    with ThreadPoolExecutor(len(CALLS)) as pool:
        return dict(zip(CALLS, pool.map(lambda call: call(completion), CALLS.values()), strict=True))


def test_an_engine_killed_in_mid_batch_costs_time_and_no_reward(machine: Place) -> None:
    with killing(machine):
        assert _all_at_once(SLOW) == dict.fromkeys(CALLS, (1.0, False))


@pytest.mark.parametrize("trainer", CALLS)
def test_an_engine_that_cannot_be_had_is_no_reward(
    trainer: str, machine: Place, caplog: pytest.LogCaptureFixture
) -> None:
    forbid(machine)
    if trainer in SWALLOW:
        assert CALLS[trainer](SLOW)[0] == 0.5
        assert "EngineError" in caplog.text
    else:
        with pytest.raises(EngineError, match="not this user's alone"):
            CALLS[trainer](SLOW)


def test_a_program_in_an_endless_loop_has_failed_its_tests(machine: Place) -> None:
    assert _all_at_once(ENDLESS) == dict.fromkeys(CALLS, (0.0, False))


def test_an_engine_killed_twice_is_no_reward(machine: Place, caplog: pytest.LogCaptureFixture) -> None:
    with killing(machine, 2), pytest.raises(EngineError, match="second time"):
        _verl(SLOW)
    shared.close_all()
    with killing(machine, 2):
        assert _openrlhf(SLOW) == (0.5, True)
    assert "EngineError" in caplog.text
    assert _verl(SLOW) == (1.0, False)


def test_an_engine_that_does_not_answer_is_replaced(machine: Place) -> None:
    with stopping(machine):
        assert _all_at_once(SLOW) == dict.fromkeys(CALLS, (1.0, False))


def test_who_may_not_wait_for_the_next_engine_abstains(
    machine: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(areal, "SECONDS", 0.5)
    monkeypatch.setattr(openrlhf, "SECONDS", 0.5)
    with stopping(machine):
        assert _areal("5")[0] == 0.5
        assert _openrlhf("5") == (0.5, True)
    assert caplog.messages.count("a completion was not scored: no verdict within 0.5 s") == 2


def test_samples_of_one_call_share_one_wait(
    machine: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds, samples = 2.0, 60
    monkeypatch.setattr(openrlhf, "SECONDS", seconds)
    monkeypatch.setenv("RLAR_ENGINE_SILENT_SECONDS", "600")  # nobody finds out that it is stopped
    with stopping(machine):
        begun = time.monotonic()
        found: dict[str, Any] = openrlhf.reward_func(
            [f"{TASK}{n}" for n in range(samples)], [TASK] * samples, [LABEL] * samples
        )
        assert time.monotonic() - begun < seconds * samples / 2
    assert found["rewards"] == [0.5] * samples
    assert found["extra_logs"]["rlar_abstain"] == [1.0] * samples
    assert caplog.messages.count(f"a completion was not scored: no verdict within {seconds:g} s") == samples


def test_a_call_whose_label_cannot_be_read_leaves_the_others_alone(machine: Place) -> None:
    warmed(machine)
    label = {"tests": [1, 2], "test_list": 3}
    found: dict[str, Any] = openrlhf.reward_func([TASK + SLOW, "astray"], [TASK, TASK], [LABEL, label])
    assert found["rewards"] == [1.0, 1.0]  # the group's mean stands in
    assert found["extra_logs"]["rlar_abstain"] == [0.0, 1.0]


def test_where_there_is_no_folder_to_meet_in_a_process_has_an_engine_of_its_own(
    machine: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RLAR_ENGINE", "auto")
    forbid(machine)
    assert _verl(SLOW) == (1.0, False)
    assert "an engine of its own" in caplog.text
    assert machine.engines() == []


def test_adapters_of_one_process_share_a_connection_and_forked_ones_do_not(machine: Place) -> None:
    engine = warmed(machine)
    assert _slime(SLOW) == _skyrl(SLOW) == (1.0, False)
    child = os.fork()
    if child == 0:
        os._exit(_verl(SLOW) != (1.0, False))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert machine.engines() == [engine]
