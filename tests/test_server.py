"""The server as clients see it: a real process, real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.patience import COMMAND_SECONDS, HANG_SECONDS, PATIENCE, until
from tests.ports import free_port

SUM = {"prompt": "What is 2 + 2?", "completions": ["4", "5"], "reference": "4"}
POEM = {"prompt": "Write a poem.", "completions": ["Rain falls."]}
SLOW = {
    "prompt": "Write a function f.",
    "completions": ["```python\nimport time\n\ndef f():\n    time.sleep(2)\n    return 1\n```"],
    "tests": ["assert f() == 1"],
}


class Server:
    """A `rlar serve` process on a free port."""

    def __init__(self, folder: Path, *arguments: str, registry: str = "rlar.db", **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        command = [sys.executable, "-m", "rlar_graph.cli", "serve", "--port", str(self.port), *arguments]
        command += ["--registry", str(folder / registry)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + COMMAND_SECONDS
        while True:
            try:
                assert httpx.get(f"{self.url}/healthz", timeout=PATIENCE).json()["status"] == "ok"
                return
            except httpx.TransportError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), "--max-request-mb", "1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(
        tmp_path_factory.mktemp("guarded"),
        "--queue",
        "2",
        "--request-seconds",
        "2.5",
        RLAR_SERVER_TOKEN="s3cret",
    )
    yield running
    running.stop()


def test_scores_and_abstentions(server: Server) -> None:
    answer = httpx.post(f"{server.url}/score", json={"rollouts": [SUM, POEM]}, timeout=PATIENCE)
    assert answer.status_code == 200
    first, second = answer.json()["scores"]
    assert [score["value"] for score in first] == [1.0, 0.0]
    assert (first[0]["tool"], first[0]["version"]) == ("maths", 1)
    assert second[0]["value"] is None
    assert "no tool serves open/text/none/und" in second[0]["abstained"]


def test_the_shape_openrlhf_sends(server: Server) -> None:
    asked = "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    body = {
        "query": [f"{asked}4<|im_end|>", f"{asked}5<|im_end|>", "Write a poem. Rain falls."],
        "prompts": [asked, asked, "Write a poem."],
        "labels": ["4", "4", ""],
    }
    answer = httpx.post(f"{server.url}/get_reward", json=body, timeout=PATIENCE).json()
    assert answer["rewards"] == answer["scores"] == [1.0, 0.0, 0.5]
    assert answer["extra_logs"] == {"rlar_abstain": [0.0, 0.0, 1.0]}


def test_a_query_that_cannot_be_read_abstains_alone(server: Server) -> None:
    body = {
        "query": ["answer", "What is 2 + 2? 4"],
        "prompts": ["another prompt", "What is 2 + 2?"],
        "labels": ["1", "4"],
    }
    answer = httpx.post(f"{server.url}/get_reward", json=body, timeout=PATIENCE).json()
    assert (answer["rewards"], answer["extra_logs"]["rlar_abstain"]) == ([0.5, 1.0], [1.0, 0.0])


def test_the_shape_slime_sends(server: Server) -> None:
    sample = {
        "prompt": [{"role": "user", "content": "What is 2 + 2?"}],
        "response": "The answer is 4.<|im_end|>",
        "label": "4",
    }
    answer = httpx.post(f"{server.url}/remote_rm", json=sample, timeout=PATIENCE)
    assert answer.json() == 1.0
    unjudged = {"prompt": "Write a poem.", "response": "Rain falls.", "label": None}
    answer = httpx.post(f"{server.url}/remote_rm", json=unjudged, timeout=PATIENCE)
    assert (answer.json(), answer.headers["x-rlar-abstained"]) == (0.5, "1")
    answer = httpx.post(f"{server.url}/remote_rm", params={"form": "dict"}, json=unjudged, timeout=PATIENCE)
    assert answer.json() == {"score": 0.5, "rlar_abstain": 1.0}
    answer = httpx.post(f"{server.url}/remote_rm", params={"form": "dic"}, json=unjudged, timeout=PATIENCE)
    assert answer.status_code == 422 and answer.json()["error"]["field"] == "form"


def test_single_requests_in_parallel_each_get_their_own_answer(server: Server) -> None:
    def ask(number: int) -> float:
        sample = {
            "prompt": f"What is {number} + 0?",
            "response": str(number + number % 2),
            "label": str(number),
        }
        return float(client.post(f"{server.url}/remote_rm", json=sample).json())

    with httpx.Client(timeout=PATIENCE) as client, ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(100))) == [1.0 - number % 2 for number in range(100)]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/score", b"not json", "not JSON"),
        ("/score", b"[" * 100_000, "not JSON"),
        ("/score", b"[]", "must be a JSON object"),
        ("/score", b"{}", "'rollouts'"),
        ("/score", json.dumps({"rollouts": [SUM, {"completions": ["4"]}]}).encode(), "rollout 2"),
        ("/score", json.dumps({"rollouts": [{"prompt": "p", "completions": []}]}).encode(), "no completions"),
        ("/get_reward", b'{"query": ["a"], "prompts": []}', "one length"),
        ("/get_reward", b'{"query": [1], "prompts": ["p"]}', "list of texts"),
        ("/remote_rm", b'{"prompt": "p", "response": 4}', "'response'"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_with_it(
    server: Server, path: str, body: bytes, said: str
) -> None:
    answer = httpx.post(server.url + path, content=body, timeout=PATIENCE)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_a_request_that_is_too_long_is_refused(server: Server) -> None:
    assert httpx.post(f"{server.url}/score", content=b" " * (2**20 + 1), timeout=PATIENCE).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**16

    try:
        status = httpx.post(f"{server.url}/score", content=endless(), timeout=PATIENCE).status_code
    except httpx.WriteError:  # the server hung up while we were still sending
        status = 413
    assert status == 413


def test_the_tools_are_listed(server: Server) -> None:
    httpx.post(f"{server.url}/score", json={"rollouts": [SUM]}, timeout=PATIENCE)
    (maths,) = [
        tool for tool in httpx.get(f"{server.url}/tools", timeout=PATIENCE).json() if tool["tool"] == "maths"
    ]
    assert (maths["version"], maths["state"], maths["kind"]) == (1, "active", "verifier")
    assert "math/number/reference/und" in maths["serves"]


def test_the_counters_are_in_prometheus_format(server: Server) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    httpx.post(f"{server.url}/score", json={"rollouts": [SUM, POEM]}, timeout=PATIENCE)
    text = httpx.get(f"{server.url}/metrics", timeout=PATIENCE).text
    assert (
        httpx.get(f"{server.url}/rlar/metrics", timeout=PATIENCE).text.splitlines()[0] == text.splitlines()[0]
    )
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["rlar_requests_total", ("route", "/score"), ("status", "200")] >= 1
    assert samples["rlar_completions_total", ("tool", "maths")] >= 2
    assert samples["rlar_abstentions_total", ("tool", "")] >= 1
    assert samples[("rlar_pending_requests",)] == 0


def test_openapi_says_what_each_route_takes(server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json", timeout=PATIENCE).json()["paths"]
    assert set(paths) == {"/score", "/get_reward", "/remote_rm", "/tools", "/healthz", "/metrics"}
    for path in ("/score", "/get_reward", "/remote_rm"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        answer = httpx.post(server.url + path, json=content["example"], timeout=PATIENCE)
        assert answer.status_code == 200, answer.text


def test_a_name_that_is_not_this_machine_is_refused_without_a_token(server: Server) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80"):
        answer = httpx.post(
            f"{server.url}/score", json={"rollouts": [SUM]}, headers={"host": host}, timeout=PATIENCE
        )
        assert answer.status_code == 403
    answer = httpx.get(f"{server.url}/tools", headers={"host": f"localhost:{server.port}"}, timeout=PATIENCE)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", "Bearer", "Basic s3cret", "s3cret", "Bearer s3cret2"]
)
def test_a_token_is_asked_for(guarded: Server, given: str | None) -> None:
    headers = {"authorization": given} if given else {}
    for method, path in (
        ("POST", "/score"),
        ("POST", "/remote_rm"),
        ("GET", "/tools"),
        ("GET", "/rlar/metrics"),
    ):
        answer = httpx.request(method, guarded.url + path, headers=headers, timeout=PATIENCE)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert httpx.get(f"{guarded.url}/healthz", timeout=PATIENCE).status_code == 200


def test_the_right_token_opens_and_time_and_queue_are_limited(guarded: Server) -> None:
    headers = {"authorization": "Bearer s3cret"}
    endless = SLOW | {"completions": [SLOW["completions"][0].replace("sleep(2)", "sleep(9)")]}
    with httpx.Client(headers=headers, timeout=PATIENCE) as client, ThreadPoolExecutor(6) as pool:
        assert client.get(f"{guarded.url}/tools").status_code == 200

        def ask(_: int) -> httpx.Response:
            return client.post(f"{guarded.url}/score", json={"rollouts": [endless]})

        answers = list(pool.map(ask, range(6)))
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {429, 504}
    assert statuses.count(504) >= 2
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)


def test_it_does_not_listen_beyond_this_machine_without_a_token(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlar_graph.cli", "serve", "--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    assert done.returncode == 2
    assert "RLAR_SERVER_TOKEN" in done.stderr


def test_what_is_in_the_making_is_answered_before_the_end(tmp_path: Path) -> None:
    server = Server(tmp_path)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.post(f"{server.url}/score", json={"rollouts": [SLOW, SUM]}, timeout=PATIENCE))

    asking = threading.Thread(target=ask)
    asking.start()
    with httpx.Client(timeout=PATIENCE) as client:
        until(lambda: client.get(f"{server.url}/healthz").json()["pending"] > 0)
    server.process.send_signal(signal.SIGTERM)
    asking.join(PATIENCE)
    assert server.process.wait(PATIENCE) in {0, -signal.SIGTERM}
    (answer,) = answers
    assert [[score["value"] for score in row] for row in answer.json()["scores"]] == [[1.0], [1.0, 0.0]]
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/healthz", timeout=PATIENCE)


def test_a_dead_engine_is_the_servers_fault_and_says_when_to_ask_again(tmp_path: Path) -> None:
    server = Server(tmp_path, registry="/proc/nowhere/rlar.db")
    try:
        sample = {"prompt": "What is 2 + 2?", "response": "4", "label": "4"}
        queries = {"query": ["What is 2 + 2? 4"], "prompts": ["What is 2 + 2?"], "labels": ["4"]}
        for path, body in (("/score", {"rollouts": [SUM]}), ("/remote_rm", sample), ("/get_reward", queries)):
            answer = httpx.post(server.url + path, json=body, timeout=PATIENCE)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["type"] == "RegistryError"
    finally:
        server.stop()


def test_nobody_waits_for_a_language_model_that_hangs(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        variables = {
            "RLAR_LLM_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            "RLAR_LLM_MODEL": "none",
        }
        server = Server(tmp_path, RLAR_LLM_SECONDS=str(HANG_SECONDS), RLAR_FAMILY_PROMPTS="1", **variables)
        try:
            for _ in range(3):
                answer = httpx.post(
                    f"{server.url}/score", json={"rollouts": [POEM, SUM]}, timeout=PATIENCE
                ).json()
                assert [[score["value"] for score in row] for row in answer["scores"]] == [[None], [1.0, 0.0]]
        finally:
            server.stop()
