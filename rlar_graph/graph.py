"""The graph: which node follows which. The nodes' work is in their own files.

``graph`` is what ``langgraph.json`` names; it is compiled without a checkpointer, the server brings its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from rlar_graph.engine import Engine
from rlar_graph.nodes.choose_kind import choose_kind
from rlar_graph.nodes.claim import claim
from rlar_graph.nodes.code_writer import code_writer
from rlar_graph.nodes.judge_writer import judge_writer
from rlar_graph.nodes.no_tool import no_tool
from rlar_graph.nodes.planner import planner
from rlar_graph.nodes.registrar import registrar
from rlar_graph.nodes.rm_evaluator import rm_evaluator
from rlar_graph.nodes.scorer import scorer
from rlar_graph.nodes.search import search
from rlar_graph.nodes.verifier_tester import verifier_tester
from rlar_graph.process_engine import process_engine
from rlar_graph.state import AcquireState, FamilyTask, GraphInput, GraphOutput, GraphState

StateT = TypeVar("StateT", GraphState, AcquireState, contravariant=True)
UpdateT = TypeVar("UpdateT", covariant=True)


class Node(Protocol[StateT, UpdateT]):
    """What LangGraph calls: a node that is told of its run."""

    def __call__(self, state: StateT, *, runtime: Runtime[Context]) -> UpdateT:
        """Do the node's one step."""
        ...


@dataclass
class Context:
    """What a run may be told besides its input."""

    registry_url: str | None = None
    """Registry to use; None for the one in the settings."""


Graph: TypeAlias = CompiledStateGraph[GraphState, Context, GraphInput, GraphOutput]
Branch: TypeAlias = CompiledStateGraph[AcquireState, Context, FamilyTask, AcquireState]
EngineOf: TypeAlias = Callable[[Runtime[Context]], Engine]


def build_graph(engine: Engine | None = None, *, scoring: bool = True) -> Graph:
    """Return the compiled graph.

    Args:
        engine: Engine of the caller, who closes it; by default one for the process, opened at the first run.
        scoring: Whether the rollouts are scored in the end, or tools are only sought.
    """

    def engine_of(runtime: Runtime[Context]) -> Engine:
        if engine is not None:
            return engine
        return process_engine(runtime.context.registry_url if runtime.context else None)

    builder = StateGraph(GraphState, Context, input_schema=GraphInput, output_schema=GraphOutput)
    builder.add_node("planner", _with_engine(planner, engine_of))
    builder.add_node("acquire", build_branch(engine_of))
    builder.add_node("no_tool", no_tool)
    if scoring:
        builder.add_node("scorer", _with_engine(scorer, engine_of))
    else:
        builder.add_node("scorer", _nothing)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", after_planner, ["acquire", "no_tool", "scorer"])
    builder.add_edge("acquire", "scorer")
    builder.add_edge("no_tool", "scorer")
    builder.add_edge("scorer", END)
    return builder.compile(name="rlar")


def build_branch(engine_of: EngineOf) -> Branch:
    """Return the compiled branch that finds a tool for one family."""
    builder = StateGraph(AcquireState, Context, input_schema=FamilyTask)
    builder.add_node("claim", _with_engine(claim, engine_of))
    builder.add_node("choose_kind", choose_kind)
    builder.add_node("code_writer", _with_engine(code_writer, engine_of))
    builder.add_node("search", _with_engine(search, engine_of))
    builder.add_node("rm_evaluator", _with_engine(rm_evaluator, engine_of))
    builder.add_node("judge_writer", _with_engine(judge_writer, engine_of))
    builder.add_node("verifier_tester", _with_engine(verifier_tester, engine_of))
    builder.add_node("registrar", _with_engine(registrar, engine_of))
    builder.add_edge(START, "claim")
    builder.add_conditional_edges("claim", after_claim)
    builder.add_conditional_edges("choose_kind", after_choice)
    builder.add_conditional_edges("code_writer", after_writer)
    builder.add_conditional_edges("judge_writer", after_writer)
    builder.add_conditional_edges("search", after_search)
    builder.add_conditional_edges("rm_evaluator", after_evaluator)
    builder.add_conditional_edges("verifier_tester", after_tester)
    builder.add_edge("registrar", END)
    return builder.compile(name="acquire")


def after_planner(state: GraphState) -> list[Send | str]:
    """Start a branch for each family a tool is sought for; say why there is none for the others; else score."""
    branches: list[Send | str] = [Send("acquire", task) for task in state["tasks"]]
    if state["uncovered"]:
        branches.append("no_tool")
    return branches or ["scorer"]


def after_claim(state: AcquireState) -> Literal["choose_kind", "__end__"]:
    """Go on only with the claim in hand."""
    return "choose_kind" if state.get("owner") else "__end__"


def after_choice(state: AcquireState) -> Literal["code_writer", "search", "judge_writer", "registrar"]:
    """Go to the node that makes or finds tools of this kind, or record that none was left."""
    kind = state.get("kind")
    if kind == "verifier":
        return "code_writer"
    if kind == "reward_model":
        return "search"
    return "judge_writer" if kind == "judge" else "registrar"


def after_search(state: AcquireState) -> Literal["rm_evaluator", "choose_kind"]:
    """Measure the reward models that may be tried, if there are any."""
    return "choose_kind" if state.get("refused") else "rm_evaluator"


def after_evaluator(state: AcquireState) -> Literal["registrar", "choose_kind"]:
    """Register the best reward model, if one was good enough."""
    return "registrar" if state.get("admitted") else "choose_kind"


def after_writer(state: AcquireState) -> Literal["verifier_tester", "choose_kind"]:
    """Test what was written, if anything was."""
    return "verifier_tester" if state.get("draft") is not None else "choose_kind"


def after_tester(state: AcquireState) -> Literal["registrar", "code_writer", "choose_kind"]:
    """Register what passed; repair a verifier that may still be mended; else try the next kind."""
    if state.get("admitted"):
        return "registrar"
    mendable = state.get("kind") == "verifier" and state.get("refused") is None and state.get("failures")
    return "code_writer" if mendable else "choose_kind"


def _nothing(state: GraphState) -> dict[str, object]:
    """Score nothing."""
    return {}


def _with_engine(node: Callable[[StateT, Engine], UpdateT], engine_of: EngineOf) -> Node[StateT, UpdateT]:
    """Give a node its engine."""

    def run(state: StateT, *, runtime: Runtime[Context]) -> UpdateT:
        return node(state, engine_of(runtime))

    return run


graph = build_graph()
