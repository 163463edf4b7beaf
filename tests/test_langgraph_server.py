"""The graph in the LangGraph server, as Studio and the SDK see it: a real `langgraph dev`, real clients."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

from rlar_graph.registry import open_registry
from rlar_graph.testing import ScriptedChatServer
from tests.dev_server import ROOT, DevServer
from tests.made_families import RIGHT
from tests.patience import COMMAND_SECONDS, PATIENCE
from tests.test_acquisition import Model, rollouts

SUM: Any = {"prompt": "What is 2 + 2?", "completions": ["4", "5"], "reference": "4"}
POEM: Any = {"prompt": "Write a poem.", "completions": ["Rain falls."]}
CODE: Any = {
    "prompt": "Write inc(x).",
    "completions": ["def inc(x):\n    return x + 1"],
    "tests": ["assert inc(1) == 2"],
    "entry_point": "inc",
}
FAMILIES = (
    "shown",
    "approved",
    "refused",
    "asked_again",
    "restarted",
    "first",
    "second",
    "stateless",
    "multiples",
)
YES = {"approve": True, "reason": "it checks both rules"}
NO = {"approve": False, "reason": "it ignores the digits"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A running server that asks a person before a new tool scores."""
    with ScriptedChatServer(Model(RIGHT)) as model:
        started = DevServer(tmp_path_factory.mktemp("server"), model.base_url)
        started.keep_probes(FAMILIES)
        try:
            started.start()
            yield started
        finally:
            started.stop()


@pytest.fixture
def client(server: DevServer) -> Iterator[SyncLangGraphClient]:
    """An SDK client, closed after the test."""
    with get_sync_client(url=server.address) as opened:
        yield opened


def given(*records: Any) -> dict[str, Any]:
    return {"rollouts": list(records)}


def unserved(source: str) -> Any:
    """Return a prompt of a family that no tool serves, with a right and a wrong completion."""
    first = rollouts()[0]
    return {"prompt": first.prompt, "completions": list(first.completions), "data_source": source}


def values(output: Any) -> list[list[float | None]]:
    return [[score["value"] for score in row] for row in output["scores"]]


def thread_of(client: SyncLangGraphClient) -> str:
    return str(client.threads.create()["thread_id"])


def asked(output: Any) -> dict[str, Any]:
    (question,) = output["__interrupt__"]
    return dict(question["value"])


def test_the_graph_is_served_as_rlar(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    assert assistant["graph_id"] == "rlar"
    nodes = {
        node["id"] for node in client.assistants.get_graph(assistant["assistant_id"], xray=True)["nodes"]
    }
    assert {"planner", "scorer", "acquire:registrar", "acquire:review"} <= nodes


def test_a_run_scores_and_abstains(client: SyncLangGraphClient) -> None:
    output = client.runs.wait(None, "rlar", input=given(SUM, POEM))
    assert values(output) == [[1.0, 0.0], [None]]


def test_the_asynchronous_client_scores_two_runs_at_a_time(server: DevServer) -> None:
    other = SUM | {"prompt": "What is 3 + 2?", "completions": ["4", "5"], "reference": "5"}

    async def both() -> list[Any]:
        async with get_client(url=server.address) as client:
            runs = [client.runs.wait(None, "rlar", input=given(record)) for record in (SUM, other)]
            return list(await asyncio.gather(*runs))

    assert [values(output) for output in asyncio.run(both())] == [[[1.0, 0.0]], [[0.0, 1.0]]]


def test_the_asynchronous_client_streams_the_updates(server: DevServer) -> None:
    async def names() -> list[str]:
        async with get_client(url=server.address) as client:
            parts = client.runs.stream(None, "rlar", input=given(SUM, POEM), stream_mode="updates")
            return [name async for part in parts if part.event == "updates" for name in part.data]

    assert asyncio.run(names()) == ["planner", "no_tool", "scorer"]


def test_a_remote_graph_scores_and_streams(client: SyncLangGraphClient) -> None:
    remote = RemoteGraph("rlar", sync_client=client)
    assert values(remote.invoke(given(SUM))) == [[1.0, 0.0]]
    parts = list(remote.stream(given(SUM), stream_mode="updates"))
    assert [name for part in parts for name in part] == ["planner", "scorer"]


def test_a_run_may_name_another_registry(client: SyncLangGraphClient, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    output = client.runs.wait(None, "rlar", input=given(SUM), context={"registry_url": url})
    assert values(output) == [[1.0, 0.0]]
    with open_registry(url) as registry:
        assert [tool.name for tool in registry.tools()] == ["maths"]


def test_the_form_says_what_to_fill_in(client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    form: Any = schemas["input_schema"]
    assert form["required"] == ["rollouts"]
    assert form["properties"]["rollouts"]["examples"][0][0]["prompt"]
    record = form["$defs"]["RolloutRecord"]
    assert record["required"] == ["prompt", "completions"]
    assert {"reference", "tests", "choices", "schema", "data_source"} <= set(record["properties"])
    context: Any = schemas["context_schema"]
    assert "SQLAlchemy URL" in context["properties"]["registry_url"]["description"]


FREE = {"schema", "kwargs", "detail"}
"""Fields that hold objects of anybody's form: a JSON Schema, an instruction's parameters, what a tool found."""


def blobs(schema: Any, name: str = "") -> Iterator[str]:
    """Yield the fields of a schema that are not described, or whose type is left open though it is known."""
    for field, below in schema.get("properties", {}).items():
        if not below.get("description"):
            yield f"{field} has no description"
        if not set(below) & {"type", "$ref", "anyOf"}:
            yield f"{field} has no type"
        yield from blobs(below, field)
    for below in [
        *schema.get("anyOf", []),
        *schema.get("$defs", {}).values(),
        *filter(None, [schema.get("items")]),
    ]:
        yield from blobs(below, name)
    known = "properties" in schema or isinstance(schema.get("additionalProperties"), dict) or name in FREE
    if schema.get("type") == "object" and not known:
        yield f"{name} is an object of no known form"


@pytest.mark.parametrize("which", ["input_schema", "output_schema", "context_schema"])
def test_every_field_is_typed_and_described(which: str, client: SyncLangGraphClient) -> None:
    (assistant,) = client.assistants.search()
    schemas: Any = client.assistants.get_schemas(assistant["assistant_id"])
    assert list(blobs(schemas[which])) == []


BAD: dict[str, tuple[Any, str]] = {
    "no rollouts": ({}, "'rollouts': must be a list of records"),
    "text": ({"rollouts": "What is 2 + 2?"}, "'rollouts': must be a list of records"),
    "no prompt": (given(SUM, {"completions": ["4"]}), "rollout 2: a record needs a prompt"),
    "a number": (given(SUM, {"prompt": 3, "completions": ["4"]}), "must be text or a list of chat messages"),
    "no completions": (given({"prompt": "What is 2 + 2?"}), "rollout 1 has no completions to score"),
}


@pytest.mark.parametrize(("bad", "said"), BAD.values(), ids=BAD)
def test_a_bad_input_is_an_error_in_words(bad: Any, said: str, client: SyncLangGraphClient) -> None:
    with pytest.raises(Exception, match=r"InputError: ") as caught:
        client.runs.wait(None, "rlar", input=bad)
    assert said in str(caught.value)


ROUTES: dict[str, tuple[Any, Any]] = {
    "/score": ({"rollouts": [SUM]}, lambda body: values(body) == [[1.0, 0.0]]),
    "/get_reward": (
        {"query": ["What is 2 + 2? 4"], "prompts": ["What is 2 + 2? "], "labels": ["4"]},
        lambda body: body["rewards"] == [1.0],
    ),
    "/remote_rm": ({"prompt": "What is 2 + 2?", "response": "5", "label": "4"}, lambda body: body == 0.0),
}


@pytest.mark.parametrize("path", ROUTES)
def test_the_routes_are_on_the_same_server(path: str, server: DevServer) -> None:
    sent, holds = ROUTES[path]
    answer = httpx.post(server.address + path, json=sent, timeout=PATIENCE)
    assert answer.status_code == 200 and holds(answer.json()), answer.text


def test_the_routes_tell_what_the_graph_has(server: DevServer, client: SyncLangGraphClient) -> None:
    client.runs.wait(None, "rlar", input=given(SUM))
    assert "maths" in {tool["tool"] for tool in httpx.get(f"{server.address}/tools", timeout=PATIENCE).json()}
    assert httpx.get(f"{server.address}/healthz", timeout=PATIENCE).json()["status"] == "ok"
    paths = httpx.get(f"{server.address}/openapi.json", timeout=PATIENCE).json()["paths"]
    assert {"/score", "/runs/wait", "/threads"} <= set(paths)


def test_graph_and_routes_share_one_engine(
    server: DevServer, client: SyncLangGraphClient, tmp_path: Path
) -> None:
    assert values(client.runs.wait(None, "rlar", input=given(CODE))) == [[1.0]]
    sandbox = server.processes()
    answer = httpx.post(f"{server.address}/score", json=given(CODE), timeout=PATIENCE)
    assert values(answer.json()) == [[1.0]]
    assert server.processes() == sandbox != set()
    elsewhere = {"registry_url": f"sqlite:///{tmp_path}/other.db"}
    client.runs.wait(None, "rlar", input=given(CODE), context=elsewhere)
    assert server.processes() > sandbox, "a second engine would have shown"


def updates_of(client: SyncLangGraphClient, thread: str, **run: Any) -> list[tuple[str, Any]]:
    """Return each node's update in a run, those within branches included."""
    parts = client.runs.stream(thread, "rlar", stream_mode="updates", stream_subgraphs=True, **run)
    return [item for part in parts if part.event.startswith("updates") for item in part.data.items()]


def test_each_update_is_small_and_says_which_tool_why_on_what_and_by_which_report(
    server: DevServer, client: SyncLangGraphClient
) -> None:
    thread = thread_of(client)
    updates = updates_of(client, thread, input=given(unserved("shown"), SUM))
    updates += updates_of(client, thread, command={"resume": YES})
    names = [name for name, _ in updates if name != "__interrupt__"]
    assert names == [
        "planner", "claim", "choose_kind", "code_writer", "verifier_tester", "registrar", "review",
        "registrar", "acquire", "scorer",
    ]  # fmt: skip
    assert all(len(json.dumps(update)) < 4_000 for name, update in updates if name != "__interrupt__")
    planned = updates[0][1]["plan"]
    assert (planned[1]["tool"], planned[1]["evidence"]) == ("maths v1", "reference")
    steps = {name: update["step"] for name, update in updates if "step" in update}
    assert steps["verifier_tester"]["why"].startswith("passed")
    assert steps["verifier_tester"]["evidence"].startswith("60 good, 60 bad, ")
    assert steps["registrar"]["why"] == "approved at review: it checks both rules"
    tool, number = steps["registrar"]["tool"].split(" v")
    assert steps["verifier_tester"]["report"] == steps["registrar"]["report"]
    shown = rlar(server, "tools", "show", tool, "--version", number)
    assert f"Report {steps['registrar']['report']}: " in shown
    assert f"Report {planned[1]['report']}: " in rlar(server, "tools", "show", "maths")


def rlar(server: DevServer, *arguments: str) -> str:
    """Return what the command says of the server's registry."""
    command = [sys.executable, "-m", "rlar_graph.cli", *arguments, "--registry", server.registry_url]
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_a_tool_is_approved_from_a_client_and_scores_everywhere(
    server: DevServer, client: SyncLangGraphClient
) -> None:
    thread = thread_of(client)
    paused = client.runs.wait(thread, "rlar", input=given(unserved("approved")))
    question = asked(paused)
    assert "def score(prompt, completion" in question["source"]
    assert {check["check"] for check in question["report"]["checks"]} >= {"true positives", "true negatives"}
    (waiting,) = client.threads.get(thread)["interrupts"].values()
    assert waiting[0]["value"] == question, "Studio reads it from the thread"
    done = client.runs.wait(thread, "rlar", command={"resume": YES})
    assert values(done) == [[1.0, 0.0]]
    answer = httpx.post(f"{server.address}/score", json=given(unserved("approved")), timeout=PATIENCE)
    assert values(answer.json()) == [[1.0, 0.0]]
    assert "review" in rlar(server, "tools", "history", question["tool"].split()[0])


def test_a_tool_is_refused_from_a_client(server: DevServer, client: SyncLangGraphClient) -> None:
    thread = thread_of(client)
    question = asked(client.runs.wait(thread, "rlar", input=given(unserved("refused"))))
    done = client.runs.wait(thread, "rlar", command={"resume": NO})
    assert values(done) == [[None, None]]
    assert "refused at review: it ignores the digits" in str(done)
    history = rlar(server, "tools", "history", question["tool"].split()[0])
    assert "refused at review: it ignores the digits" in history


def test_a_rubbish_answer_is_asked_again(server: DevServer, client: SyncLangGraphClient) -> None:
    thread = thread_of(client)
    paused = client.runs.wait(thread, "rlar", input=given(unserved("asked_again")))
    name = asked(paused)["tool"].split()[0]
    rubbish: list[Any] = ["sure", {"approve": "true"}, 7]
    for answer in rubbish:
        again = asked(client.runs.wait(thread, "rlar", command={"resume": answer}))
        assert "nothing was decided" in again["problem"]
    with open_registry(server.registry_url) as registry:
        assert [version.state for version in registry.tool(name).versions] == ["candidate"]
    assert values(client.runs.wait(thread, "rlar", command={"resume": YES})) == [[1.0, 0.0]]


def test_two_families_are_decided_in_one_run_through_a_remote_graph(client: SyncLangGraphClient) -> None:
    config = RunnableConfig(configurable={"thread_id": thread_of(client)})
    remote = RemoteGraph("rlar", sync_client=client)
    both = given(unserved("first"), unserved("second"))
    list(remote.stream(both, config, stream_mode="values"))
    ids = {
        each.value["family"]: each.id for task in remote.get_state(config).tasks for each in task.interrupts
    }
    assert set(ids) == {"source:first", "source:second"}
    answers: Any = Command(resume={ids["source:first"]: YES, ids["source:second"]: NO})
    assert values(remote.invoke(answers, config)) == [[1.0, 0.0], [None, None]]


def test_a_review_outlives_the_server(server: DevServer, client: SyncLangGraphClient) -> None:
    thread = thread_of(client)
    question = asked(client.runs.wait(thread, "rlar", input=given(unserved("restarted"))))
    server.stop()
    server.start()
    with get_sync_client(url=server.address) as again:
        (waiting,) = again.threads.get(thread)["interrupts"].values()
        assert waiting[0]["value"] == question
        assert values(again.runs.wait(thread, "rlar", command={"resume": YES})) == [[1.0, 0.0]]


def test_without_a_thread_a_new_tool_waits_in_the_registry(
    server: DevServer, client: SyncLangGraphClient
) -> None:
    output: Any = client.runs.wait(None, "rlar", input=given(unserved("stateless")))
    assert values(output) == [[None, None]]
    why = output["outcomes"][0]["why"]
    assert "it waits for `rlar tools approve" in why
    rlar(server, "tools", "approve", why.rpartition(" ")[2].rstrip("`"))
    assert values(client.runs.wait(None, "rlar", input=given(unserved("stateless")))) == [[1.0, 0.0]]


def test_only_studio_may_ask_from_a_browser(server: DevServer) -> None:
    def allowed(origin: str) -> str | None:
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answers = {httpx.options(server.address + path, headers=asks) for path in ("/runs/wait", "/score")}
        (origins,) = {answer.headers.get("access-control-allow-origin") for answer in answers}
        return str(origins) if origins else None

    assert allowed("https://smith.langchain.com") == "https://smith.langchain.com"
    assert allowed("https://elsewhere.example") is None


def test_the_page_prints_what_it_says(server: DevServer) -> None:
    page = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```\n\n```output\n(.*?)```", page, re.DOTALL)
    assert len(examples) == page.count("```python") == 4
    code = "\nprint('---')\n".join(code for code, _ in examples).replace(
        "http://127.0.0.1:2024", server.address
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    assert done.stdout == "---\n".join(printed for _, printed in examples), done.stderr


def test_nothing_blocked_the_server(server: DevServer) -> None:
    assert "BlockingError" not in server.log
