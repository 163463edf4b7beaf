"""The language model over real HTTP: every rung, retry, repair and refusal, budgets, and secrets that stay secret."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel, RootModel, SecretStr

from rlar_graph.errors import BudgetExhausted, LLMError, LLMReplyError, LLMUnavailable, SettingsError
from rlar_graph.llm import LanguageModel
from rlar_graph.llm.ledger import Budget, Claim, Ledger, Price, Usage
from rlar_graph.llm.replies import FoldedEnum, Unreadable, read, without_thoughts
from rlar_graph.testing import (
    Answer,
    ScriptedChatServer,
    ScriptedModel,
    cut_off,
    failing,
    fenced,
    malformed,
    refusing,
    scripted_model,
    thinking,
    truncated,
)
from tests.patience import COMMAND_SECONDS, HANG_SECONDS, PATIENCE, linear, prompt, until

KEY = "sk-very-secret-0123456789"


class Route(FoldedEnum):
    SEARCH = "search"
    WRITE_CODE = "write_code"


class Plan(BaseModel):
    answer: str
    steps: list[str] = []


class Choice(BaseModel):
    route: Route


PLAN = '{"answer": "yes"}'


@contextmanager
def dead_address() -> Iterator[str]:
    """An address at which nobody listens, held so that nobody else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def formats(model: ScriptedModel) -> list[str]:
    return [request.format for request in model.server.requests]


# ---- structured replies


def test_a_strict_server_is_asked_with_the_schema_once_and_it_is_in_the_prompt_too() -> None:
    with scripted_model(PLAN) as model:
        assert model.ask("planner", "Plan it.", Plan) == Plan(answer="yes")
        (request,) = model.server.requests
    wanted = request.body["response_format"]["json_schema"]
    assert wanted["strict"] is False
    assert wanted["schema"] == Plan.model_json_schema()
    assert json.dumps(Plan.model_json_schema()) in request.text
    assert request.text.startswith("Plan it.")
    assert request.role == "planner"
    assert request.body["max_tokens"] == 4096
    assert "temperature" not in request.body


@pytest.mark.parametrize(
    ("accepted", "seen"),
    [
        (("json_schema", "json_object"), ["json_schema", "json_schema"]),
        (("json_object_schema",), ["json_schema", "json_object_schema", "json_object_schema"]),
        (("json_object",), ["json_schema", "json_object_schema", "json_object", "json_object"]),
        ((), ["json_schema", "json_object_schema", "json_object", "text", "text"]),
    ],
)
def test_the_ladder_goes_down_to_what_the_server_takes_and_the_rung_is_remembered(
    accepted: tuple[str, ...], seen: list[str]
) -> None:
    with scripted_model(PLAN, formats=accepted) as model:
        for _ in range(2):
            assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        assert formats(model) == seen
        assert model.ledger.total().calls == 2, "a rejected request is no call"
        assert model.ledger.total().failures == len(seen) - 2
        assert model.for_run(Budget()).ask("planner", "Again.", Plan).answer == "yes"
        assert formats(model) == [*seen, seen[-1]], "a run of its own knows what was learned"


def test_a_server_error_over_the_schema_goes_down_too_but_an_overload_does_not() -> None:
    def grammar_fails(request: Any) -> str | Answer:
        return PLAN if request.format == "json_object" else failing(500, "failed to parse grammar")

    with scripted_model(grammar_fails, max_retries=1) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        assert formats(model) == ["json_schema"] * 2 + ["json_object_schema"] * 2 + ["json_object"] * 2
    with scripted_model(failing(503), max_retries=1) as model:
        with pytest.raises(LLMUnavailable, match="503"):
            model.ask("planner", "Plan it.", Plan)
        assert formats(model) == ["json_schema"] * 2


def test_a_rejection_that_is_not_about_the_format_teaches_nothing() -> None:
    with scripted_model([failing(400, "prompt too long")] * 4 + [PLAN]) as model:
        with pytest.raises(LLMReplyError, match="prompt too long"):
            model.ask("planner", "Plan it.", Plan)
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        ladder = ["json_schema", "json_object_schema", "json_object", "text"]
        assert formats(model) == [*ladder, "json_schema"]


@pytest.mark.parametrize(
    "answer",
    [
        fenced(PLAN),
        thinking(PLAN),
        Answer(f"my thoughts, e.g. {{'x'}}\n</think>\n{PLAN}"),
        Answer(f"Not {{valid}} nor [1, 2] but {PLAN} and {{'trailing'}}"),
        Answer('{"result": ' + PLAN + "}"),
        Answer('[{"answer": "yes"}]'),
        Answer(f"<think>{PLAN}"),
        truncated(f"{PLAN} and then I would like to"),
        Answer(f"\ufeff  {PLAN}\n\n\n"),
    ],
)
def test_wrapped_json_is_read_without_a_second_request(answer: Answer) -> None:
    with scripted_model([answer]) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"


def test_json_behind_a_wall_of_brackets_is_read() -> None:
    assert read("{1, 2} " * 5000 + PLAN, Plan) == Plan(answer="yes")


def test_thoughts_do_not_answer_for_the_reply() -> None:
    with scripted_model([thinking(PLAN, thoughts='{"answer": "no"}')]) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (Answer("I would rather talk."), "no complete JSON"),
        (Answer('{"answer": 7, "steps": "none"}'), "answer: Input should be a valid string; steps: "),
        (Answer('{"answer": "ye'), "no complete JSON"),
        (truncated('{"answer": "ye'), "cut off"),
        (Answer(""), "no complete JSON"),
        (Answer(None), "no complete JSON"),
    ],
)
def test_a_bad_reply_is_repaired_once(bad: Answer, complaint: str) -> None:
    with scripted_model([bad, fenced(PLAN)]) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        repair = model.server.requests[1].body["messages"]
        assert [message["role"] for message in repair] == ["user", "assistant", "user"]
        assert repair[1]["content"] == (bad.text or "(empty)")
        assert complaint in repair[2]["content"]
        assert model.ledger.total().calls == 2


def test_a_second_bad_reply_is_an_error_that_says_so() -> None:
    with scripted_model(["no", '{"answer": 7}', PLAN]) as model:
        with pytest.raises(
            LLMReplyError, match=r"gave the planner no Plan in two tries: answer: Input should be"
        ):
            model.ask("planner", "Plan it.", Plan)
        assert len(model.server.requests) == 2
    with (
        scripted_model(truncated("{"), max_tokens=77) as model,
        pytest.raises(LLMReplyError, match="cut off at 77"),
    ):
        model.ask("planner", "Plan it.", Plan)


def test_a_grammar_that_brings_no_json_is_left_for_the_repair_only() -> None:
    with scripted_model(["   ", PLAN, '{"answer": 7}', PLAN]) as model:
        model.ask("planner", "Plan it.", Plan)
        model.ask("planner", "Plan it.", Plan)
        assert formats(model) == ["json_schema", "json_object_schema", "json_schema", "json_schema"]


@pytest.mark.parametrize("refusal", [refusing("Against my rules."), Answer("", finish="content_filter")])
def test_a_refusal_is_an_error_and_is_not_argued_with(refusal: Answer) -> None:
    with scripted_model(refusal) as model:
        with pytest.raises(
            LLMReplyError, match=r"refused the planner: (Against my rules|stopped by the content filter)"
        ):
            model.ask("planner", "Plan it.", Plan)
        assert len(model.server.requests) == 1


def test_vocabulary_is_folded() -> None:
    for said in ("SEARCH", " Search. ", "search"):
        assert read(json.dumps({"route": said}), Choice) == Choice(route=Route.SEARCH)
    assert read('{"route": "Write Code"}', Choice) == Choice(route=Route.WRITE_CODE)
    assert read('{"route": "sear"}', Choice) == Unreadable(
        "route: Input should be 'search' or 'write_code'", has_json=True
    )


def test_a_list_can_be_asked_for_and_raw_line_breaks_are_read() -> None:
    assert read("Here: [1, 2]", RootModel[list[int]]).root == [1, 2]  # type: ignore[union-attr]
    assert read('{"answer": "a\nb\tc"}', Plan) == Plan(answer="a\nb\tc")
    assert read('{"answer": "\\ud800", "steps": ["\\ud83d\\ude00"]}', Plan) == Plan(
        answer="?", steps=["\U0001f600"]
    )


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("<think>a</think>b", "<think>a</think>b"),
        ("<think>a</think>\nb", "b"),
        ("<THINKING>a</THINKING> b", "b"),
        ("a\n</think>\n\nb", "b"),
        ("<think>never stops", ""),
        ('x.split("</think>")[-1]', 'x.split("</think>")[-1]'),
        ('re.sub("<think>.*</think> ", "", x)', 're.sub("<think>.*</think> ", "", x)'),
        ("  b ", "b"),
    ],
)
def test_thoughts_are_told_from_code_about_thoughts(text: str, rest: str) -> None:
    assert without_thoughts(text) == (rest if "</think>b" not in text else "")


@pytest.mark.parametrize(
    "unit",
    ["{", "[", '{"a":', '{"a":[', '{"a":"', '{"a":{},', "[1,", "<think>", "</think>", "</think> ", "\\", '"'],
)
def test_a_megabyte_of_brackets_is_read_in_time(unit: str) -> None:
    with linear():
        assert isinstance(read(unit * (1_000_000 // len(unit)), Plan), Unreadable)


# ---- text, batches, samples


def test_text_comes_without_thoughts_and_empty_text_is_an_error() -> None:
    with scripted_model([thinking("def score(): ..."), "  ", truncated("def sc")]) as model:
        assert model.ask_text("code_writer", "Write it.") == "def score(): ..."
        assert model.server.requests[0].format == "text"
        assert model.server.requests[0].text == "Write it."
        with pytest.raises(LLMReplyError, match="an empty text"):
            model.ask_text("code_writer", "Write it.")
        with pytest.raises(LLMReplyError, match="cut off at 4096 tokens"):
            model.ask_text("code_writer", "Write it.")


def test_a_conversation_is_sent_as_it_is_and_lone_surrogates_do_not_break_it() -> None:
    talk: list[dict[str, object]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Half a pair: \ud83d"}]},
    ]
    with scripted_model(["ok", PLAN]) as model:
        assert model.ask_text("judge", talk) == "ok"
        assert model.server.requests[0].body["messages"][0] == talk[0]
        assert model.server.requests[0].text.endswith("Half a pair: ?")
        model.ask("judge", talk, Plan)
        assert model.server.requests[1].body["messages"][0] == talk[0]


def test_many_prompts_keep_their_order_and_one_bad_one_spoils_no_other() -> None:
    at_once, most, lock, together = 0, 0, threading.Lock(), threading.Event()

    def script(request: Any) -> str | Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            if at_once > 1:
                together.set()
        together.wait(PATIENCE)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        number = request.text.split()[1]
        return refusing() if number == "5" else json.dumps({"answer": number})

    with scripted_model(script) as model:
        answers = model.ask_many("planner", [f"Prompt {n} please" for n in range(20)], Plan, concurrency=4)
    assert isinstance(answers[5], LLMReplyError)
    assert [answer.answer for answer in answers if isinstance(answer, Plan)] == [
        str(n) for n in range(20) if n != 5
    ]
    assert 2 <= most <= 4


def test_samples_are_separate_requests_with_seeds_of_their_own() -> None:
    with scripted_model([PLAN, fenced(PLAN), refusing()], temperature=0.0) as model:
        answers = model.sample("prober", "Solve it.", Plan, 3, seed=40, concurrency=1)
        assert [type(answer) for answer in answers] == [Plan, Plan, LLMReplyError]
        assert [request.body["seed"] for request in model.server.requests] == [40, 41, 42]
        assert {request.body["temperature"] for request in model.server.requests} == {0.8}


def test_temperature_of_a_call_comes_before_that_of_the_model() -> None:
    with scripted_model("ok", temperature=0.3) as model:
        model.ask_text("judge", "x")
        model.ask_text("judge", "x", temperature=0.0, seed=1)
        sent = [request.body for request in model.server.requests]
    assert [body["temperature"] for body in sent] == [0.3, 0.0]
    assert [body.get("seed") for body in sent] == [None, 1]


@pytest.mark.parametrize(
    ("option", "left"), [("temperature", {}), ("seed", {}), ("max_tokens", {"max_completion_tokens": 99})]
)
def test_an_option_the_server_does_not_know_is_left_out_from_then_on(
    option: str, left: dict[str, int]
) -> None:
    with scripted_model("ok", rejects=[option], temperature=0.1, max_tokens=99) as model:
        for _ in range(2):
            assert model.ask_text("judge", "x", seed=1) == "ok"
        sent = [request.body for request in model.server.requests]
    assert len(sent) == 3
    assert option in sent[0]
    assert option not in sent[1]
    assert all(body.get(name) == value for body in sent[1:] for name, value in left.items())


def test_it_can_be_awaited_and_a_cancelled_question_ends() -> None:
    async def main(model: ScriptedModel) -> None:
        assert (await model.aask("planner", "Plan it.", Plan)).answer == "yes"
        asking = asyncio.ensure_future(model.aask("planner", "Plan it.", Plan))
        while len(model.server.requests) < 2:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with scripted_model([PLAN, Answer(PLAN, delay=HANG_SECONDS)]) as model:
        asyncio.run(main(model))
        until(lambda: model.ledger.total().calls == 2)
        assert model.ledger.total().failures == 1


# ---- faults and retries


@pytest.mark.parametrize(
    "fault",
    [failing(500), failing(503), failing(429), failing(408), cut_off(), malformed(), malformed("<html>")],
)
def test_a_passing_fault_is_tried_again(fault: Answer) -> None:
    with scripted_model([fault, fault, PLAN]) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        usage = model.ledger.total()
    assert usage.failures == 2
    assert usage.calls == (1 if fault.status != 200 else 3), "what the model may have worked on counts"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (failing(500), "Error code: 500.*tried 3x"),
        (failing(429), "Error code: 429.*tried 3x"),
        (cut_off(), "tried 3x"),
        (malformed(), "no chat completion.*tried 3x"),
        (malformed('{"error": {"message": "model crashed"}}'), "no chat completion"),
        (malformed('{"choices": null}'), "no chat completion"),
        (malformed('{"choices": []}'), "no chat completion"),
        (malformed("[]"), "no chat completion"),
        (malformed('"text"'), "no chat completion"),
        (malformed(""), "no chat completion"),
    ],
)
def test_a_lasting_fault_is_an_error(fault: Answer, said: str) -> None:
    with scripted_model(fault) as model:
        with pytest.raises(LLMUnavailable, match=f"scripted at http://.*gave the planner no reply: .*{said}"):
            model.ask_text("planner", "Plan it.")
        assert len(model.server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_not_tried_again(status: int) -> None:
    with scripted_model(failing(status, "no such key")) as model:
        with pytest.raises(LLMUnavailable, match=f"{status}.*no such key"):
            model.ask("planner", "Plan it.", Plan)
        assert len(model.server.requests) == 1


def test_an_empty_purse_is_not_tried_again() -> None:
    broke = Answer(raw=b'{"error": {"message": "quota", "code": "insufficient_quota"}}', status=429)
    with scripted_model(broke) as model:
        with pytest.raises(LLMUnavailable, match="quota"):
            model.ask("planner", "Plan it.", Plan)
        assert len(model.server.requests) == 1


def test_retry_after_is_honoured() -> None:
    with scripted_model([failing(429, retry_after=0.4), PLAN]) as model:
        start = time.monotonic()
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"
        assert time.monotonic() - start >= 0.4


def test_a_wish_beyond_the_deadline_is_not_waited_for() -> None:
    lines = [failing(429, retry_after=3600), Answer(PLAN)]
    with scripted_model(lines) as model, prompt(), pytest.raises(LLMUnavailable, match="429"):
        model.ask("planner", "Plan it.", Plan)


def test_a_date_to_retry_after_is_read() -> None:
    past = Answer("busy", 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})
    odd = Answer("busy", 429, {"Retry-After": "soon"})
    with scripted_model([past, odd, PLAN]) as model:
        assert model.ask("planner", "Plan it.", Plan).answer == "yes"


def test_pauses_grow() -> None:
    stamps: list[float] = []

    def script(request: Any) -> Answer:
        stamps.append(time.monotonic())
        return failing(503)

    with scripted_model(script, backoff_seconds=0.1, max_retries=3) as model, pytest.raises(LLMUnavailable):
        model.ask_text("planner", "x")
    pauses = [after - before for before, after in itertools.pairwise(stamps)]
    assert len(pauses) == 3
    for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True):
        assert pause >= least


@pytest.mark.parametrize("answer", [Answer(PLAN, delay=HANG_SECONDS), Answer(PLAN, trickle=0.4)])
def test_a_slow_or_trickling_server_is_left_in_time(answer: Answer) -> None:
    with scripted_model(answer, timeout_seconds=0.5, max_retries=1, deadline_seconds=PATIENCE) as model:
        with (
            prompt(),
            pytest.raises(LLMUnavailable, match=r"(no complete answer|no answer) within 0.5 s \(tried 2x\)"),
        ):
            model.ask_text("planner", "Plan it.")
        assert model.ledger.total().calls == 2


def test_the_deadline_is_for_all_tries_together() -> None:
    with scripted_model(failing(503), backoff_seconds=0.2, max_retries=500, deadline_seconds=0.5) as model:
        with prompt(), pytest.raises(LLMUnavailable):
            model.ask_text("planner", "Plan it.")
        assert len(model.server.requests) < 500


def test_a_repair_turn_that_comes_too_late_is_not_sent() -> None:
    lines = [Answer("first"), Answer("no", delay=HANG_SECONDS)]
    with scripted_model(lines, timeout_seconds=PATIENCE, deadline_seconds=2) as model:
        assert model.ask_text("planner", "x") == "first", "the first use imports the client"
        with pytest.raises(LLMUnavailable, match=r"no complete answer within [12][.\d]* s \(tried 1x\)"):
            model.ask("planner", "x", Plan)
        assert model.ledger.total().calls == 2
    with scripted_model("no", deadline_seconds=0) as model:
        with pytest.raises(LLMUnavailable, match="its 0 s were over before it could be asked"):
            model.ask("planner", "x", Plan)
        assert model.server.requests == []
        assert model.ledger.total() == Usage()


def test_nobody_listening_is_unavailable_at_once() -> None:
    with (
        dead_address() as address,
        LanguageModel(address, "m", KEY, backoff_seconds=0.05, deadline_seconds=HANG_SECONDS) as model,
    ):
        model.ledger.snapshot()
        for _ in range(2):
            with prompt(), pytest.raises(LLMUnavailable, match="gave the planner no reply"):
                model.ask("planner", "Plan it.", Plan)
        assert model.ledger.total().calls == 0
        assert model.ledger.total().failures == 6


def test_a_missing_line_of_the_script_is_told() -> None:
    with scripted_model({"planner": [PLAN]}) as model:
        assert model.ask("planner", "x", Plan).answer == "yes"
        with pytest.raises(LLMUnavailable, match="the script has no line for the planner"):
            model.ask("planner", "x", Plan)


# ---- ledger and budget


def test_the_ledger_counts_by_role_and_its_snapshots_stay_as_they_are() -> None:
    with scripted_model(Answer("ok", usage=(1000, 200)), price=Price(2.0, 10.0)) as model:
        model.ask_text("planner", "x")
        before = model.ledger.snapshot()
        model.ask_text("judge", "x")
        model.ask_text("judge", "x")
        after = model.ledger.snapshot()
        total = model.ledger.total()
        spent = model.budget.spent
        assert (spent.calls, spent.tokens) == (3, 3600)
        assert spent.money == pytest.approx(0.012)
    assert list(before) == ["planner"]
    assert (after["judge"].calls, after["judge"].prompt_tokens, after["judge"].completion_tokens) == (
        2,
        2000,
        400,
    )
    assert after["judge"].cost == pytest.approx(0.008)
    assert (total.calls, total.failures, total.tokens) == (3, 0, 3600)
    assert total.seconds > 0
    with pytest.raises(TypeError):
        before["judge"] = Usage()  # type: ignore[index]


def test_tokens_that_a_server_does_not_count_are_charged_at_their_bound() -> None:
    with scripted_model(Answer("four", usage=None)) as model:
        model.ask_text("planner", "x" * 1000)
        usage = model.ledger.total()
    assert 1000 < usage.prompt_tokens < 1300
    assert usage.completion_tokens == 4


def test_a_run_of_its_own_has_a_ledger_and_budget_of_its_own() -> None:
    with scripted_model("ok", price=Price(1, 1)) as model:
        run = model.for_run(Budget(calls=1, money=1.0))
        run.ask_text("planner", "x")
        with pytest.raises(BudgetExhausted):
            run.ask_text("planner", "x")
        model.ask_text("planner", "x")
        assert (run.ledger.total().calls, model.ledger.total().calls) == (1, 1)
    with scripted_model("ok") as model, pytest.raises(SettingsError, match="price"):
        model.for_run(Budget(money=1.0))


@pytest.mark.parametrize("limits", [{"calls": -1}, {"tokens": -5}, {"money": float("nan")}])
def test_a_budget_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="0 or more"):
        Budget(**limits)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(calls=0), "budget of 0 calls is exhausted: 0 spent, and the next request may need 1"),
        (Budget(tokens=100), "budget of 100 tokens is exhausted"),
        (Budget(money=0.0001), "budget of 0.0001 money is exhausted"),
    ],
)
def test_what_does_not_fit_is_not_sent(budget: Budget, said: str) -> None:
    with scripted_model("ok", budget=budget, price=Price(1, 1)) as model:
        with pytest.raises(BudgetExhausted, match=said):
            model.ask_text("planner", "x")
        assert model.server.requests == []


def test_a_repair_turn_is_paid_for() -> None:
    with scripted_model(["no", PLAN], budget=Budget(calls=1)) as model:
        with pytest.raises(BudgetExhausted, match="1 calls is exhausted: 1 spent"):
            model.ask("planner", "x", Plan)
        assert len(model.server.requests) == 1


@pytest.mark.parametrize(
    ("limits", "most"),
    [({"calls": 25}, 25), ({"tokens": 2_000}, 2_000), ({"money": 0.002}, 2_000)],
)
def test_sixteen_threads_never_overspend(limits: dict[str, Any], most: int) -> None:
    answered = 0
    lock = threading.Lock()

    def script(request: Any) -> Answer:
        nonlocal answered
        with lock:
            answered += 1
            odd = answered % 5
        return failing(503) if odd == 0 else Answer("ok", usage=(60, 40), delay=0.002)

    budget = Budget(**limits)
    with scripted_model(script, budget=budget, price=Price(1, 1), max_tokens=100, max_retries=5) as model:

        def work(number: int) -> list[object]:
            outcomes: list[object] = []
            for _ in range(6):
                try:
                    outcomes.append(model.ask_text(f"role{number}", "x"))
                except BudgetExhausted as error:
                    outcomes.append(error)
            return outcomes

        with ThreadPoolExecutor(16) as pool:
            outcomes = [each for done in pool.map(work, range(16)) for each in done]
        total = model.ledger.total()
    good = outcomes.count("ok")
    assert good == total.calls == budget.spent.calls
    spent = total.calls if "calls" in limits else total.tokens
    assert spent <= most
    # With a call's bound at about 300 tokens, 100 of them real, no more than two calls' worth stays unused.
    assert spent >= (most if "calls" in limits else most - 400)
    assert any(isinstance(outcome, BudgetExhausted) for outcome in outcomes)


def test_a_full_budget_waits_for_what_is_in_flight() -> None:
    budget = Budget(tokens=1000)
    assert budget.reserve(Claim(1, 700))
    assert not budget.reserve(Claim(1, 700)), "the first may give back"
    budget.settle(Claim(1, 700), Claim(1, 100))
    assert budget.reserve(Claim(1, 700))
    budget.settle(Claim(1, 700), Claim(1, 400))
    with pytest.raises(BudgetExhausted, match="500 spent, and the next request may need 700"):
        budget.reserve(Claim(1, 700))
    assert budget.spent == Claim(2, 500)


def test_a_ledger_takes_entries_from_many_threads() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: ledger.record(f"r{number % 3}", Usage(calls=1)), range(3000)))
    assert ledger.total().calls == 3000
    assert len(ledger.snapshot()) == 3


# ---- secrets


def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = failing(401, f"Incorrect API key provided: {KEY}")
    leaks = [repr(SecretStr(KEY))]
    for line in (echo, malformed(f'"{KEY}"'), failing(500, KEY), failing(400, KEY)):
        with scripted_model(line, api_key=KEY) as model:
            with pytest.raises(LLMError) as caught:
                model.ask("planner", "Plan it.", Plan)
            assert model.server.requests[0].headers["authorization"] == f"Bearer {KEY}"
            leaks += [repr(model), str(model), str(vars(model)), str(vars(model._server))]
        error: BaseException | None = caught.value
        while error is not None:
            leaks += ["".join(traceback.format_exception(error)), repr(error), str(vars(error))]
            error = error.__cause__ or error.__context__
    assert "[key]" in "".join(leaks)
    assert KEY not in "".join(leaks)
    assert KEY not in caplog.text
    assert len(caplog.records) > 0, "the client logs at this level"


def test_a_password_in_the_address_is_shown_nowhere() -> None:
    with dead_address() as address:
        address = address.replace("//", "//user:hunter2@")
        with LanguageModel(address, "m", max_retries=0) as model:
            with pytest.raises(LLMUnavailable) as caught:
                model.ask_text("planner", "x")
            assert "hunter2" not in repr(model) + "".join(traceback.format_exception(caught.value))


def test_a_key_of_the_environment_is_not_sent_to_a_server_that_wants_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted_model("ok") as model:
        model.ask_text("planner", "x")
        assert KEY not in str(model.server.requests[0].headers)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("localhost:8000/v1", None),
        ("ftp://x/v1", None),
        ("", None),
        ("http://x/v1", f"{KEY}\nX-Evil: 1"),
        ("http://x/v1", f"{KEY}é"),
    ],
)
def test_an_address_or_key_that_cannot_be_one_is_refused_without_showing_it(
    address: str, key: str | None
) -> None:
    with pytest.raises(SettingsError) as caught:
        LanguageModel(address, "m", key)
    assert KEY not in str(caught.value)


def test_a_key_pasted_with_a_line_end_works() -> None:
    with scripted_model("ok", api_key=SecretStr(f" {KEY}\n")) as model:
        model.ask_text("planner", "x")
        assert model.server.requests[0].headers["authorization"] == f"Bearer {KEY}"


# ---- process


def test_importing_it_is_cheap() -> None:
    code = (
        "import sys, rlar_graph.llm, rlar_graph.prompts.loader\n"
        "heavy = {'openai', 'langchain_openai', 'langchain_core', 'httpx', 'httpx2'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_two_models_of_one_server_close_apart_and_a_closed_one_opens_again() -> None:
    with ScriptedChatServer("ok") as server:
        first, second = LanguageModel(server.base_url, "m"), LanguageModel(server.base_url, "m")
        with first, second:
            assert first.ask_text("a", "x") == second.ask_text("b", "x") == "ok"
            first.close()
            first.close()
            assert second.ask_text("b", "x") == "ok"
            assert first.ask_text("a", "x") == "ok"


def test_closing_ends_a_request_in_flight() -> None:
    with ScriptedChatServer(Answer("ok", delay=HANG_SECONDS)) as server, ThreadPoolExecutor(1) as pool:
        model = LanguageModel(server.base_url, "m", timeout_seconds=HANG_SECONDS)
        waiting = pool.submit(model.ask_text, "a", "x")
        until(lambda: server.requests)
        with prompt():
            model.close()
            with pytest.raises(LLMUnavailable, match="closed"):
                waiting.result()


def test_an_interrupt_ends_the_question_and_leaves_the_model_usable() -> None:
    with scripted_model([Answer("late", delay=HANG_SECONDS), "ok"]) as model:

        def interrupt_once_asked() -> None:
            while not model.server.requests:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        interrupt = threading.Thread(target=interrupt_once_asked)
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            model.ask_text("planner", "x")
        interrupt.join()
        assert model.ask_text("planner", "x") == "ok"


def test_nothing_on_the_loop_blocks() -> None:
    blockbuster = pytest.importorskip("blockbuster", reason="comes with the server extra")
    with blockbuster.blockbuster_ctx(), scripted_model([failing(503), fenced(PLAN), "no", PLAN]) as model:

        async def node() -> Plan:
            return await model.aask("planner", "x", Plan)

        assert asyncio.run(node()).answer == "yes"
        assert model.ask("planner", "x", Plan).answer == "yes"


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    code = """
import os, sys
from rlar_graph.llm import LanguageModel
model = LanguageModel(sys.argv[1], "m")
assert model.ask_text("parent", "x") == "ok"
child = os.fork()
if child == 0:
    os._exit(0 if model.ask_text("child", "x") == "ok" else 1)
assert os.waitpid(child, 0)[1] == 0
assert model.ask_text("parent", "x") == "ok"
model.close()
"""
    with ScriptedChatServer("ok") as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.base_url],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [request.role for request in server.requests] == ["parent", "child", "parent"]
