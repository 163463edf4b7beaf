"""The graph in the LangGraph server, as Studio and the SDK see it: a real `langgraph dev`, a real client."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

ROOT = Path(__file__).parents[1]
SUM: Any = {"prompt": "What is 2 + 2?", "completions": ["4", "5"], "reference": "4"}
POEM: Any = {"prompt": "Write a poem.", "completions": ["Rain falls."]}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running server on a free port, with a registry of its own."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(ROOT / "langgraph.json", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--config", str(folder / "langgraph.json")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANGSMITH_TRACING": "false"}
    environment["RLAR_REGISTRY_URL"] = f"sqlite:///{folder}/rlar.db"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield _ready(f"http://127.0.0.1:{port}", server, folder / "log")
    finally:
        server.terminate()
        server.wait(20)


def _ready(url: str, server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/ok").status_code == 200:
                return url
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def client(address: str) -> Iterator[SyncLangGraphClient]:
    """An SDK client, closed after the test."""
    with get_sync_client(url=address) as opened:
        yield opened


def test_the_graph_is_served_as_rlar(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    assert assistant["graph_id"] == "rlar"


def test_a_run_scores_and_abstains(client: SyncLangGraphClient) -> None:
    output = client.runs.wait(None, "rlar", input={"rollouts": [SUM, POEM]})
    assert isinstance(output, dict)
    values = [[score["value"] for score in row] for row in output["scores"]]
    assert values == [[1.0, 0.0], [None]]


def test_each_update_can_be_read(client: SyncLangGraphClient) -> None:
    updates = [
        part.data
        for part in client.runs.stream(None, "rlar", input={"rollouts": [SUM, POEM]}, stream_mode="updates")
        if part.event == "updates"
    ]
    assert [name for update in updates for name in update] == ["planner", "no_tool", "scorer"]
    assert updates[0]["planner"]["plan"][0]["why"] == "the reference is a number"
    assert "open/text/none/und" in updates[1]["no_tool"]["missing"]


def test_the_input_has_a_form(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    assert "rollouts" in (schemas["input_schema"] or {})["properties"]
    assert "scores" in (schemas["output_schema"] or {})["properties"]


def test_bad_input_is_an_error_not_a_score(client: SyncLangGraphClient) -> None:
    with pytest.raises(Exception, match=r"InputError|internal error|UserError"):
        bad: Any = {"completions": ["4"]}
        client.runs.wait(None, "rlar", input={"rollouts": [bad]})
