"""The graph: which node follows which. The nodes' work is in their own files.

``graph`` is what ``langgraph.json`` names; it is compiled without a checkpointer, the server brings its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from rlar_graph.engine import Engine
from rlar_graph.nodes.no_tool import no_tool
from rlar_graph.nodes.planner import planner
from rlar_graph.nodes.scorer import scorer
from rlar_graph.settings import Settings
from rlar_graph.state import GraphInput, GraphOutput, GraphState, NoToolUpdate, PlannerUpdate, ScorerUpdate


@dataclass
class Context:
    """What a run may be told besides its input."""

    registry_url: str | None = None
    """Registry to use; None for the one in the settings."""


Graph: TypeAlias = CompiledStateGraph[GraphState, Context, GraphInput, GraphOutput]
_opening = threading.Lock()


def build_graph(engine: Engine | None = None) -> Graph:
    """Return the compiled graph.

    Args:
        engine: Engine of the caller, who closes it; by default one for the process, opened at the first run.
    """

    def engine_for(runtime: Runtime[Context]) -> Engine:
        if engine is not None:
            return engine
        with _opening:
            return process_engine(runtime.context.registry_url if runtime.context else None)

    def plan(state: GraphState, runtime: Runtime[Context]) -> PlannerUpdate:
        return planner(state, engine_for(runtime))

    def explain(state: GraphState) -> NoToolUpdate:
        return no_tool(state)

    def score(state: GraphState, runtime: Runtime[Context]) -> ScorerUpdate:
        return scorer(state, engine_for(runtime))

    builder = StateGraph(GraphState, Context, input_schema=GraphInput, output_schema=GraphOutput)
    builder.add_node("planner", plan)
    builder.add_node("no_tool", explain)
    builder.add_node("scorer", score)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", after_planner)
    builder.add_edge("no_tool", "scorer")
    builder.add_edge("scorer", END)
    return builder.compile(name="rlar")


def after_planner(state: GraphState) -> Literal["scorer", "no_tool"]:
    """Score at once when every signature has a tool."""
    return "no_tool" if state["uncovered"] else "scorer"


@cache
def process_engine(registry_url: str | None) -> Engine:
    """Return the process's engine for a registry; it lives as long as the process."""
    return Engine(Settings.load(registry_url=registry_url))


graph = build_graph()
