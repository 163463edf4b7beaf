"""Each adapter, called as its trainer calls it (the shapes are those of docs/trainers.md)."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from rlar_graph.adapters import areal, nemo_gym, openrlhf, shared, skyrl, slime, swift, trl, verifiers, verl
from rlar_graph.adapters.abstention import settle, settle_groups
from rlar_graph.errors import InputError, SettingsError, Unscored
from rlar_graph.types import Message, Score
from tests.patience import COMMAND_SECONDS

QUESTION, POEM = "What is 2 + 2?", "Write a poem."
CHAT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
IFEVAL = json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]})


def test_importing_adapters_imports_no_trainer() -> None:
    code = "import sys, pkgutil, importlib, rlar_graph.adapters as a\n"
    code += "for m in pkgutil.iter_modules(a.__path__): importlib.import_module('rlar_graph.adapters.' + m.name)\n"
    code += "print(*{'torch','trl','verl','openrlhf','swift','areal','ray','nemo_gym','fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_trl_gets_none_for_an_abstention_and_its_log_is_used() -> None:
    logged: dict[str, object] = {}
    arguments: dict[str, Any] = {
        "prompts": [QUESTION, QUESTION, POEM],
        "completions": ["4", "5", "Rain falls."],
        "completion_ids": [[1], [2], [3]],
        "solution": ["4", "4", None],
        "trainer_state": object(),
        "log_extra": lambda name, column: logged.update({name: column}),
        "log_metric": lambda name, value: logged.update({name: value}),
    }
    assert trl.rlar(**arguments) == [1.0, 0.0, None]
    assert logged["rlar/abstain_rate"] == pytest.approx(1 / 3)
    assert inspect.iscoroutinefunction(trl.rlar_async)
    assert asyncio.run(trl.rlar_async(**arguments)) == [1.0, 0.0, None]


def test_async_grpo_pickles_the_function_into_a_child_process() -> None:
    code = "import pickle, sys; f = pickle.load(sys.stdin.buffer); "
    code += (
        "print(f(prompts=['What is 2 + 2?', 'Write a poem.'], completions=['4', 'x'], answer=['4', None]))"
    )
    child = [sys.executable, "-c", code]
    done = subprocess.run(
        child, input=pickle.dumps(trl.rlar), capture_output=True, check=True, timeout=COMMAND_SECONDS
    )
    assert done.stdout.split(b"\n")[0] == b"[1.0, None]"


def _verl(ground_truth: object, solution: str, **extra: object) -> dict[str, float]:
    call = partial(
        verl.compute_score, data_source="made/up", solution_str=solution, ground_truth=ground_truth
    )
    return asyncio.run(call(extra_info={"split": "train", "index": 3, "num_turns": None, **extra}))


def test_verl_gets_the_same_keys_for_every_sample() -> None:
    right = _verl("4", "The answer is 4.", question=QUESTION, answer="2 + 2 = 4\n#### 4")
    wrong = _verl("4", "The answer is 5.", question=QUESTION)
    unsaid = _verl(None, "Rain falls.", question=POEM)
    assert (right["score"], wrong["score"], unsaid["score"]) == (1.0, 0.0, 0.5)
    assert [each["rlar_abstain"] for each in (right, wrong, unsaid)] == [0.0, 0.0, 1.0]
    assert right.keys() == wrong.keys() == unsaid.keys()
    assert inspect.iscoroutinefunction(verl.compute_score)


def test_verl_without_a_question_rests_on_the_ground_truth() -> None:
    assert _verl("4", "The answer is 4.")["score"] == 1.0


def test_a_ground_truth_of_instructions_or_tests_is_opened() -> None:
    assert _verl(IFEVAL, "No comma here.", question="Do not use any commas.")["score"] == 1.0
    assert _verl(IFEVAL, "One, two.", question="Do not use any commas.")["score"] == 0.0
    tests = json.dumps({"inputs": ["3\n", "5\n"], "outputs": ["6\n", "10\n"]})
    program = "```python\nprint(2 * int(input()))\n```"
    assert _verl(tests, program, question="Double the number on standard input.")["score"] == 1.0
    assert _verl(tests, program.replace("2", "3"), question="Double it.")["score"] == 0.0


def test_the_neutral_value_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    call = partial(verl.compute_score, None, "Rain falls.", None, {"question": POEM})
    assert asyncio.run(call(neutral=0.25))["score"] == 0.25
    wrong: Any
    for wrong in ("much", "1.5", "nan", [1]):
        with pytest.raises(SettingsError, match="neutral must be"):
            asyncio.run(call(neutral=wrong))
    shared.close_all()
    monkeypatch.setenv("RLAR_NEUTRAL_REWARD", "0.75")
    assert asyncio.run(call())["score"] == 0.75
    shared.close_all()
    monkeypatch.setenv("RLAR_NEUTRAL_REWARD", "1.5")
    with pytest.raises(SettingsError, match="neutral_reward"):
        asyncio.run(call())


def test_broken_settings_are_a_flagged_neutral_reward_where_an_exception_would_be_swallowed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shared.close_all()
    monkeypatch.setenv("RLAR_NEUTRAL_REWARD", "much")
    answer = openrlhf.reward_func([f"{QUESTION} 4"], [QUESTION], ["4"])
    assert (answer["rewards"], answer["extra_logs"]) == ([0.5], {"rlar_abstain": [1.0]})
    assert areal.reward(QUESTION, "4", answer="4") == 0.5
    assert "SettingsError: neutral_reward" in caplog.text


def test_openrlhf_gets_numbers_only() -> None:
    asked = CHAT.format(QUESTION)
    right = openrlhf.reward_func([f"{asked}The answer is 4.<|im_end|>"], [asked], ["4"])
    assert right == {"rewards": [1.0], "scores": [1.0], "extra_logs": {"rlar_abstain": [0.0]}}
    poem = openrlhf.reward_func(["Write a poem.\nRain falls.</s>"], [POEM], [""])
    assert poem == {"rewards": [0.5], "scores": [0.5], "extra_logs": {"rlar_abstain": [1.0]}}
    cut = openrlhf.reward_func([f"{asked[30:]}4<|im_end|>"], [asked], ["4"])
    assert cut["rewards"] == [1.0]


def test_openrlhf_never_sees_an_exception() -> None:
    odd: list[tuple[Any, str, str]] = [
        ("another text", QUESTION, "4"),
        (QUESTION + "4", QUESTION, '{"tests": 4}'),
        (None, QUESTION, "4"),
    ]
    for query, prompt, label in odd:
        answer = openrlhf.reward_func([query], [prompt], [label])
        assert answer["extra_logs"] == {"rlar_abstain": [1.0]}


def test_a_query_is_told_from_its_prompt_also_where_it_repeats_it() -> None:
    repeated = openrlhf.rollout_from_query(f"{QUESTION}{QUESTION} 4", QUESTION, "4")
    assert repeated.completions == (f"{QUESTION} 4",)
    with pytest.raises(InputError, match="does not begin with"):
        openrlhf.rollout_from_query("something else", QUESTION)


class Dumped:
    """A pydantic model, as far as the adapter can see."""

    def __init__(self, **fields: object) -> None:
        self.fields = fields

    def model_dump(self) -> dict[str, object]:
        """Return the fields."""
        return self.fields


@dataclass
class Traced:
    """A verifiers trace, as far as the adapter can see."""

    last_reply: str
    info: dict[str, object] = field(default_factory=dict)


def test_verifiers_gets_a_float_or_an_exception() -> None:
    task = Dumped(idx=0, prompt=[{"role": "user", "content": QUESTION}], answer="4", system_prompt=None)
    trace = Traced("The answer is 4.")
    assert asyncio.run(verifiers.rlar(task, trace)) == 1.0
    assert trace.info["rlar"] == {"tool": "maths", "version": 1, "abstained": None}
    assert asyncio.run(verifiers.rlar(task, Traced("The answer is 5."))) == 0.0
    with pytest.raises(Unscored, match="no tool serves"):
        asyncio.run(verifiers.rlar(Dumped(prompt=POEM, answer=None), Traced("Rain falls.")))


@dataclass
class Sample:
    """A slime sample, as far as the adapter can see."""

    prompt: str | list[Message]
    response: str
    label: str | None = None
    metadata: dict[str, object] = field(default_factory=dict)
    remove_sample: bool = False


def test_slime_takes_one_sample_or_a_group() -> None:
    plain, keyed = SimpleNamespace(reward_key=None), SimpleNamespace(reward_key="score")
    sample = Sample(CHAT.format(QUESTION), "4<|im_end|>", "4")
    assert asyncio.run(slime.reward(plain, sample)) == 1.0
    assert asyncio.run(slime.reward(plain, [sample, Sample(QUESTION, "5", "4")])) == [1.0, 0.0]
    assert asyncio.run(slime.reward(keyed, sample)) == {"score": 1.0, "rlar_abstain": 0.0}
    assert not sample.remove_sample
    poem = Sample([{"role": "user", "content": POEM}], "Rain falls.")
    assert asyncio.run(slime.reward(plain, poem)) == 0.5
    assert poem.remove_sample
    assert "no tool serves" in str(poem.metadata["rlar_abstained"])


def test_a_slime_group_gives_an_abstention_the_mean_of_the_others() -> None:
    too_long = "4" * 1_000_001
    group = [Sample(QUESTION, text, "4") for text in ("4", "4", "5", too_long)]
    values = asyncio.run(slime.reward(SimpleNamespace(), group))
    assert isinstance(values, list)
    assert values == [1.0, 1.0, 0.0, pytest.approx(2 / 3)]
    assert [sample.remove_sample for sample in group] == [False, False, False, True]


def test_areal_gets_a_float_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    ids = {"prompt_ids": [1], "completion_ids": [2]}
    assert areal.reward(CHAT.format(QUESTION), "4<|im_end|>", **ids, answer="4", query_id="q") == 1.0
    assert areal.reward(CHAT.format(QUESTION), "5", **ids, answer="4") == 0.0
    assert areal.reward(POEM, "Rain falls.", **ids) == 0.5
    assert areal.reward(POEM, "Rain falls.", **ids, schema=4) == 0.5
    assert "neutral reward 0.5 for an abstention: no tool serves" in caplog.text
    assert "InputError" in caplog.text
    pickle.loads(pickle.dumps(areal.reward))  # noqa: S301 - our own bytes


def test_swift_gets_numbers_because_it_would_make_none_a_zero(caplog: pytest.LogCaptureFixture) -> None:
    orm = swift.RlarORM(args=SimpleNamespace())
    asked = [{"role": "user", "content": QUESTION}]
    answered = [*asked, {"role": "assistant", "content": "4"}]
    values = orm(
        ["4", "5", "Rain falls.", "4" * 1_000_001],
        messages=[answered, asked, [{"role": "user", "content": POEM}], asked],
        solution=["4", "4", None, "4"],
        trainer_state=object(),
        response_token_ids=[[1], [2], [3], [4]],
    )
    assert values == [1.0, 0.0, 0.5, 0.5]
    assert "2 of 4 completions abstained" in caplog.text
    assert swift.RlarORM()(["4"], query=[QUESTION], solution=["4"]) == [1.0]


def test_skyrl_steps_once() -> None:
    env = skyrl.SingleTurn(env_config={}, extras={"reward_spec": {"ground_truth": "4"}, "data_source": "x"})
    prompt, info = env.init([{"role": "user", "content": QUESTION}])
    assert (prompt, info) == ([{"role": "user", "content": QUESTION}], {})
    output = env.step("The answer is 4.<|im_end|>")
    assert (output["reward"], output["done"], output["observations"]) == (1.0, True, [])
    assert env.get_metrics() == {"rlar_abstain": 0.0}
    env.close()
    poet = skyrl.SingleTurn(env_config={"neutral": 0.25}, extras={})
    poet.init([{"role": "user", "content": POEM}])
    assert poet.step("Rain falls.")["reward"] == 0.25
    metrics = [env.get_metrics(), poet.get_metrics()]
    assert skyrl.SingleTurn.aggregate_metrics(metrics) == {"rlar_abstain": 0.5}


def test_nemo_gym_masks_what_nothing_could_judge() -> None:
    def body(question: str, answer: str, **fields: object) -> dict[str, object]:
        message = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": answer}],
        }
        output = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "It is 7."}]}, message]
        asked = [{"role": "user", "content": question, "type": "message"}]
        return {"responses_create_params": {"input": asked}, "response": {"output": output}, **fields}

    right = asyncio.run(nemo_gym.verify(body(QUESTION, "The answer is 4.", expected_answer="4")))
    assert (right["reward"], right["expected_answer"]) == (1.0, "4")
    assert "mask_sample" not in right
    masked = asyncio.run(nemo_gym.verify(body(POEM, "Rain falls.")))
    assert (masked["reward"], masked["mask_sample"], masked["failure_kind"]) == (
        0.0,
        True,
        "verifier_abstained",
    )
    assert nemo_gym.output_text({"output": []}) == ""


def test_settling_leaves_the_others_advantages_as_they_are() -> None:
    scores = [Score(1.0), Score(0.0), Score(None, abstained="too long")]
    assert [each.value for each in settle(scores, 0.5)] == [1.0, 0.0, 0.5]
    assert [each.abstained for each in settle(scores, 0.5)] == [False, False, True]
    assert settle([Score(None)], neutral=0.1)[0].value == 0.1
    grouped = settle_groups(["a", "b", "a", "b"], [Score(1.0), Score(None), Score(None), Score(0.0)], 0.3)
    assert [each.value for each in grouped] == [1.0, 0.0, 1.0, 0.0]


def _broken_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    shared.close_all()
    monkeypatch.setenv("RLAR_REGISTRY_URL", "sqlite:////proc/nowhere/rlar.db")


@pytest.mark.parametrize(
    "call",
    [
        lambda: openrlhf.reward_func([f"{QUESTION} 4"], [QUESTION], ["4"])["rewards"],
        lambda: [areal.reward(QUESTION, "4", answer="4")],
    ],
    ids=["openrlhf", "areal"],
)
def test_an_engine_that_is_gone_is_an_abstention_where_an_exception_would_be_a_zero(
    call: Callable[[], object], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _broken_registry(monkeypatch)
    try:
        assert call() == [0.5]
        assert "RegistryError" in caplog.text
    finally:
        shared.close_all()


def test_time_that_runs_out_is_an_abstention(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(areal, "SECONDS", 0.5)
    looping = "```python\ndef f():\n    while True:\n        pass\n```"
    assert areal.reward("Write a function f.", looping, tests=["assert f() == 1"]) == 0.5
    assert "no verdict within 0.5 s" in caplog.text
