"""The scripted chat server, by plain HTTP: what the public fakes promise to those who test with them."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel

from rlar_graph.errors import SettingsError
from rlar_graph.testing import (
    Answer,
    Script,
    ScriptedChatServer,
    cut_off,
    failing,
    fenced,
    malformed,
    refusing,
    scripted_model,
    thinking,
    truncated,
)
from tests.patience import HANG_SECONDS, PATIENCE, prompt, until


class Verdict(BaseModel):
    good: bool


def post(
    server: ScriptedChatServer, text: str = "hello", role: str = "", **body: object
) -> tuple[int, bytes, Any]:
    """Send one chat request and return status, body and headers."""
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.netloc, timeout=PATIENCE)
    try:
        message = {"messages": [{"role": "user", "content": text}], **body}
        connection.request(
            "POST", f"{address.path}/chat/completions", json.dumps(message), {"X-Rlar-Role": role}
        )
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def said(server: ScriptedChatServer, text: str = "hello", role: str = "") -> str | None:
    """Return the content of the reply."""
    status, body, _ = post(server, text, role)
    content: str | None = json.loads(body)["choices"][0]["message"]["content"] if status == 200 else None
    return content


def test_one_line_answers_every_request_and_a_list_is_used_up_in_order() -> None:
    with ScriptedChatServer("yes") as server:
        assert [said(server) for _ in range(3)] == ["yes"] * 3
    lines: list[str | BaseModel | Answer] = ["one", Verdict(good=True), Answer("three")]
    with ScriptedChatServer(lines) as server:
        assert [said(server) for _ in range(4)] == ["one", '{"good":true}', "three", None]
        assert len(server.requests) == 4
        assert server.unscripted == server.requests[3:]
    assert len(lines) == 3, "the caller's list is left alone"


def test_lines_are_found_by_role_then_by_what_the_request_says() -> None:
    script: Script = {
        "planner": ["plan", "plan again"],
        r"countdown \d+": lambda request: f"from {request.text[-2:]}",
        "judge": Verdict(good=False),
    }
    with ScriptedChatServer(script) as server:
        assert said(server, "x", role="planner") == "plan"
        assert said(server, "play countdown 12") == "from 12"
        assert said(server, "x", role="judge") == '{"good":false}'
        assert said(server, "x", role="planner") == "plan again"
        assert post(server, "x", role="planner")[0] == 404
        assert post(server, "x", role="tester")[0] == 404
        assert [request.role for request in server.unscripted] == ["planner", "tester"]


def test_requests_are_kept_as_they_arrived() -> None:
    with ScriptedChatServer("ok") as server:
        post(server, "hello", "judge", model="m", response_format={"type": "json_object"}, seed=3)
        (request,) = server.requests
    assert (request.text, request.role, request.format, request.body["seed"]) == (
        "hello",
        "judge",
        "json_object",
        3,
    )
    assert request.headers["x-rlar-role"] == "judge"


def test_formats_and_options_it_does_not_know_are_rejected_without_using_up_a_line() -> None:
    with ScriptedChatServer(["ok"], formats=["json_object"], rejects=["seed"]) as server:
        status, body, _ = post(server, response_format={"type": "json_schema"})
        assert (status, json.loads(body)["error"]["message"]) == (
            400,
            "response_format json_schema is not supported",
        )
        status, body, _ = post(server, seed=1)
        assert status == 400
        assert b"'seed' is not supported" in body
        assert said(server) == "ok"


def test_answers_misbehave_as_told() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    with ScriptedChatServer(
        [fenced("{}"), thinking("{}"), truncated("{"), refusing("no"), Answer(usage=None)]
    ) as server:
        assert "```json\n{}\n```" in (said(server) or "")
        assert (said(server) or "").endswith("</think>\n\n{}")
        cut, refused, uncounted = (json.loads(post(server)[1]) for _ in range(3))
    assert (cut["choices"][0]["finish_reason"], cut["usage"]) == ("length", usage)
    assert refused["choices"][0]["message"] == {"role": "assistant", "content": None, "refusal": "no"}
    assert "usage" not in uncounted


def test_faults_reach_the_wire() -> None:
    with ScriptedChatServer(
        [failing(429, "busy", retry_after=1.5), malformed("<html>"), cut_off()]
    ) as server:
        status, body, headers = post(server)
        assert (status, json.loads(body)["error"]["message"], headers["Retry-After"]) == (429, "busy", "1.5")
        assert post(server)[:2] == (200, b"<html>")
        with pytest.raises(http.client.IncompleteRead) as caught:
            post(server)
        assert len(caught.value.partial) == 20


def test_slow_and_trickling_answers_take_their_time() -> None:
    with ScriptedChatServer([Answer("ok", delay=0.2), Answer(raw=b"12345", trickle=0.05)]) as server:
        for least in (0.2, 0.2):
            start = time.monotonic()
            assert post(server)[0] == 200
            assert time.monotonic() - start >= least


def test_models_are_listed() -> None:
    with ScriptedChatServer("ok") as server:
        address = urlsplit(server.base_url)
        connection = http.client.HTTPConnection(address.netloc, timeout=PATIENCE)
        connection.request("GET", f"{address.path}/models")
        assert json.loads(connection.getresponse().read())["data"] == [{"id": "scripted"}]
        connection.close()


def test_closing_does_not_wait_for_a_slow_answer_and_ends_the_server() -> None:
    with scripted_model(Answer("ok", delay=HANG_SECONDS)) as model, ThreadPoolExecutor(1) as pool:
        late = pool.submit(post, model.server)
        until(lambda: model.server.requests)
        with prompt():
            model.server.close()
            late.exception()
    with pytest.raises(ConnectionRefusedError):
        post(model.server)


def test_a_scripted_model_speaks_through_its_server() -> None:
    with scripted_model(Verdict(good=True), temperature=0.2) as model:
        assert model.ask("judge", "Is it?", Verdict) == Verdict(good=True)
        assert model.server.requests[0].body["temperature"] == 0.2
    with pytest.raises(SettingsError):
        scripted_model("ok", api_key="not\x00a key")
