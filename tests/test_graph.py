"""The graph as LangGraph runs it: planner, scorer, and the route of prompts without a tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlar_graph.engine import Engine
from rlar_graph.graph import Context, build_graph
from rlar_graph.settings import Settings

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


def test_the_document_shows_the_compiled_graph(engine: Engine) -> None:
    drawing = build_graph(engine).get_graph(xray=True).draw_mermaid()
    assert drawing.strip() in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_langgraph_json_names_the_module() -> None:
    named = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]["rlar"]
    assert named == "rlar_graph.graph:graph"


def test_an_empty_context_is_the_settings_own(settings: Settings) -> None:
    assert Context().registry_url is None
    assert settings.registry_url.startswith("sqlite:///")
