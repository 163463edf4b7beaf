"""A remote server of reward models: its dialects, its faults, and what becomes of them. No torch is needed."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rlar_graph.errors import SettingsError, ToolError
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.calibration import Calibration
from rlar_graph.rewards.chat_template import rendered
from rlar_graph.rewards.load import load_registered
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.pooling_dialects import DIALECTS, RENDERED_HERE
from rlar_graph.rewards.pooling_server import PoolingServer, ServerTerms
from rlar_graph.settings import Settings
from rlar_graph.testing.http import Reply
from rlar_graph.testing.pooling import PoolingStandIn
from rlar_graph.types import Rollout
from tests.patience import HANG_SECONDS, prompt

QUICK = ServerTerms(seconds=60.0, retries=2, pause=0.01)
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
PAIRS = [("one", "good"), ("one", "better!"), ("two", "bad"), ("one", "good")]


def client(server: PoolingStandIn, dialect: str = "vllm", terms: ServerTerms = QUICK) -> PoolingServer:
    return PoolingServer(server.url, server.model, dialect, "secret", template=TEMPLATE, terms=terms)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_gives_each_completion_its_reward(dialect: str) -> None:
    if dialect in RENDERED_HERE:
        pytest.importorskip("jinja2")

    def reward(text: str) -> float:
        return float(text.count("!")) - ("bad" in text)

    with PoolingStandIn(reward) as server:
        readings = client(server, dialect).read(PAIRS)
        assert [reading.raw for reading in readings] == [0.0, 1.0, -1.0, 0.0]
        assert {route for route, _ in server.bodies} == {DIALECTS[dialect].route}
        assert {headers["authorization"] for headers in server.headers} == {"Bearer secret"}


def test_vllm_is_given_the_conversation_and_asked_for_the_logit() -> None:
    with PoolingStandIn(len) as server:
        client(server).read([("User: a\n\nAssistant: b\n\nUser: c", "d <|im_end|> e")])
        (route, body) = server.bodies[0]
    assert route == "/pooling" and body["use_activation"] is False and body["task"] == "classify"
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "assistant"]
    assert "<|im_end|>" not in body["messages"][-1]["content"]


def test_sglang_is_given_text_rendered_by_the_models_template() -> None:
    pytest.importorskip("jinja2")
    with PoolingStandIn(len) as server:
        client(server, "sglang").read([("ask", "say")])
        assert server.bodies[0][1]["text"] == ["[user] ask\n[assistant] say\n"]


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, b"{}", {"Retry-After": "0"}),
        Reply(503, b"busy"),
        Reply(500, b"{}"),
        Reply(200, b"{not json"),
        Reply(200, b'{"data": []}', cut_at=4),
    ],
)
def test_a_fault_that_passes_is_tried_again(fault: Reply) -> None:
    with PoolingStandIn(lambda text: 2.0) as server:
        server.faults = [fault]
        assert [reading.raw for reading in client(server).read([("p", "c")])] == [2.0]
        assert len(server.bodies) == 2


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (401, 1), (404, 1), (500, 3), (503, 3)])
def test_a_fault_that_stays_is_told_after_the_tries_that_may_help(status: int, tries: int) -> None:
    with PoolingStandIn(lambda text: 2.0) as server:
        server.faults = [Reply(status, b"sorry")] * 9
        (reading,) = client(server).read([("p", "c")])
        assert reading.raw is None and str(status) in str(reading.why) and len(server.bodies) == tries


def test_part_of_the_requests_failing_leaves_the_others_alone() -> None:
    with PoolingStandIn(lambda text: float(len(text))) as server:
        server.spoilt = lambda text: "poison" in text
        readings = client(server).read(
            [("p", f"text {number}" if number % 5 else "poison") for number in range(40)]
        )
    assert [reading.raw is None for reading in readings] == [number % 5 == 0 for number in range(40)]
    assert all("500" in str(reading.why) for reading in readings if reading.raw is None)


@pytest.mark.parametrize(
    "body",
    [
        '{"data": []}',
        '{"data": [{"index": 0}]}',
        "[]",
        "3",
        '{"data": [{"index":0,"data":["x"]}]}',
        '{"data": [{"index":0,"data":[1.0]},{"index":0,"data":[9.0]}]}',
        '{"data": [{"index":7,"data":[1.0]}]}',
        '{"data": [{"index":[0],"data":[1.0]}]}',
        '{"data": [{"index":0,"data":[0.1,0.2,0.7]}]}',
    ],
)
def test_a_reply_of_another_form_is_no_reward(body: str) -> None:
    with PoolingStandIn(lambda text: 1.0) as server:
        server.faults = [Reply(200, body.encode())]
        (reading,) = client(server).read([("p", "c")])
    assert reading.raw is None and reading.why


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", "true", '"5"', "1e999", "9" * 400])
def test_what_is_no_finite_number_is_no_reward(value: str) -> None:
    with PoolingStandIn(lambda text: 1.0) as server:
        server.faults = [Reply(200, f'{{"data": [{{"index": 0, "data": [{value}]}}]}}'.encode())]
        assert client(server).read([("p", "c")])[0].raw is None


def test_a_server_that_is_gone_or_late_is_told(tmp_path: Path) -> None:
    terms = ServerTerms(seconds=0.2, retries=1, pause=0.01)
    with PoolingStandIn(lambda text: 1.0) as server:
        server.delay = HANG_SECONDS
        late = client(server, terms=terms).read([("p", "c")])
    gone = client(server, terms=terms).read([("p", "c")])
    assert late[0].raw is None and gone[0].raw is None
    assert "imed out" in str(late[0].why) or "imeout" in str(late[0].why)


def test_a_server_that_hangs_is_waited_for_once_whatever_it_is_asked() -> None:
    seconds, pairs = 2.0, [(f"p{n}", "c") for n in range(200)]
    terms = ServerTerms(seconds=seconds, retries=3, pause=0.01, threads=4)
    with PoolingStandIn(lambda text: 1.0) as server:
        server.delay = 3600.0
        began = time.monotonic()
        readings = client(server, "rerank", terms=terms).read(pairs)
        took = time.monotonic() - began
        asked = len(server.bodies)
    assert {(reading.raw, reading.why) for reading in readings} == {
        (None, f"the server gave no reward: timed out after {seconds:g} s")
    }
    assert asked == terms.threads < len(pairs)
    assert took < 20 * seconds  # one wait after the other would be 200, with its tries 800


def test_one_request_that_gets_no_answer_keeps_no_other_from_theirs() -> None:
    terms = ServerTerms(seconds=5.0, retries=0, threads=2)
    released = threading.Event()

    def reward(text: str) -> float:
        if text == "poison":
            released.wait(60)
        else:
            time.sleep(0.25)
        return 1.0

    texts = ["poison", *(f"c{n}" for n in range(30))]
    with PoolingStandIn(reward) as server:
        readings = client(server, "rerank", terms=terms).read(
            [(f"p{n}", text) for n, text in enumerate(texts)]
        )
        released.set()
    assert readings[0].raw is None
    assert [reading.raw for reading in readings[1:]] == [1.0] * 30


def test_a_reply_in_drops_ends_with_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_drip, args=(listening,), daemon=True).start()
        terms = ServerTerms(seconds=0.5, retries=0)
        port = listening.getsockname()[1]
        with prompt():
            (reading,) = PoolingServer(f"http://127.0.0.1:{port}", "m", "vllm", terms=terms).read(
                [("p", "c")]
            )
    assert reading.raw is None and "timed out" in str(reading.why)


def _drip(listening: socket.socket) -> None:
    """Answer one request with one byte every tenth of a second, far below any timeout of a socket."""
    connection, _ = listening.accept()
    with connection, suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(3_000):
            connection.sendall(b" ")
            time.sleep(0.1)


def test_the_key_follows_no_redirection() -> None:
    with PoolingStandIn(lambda text: 1.0) as elsewhere, PoolingStandIn(lambda text: 1.0) as server:
        for status in (301, 302, 307, 308):
            server.faults = [Reply(status, b"", {"Location": f"{elsewhere.url}/pooling"})]
            (reading,) = client(server).read([("p", "c")])
            assert reading.raw is None and str(status) in str(reading.why)
        assert elsewhere.headers == [] and len(server.bodies) == 4


def test_rewards_come_back_in_the_order_asked_or_not_at_all() -> None:
    pytest.importorskip("jinja2")
    with PoolingStandIn(len) as server:
        entries = [{"index": place, "probs": [float(place)]} for place in (2, 0)]
        server.faults = [Reply(200, json.dumps({"data": entries}).encode())]
        found = client(server, "vllm-classify").read([("p", "a"), ("p", "b"), ("p", "c")])
        assert [reading.raw for reading in found] == [0.0, None, 2.0]
        server.faults = [Reply(200, json.dumps([{"embedding": [1.0]}, {"embedding": [2.0]}]).encode())]
        found = client(server, "sglang").read([("p", "a"), ("p", "b"), ("p", "c")])
        assert [reading.raw for reading in found] == [None] * 3, "nobody can tell whose the two are"


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/passwd", "http://", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        PoolingServer(url, "m", "vllm")


def test_a_template_that_attacks_is_a_tool_error() -> None:
    pytest.importorskip("jinja2")
    with PoolingStandIn(len) as server:
        for template in (
            "{{ messages.__class__.__mro__ }}",
            "{% for",
            "{{ raise_exception('no') }}",
            "{% include '/etc/passwd' %}",
            "{{ 'x' * 10**11 }}",
            "{{ 10**10**9 if false }}{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        ):
            hostile = PoolingServer(server.url, "served", "sglang", template=template, terms=QUICK)
            with pytest.raises(ToolError):
                hostile.read([("p", "c")])
        assert server.bodies == []


@pytest.mark.parametrize(
    "template",
    ["{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3, "{{ 9**(9**9) }}"],
)
def test_a_template_that_never_ends_is_ended(template: str) -> None:
    pytest.importorskip("jinja2")
    with prompt(), pytest.raises(ToolError, match=r"within 1 s|cannot be rendered"):
        rendered(template, [[{"role": "user", "content": "p"}]], seconds=1.0)


def test_a_template_that_refuses_one_conversation_leaves_the_others_alone() -> None:
    pytest.importorskip("jinja2")
    picky = "{% if 'bad' in messages[-1]['content'] %}{{ raise_exception('no') }}{% endif %}" + TEMPLATE
    with PoolingStandIn(lambda text: float(text.count("!"))) as server:
        found = PoolingServer(server.url, "served", "sglang", template=picky, terms=QUICK).read(PAIRS)
    assert [reading.raw for reading in found] == [0.0, 1.0, None, 0.0]
    assert "refuses" in str(found[2].why)


def test_a_registered_model_on_a_server_scores_and_abstains_in_part(tmp_path: Path) -> None:
    source = ModelSource("served", "", server="vllm", calibration=Calibration(1.0, 10.0)).to_json()
    with PoolingStandIn(lambda text: float(len(text))) as server:
        server.spoilt = lambda text: "poison" in text
        settings = Settings.load(rm_server_url=server.url, rm_server_retries=0)
        tool = load_registered(ToolSpec("rm", "reward_model", "served"), source, Resources(settings))
        rollout = Rollout("p", ("<think>hm</think>ten chars!", "x" * 20, "poison", "", "x" * 20))
        row = tool.score([rollout])[0]
    assert row[0].raw == 10.0 and row[0].value == 0.5
    assert row[1] == row[4] and row[1].value is not None and row[1].value > 0.99
    assert row[2].value is None and "500" in str(row[2].abstained)
    assert row[3].value == 0.0 and row[3].raw is None
    assert len(server.bodies) == 3, "equal completions are asked about once, empty ones never"


def test_without_an_address_the_tool_says_what_it_needs() -> None:
    source = ModelSource("served", "", server="vllm").to_json()
    with pytest.raises(ToolError, match="RLAR_RM_SERVER_URL"):
        load_registered(ToolSpec("rm", "reward_model", ""), source, Resources(Settings.load()))


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"repo": "a", "sha": 1, "form": "x"}), "\ud800"])
def test_a_source_that_is_none_is_a_tool_error(text: str) -> None:
    with pytest.raises(ToolError):
        load_registered(ToolSpec("rm", "reward_model", ""), text, Resources(Settings.load()))
