"""The graph as LangGraph runs it: planner, scorer, and the route of prompts without a tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from langgraph.runtime import Runtime

from rlar_graph.engine import Engine
from rlar_graph.graph import Context, _in_branch, build_graph
from rlar_graph.process_engine import process_engine
from rlar_graph.server import create_app
from rlar_graph.settings import Settings
from rlar_graph.state import AcquireState
from rlar_graph.toolmaking.branch_steps import step_of

ROOT = Path(__file__).parents[1]
SUM: Any = {"prompt": "What is 2 + 2?", "completions": ["4", "5"], "reference": "4"}
POEM: Any = {"prompt": "Write a poem.", "completions": ["Rain falls."]}


def test_covered_prompts_go_straight_to_the_scorer(engine: Engine) -> None:
    updates = list(build_graph(engine).stream({"rollouts": [SUM]}, stream_mode="updates"))
    assert [name for update in updates for name in update] == ["planner", "scorer"]
    (plan,) = updates[0]["planner"]["plan"]
    assert plan["tool"] == "maths v1"
    assert plan["why"] == "the reference is a number"
    assert [score["value"] for score in updates[1]["scorer"]["scores"][0]] == [1.0, 0.0]


def test_uncovered_prompts_abstain_and_the_state_says_why(engine: Engine) -> None:
    updates = list(build_graph(engine).stream({"rollouts": [SUM, POEM]}, stream_mode="updates"))
    assert [name for update in updates for name in update] == ["planner", "no_tool", "scorer"]
    reason = updates[1]["no_tool"]["missing"]["open/text/none/und"]
    assert "no tool serves" in reason
    (score,) = updates[2]["scorer"]["scores"][1]
    assert score["value"] is None
    assert score["abstained"] == reason


def test_every_update_is_plain_json(engine: Engine) -> None:
    for update in build_graph(engine).stream({"rollouts": [SUM, POEM]}, stream_mode="updates"):
        json.dumps(update)


def test_a_run_without_an_engine_opens_the_process_engine(tmp_path: Path) -> None:
    context = Context(registry_url=f"sqlite:///{tmp_path}/r.db")
    output = build_graph().invoke({"rollouts": [SUM]}, context=context)
    assert set(output) == {"scores", "plan", "uncovered", "tasks", "missing", "outcomes"}
    assert output["scores"][0][0]["value"] == 1.0


@pytest.mark.parametrize("page", ["architecture.md", "studio.md"])
def test_the_documents_show_the_compiled_graph(page: str, engine: Engine) -> None:
    drawing = build_graph(engine).get_graph(xray=True).draw_mermaid()
    assert drawing.strip() in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_langgraph_json_names_the_module() -> None:
    named = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]["rlar"]
    assert named == "rlar_graph.graph:graph"


def test_an_empty_context_is_the_settings_own(settings: Settings) -> None:
    assert Context().registry_url is None
    assert settings.registry_url.startswith("sqlite:///")


def test_the_graph_uses_the_engine_that_the_routes_of_its_server_lend(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/r.db"
    with TestClient(create_app(Settings.load(registry_url=url)), client=("127.0.0.1", 1)):
        lent = process_engine(url)
        output = build_graph().invoke({"rollouts": [SUM]}, context=Context(registry_url=url))
        assert output["scores"][0][0]["value"] == 1.0
        assert lent.library.has_loaded("verifier"), "it was this engine that scored"
    assert process_engine(url) is not lent, "it is closed with its server"


def step(update: dict[str, Any], **state: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"family": "source:x", "signature": "s", "examples": [{}, {}], "kinds": []}
    return dict(step_of(cast(AcquireState, base | state), update))


def test_a_step_says_in_words_what_a_node_did() -> None:
    draft = {"name": "verifier-x", "kind": "verifier", "summary": "checks the digits"}
    assert step({"owner": "me"})["why"].startswith("the family is claimed")
    tried = step({"kind": "judge", "kinds": [], "draft": None, "refused": "code cannot decide"})
    assert tried["why"] == "a judge is tried; what was tried before: code cannot decide"
    assert step({"kind": None, "refused": "nothing is left"})["why"] == "nothing is left"
    models = [{"repo": "acme/a", "refused": ""}, {"repo": "acme/b", "refused": "too large"}]
    assert step({"models": models, "refused": None})["why"] == "may be tried: acme/a; 1 refused"
    written = step({"draft": draft, "attempt": 2, "refused": None}, report="that of the first draft")
    assert written == {
        "tool": "verifier-x, draft 2",
        "why": "checks the digits",
        "evidence": "2 prompts of s",
        "report": None,
    }
    assert step({"refused": "\x1b[2J" + "x" * 2_000})["why"].isprintable()
    assert len(step({"refused": "x" * 2_000})["why"]) < 700


def test_an_error_in_a_branch_gives_its_claim_back(engine: Engine) -> None:
    def breaks(state: AcquireState, engine: Engine) -> dict[str, Any]:
        raise ZeroDivisionError

    owner = engine.leases.take("source:x")
    node = _in_branch(breaks, lambda runtime: engine)
    state = cast(AcquireState, {"family": "source:x", "owner": owner})
    with pytest.raises(ZeroDivisionError):
        node(state, runtime=Runtime())
    assert engine.resources.registry.claimed_by("source:x") is None
