"""The graph: which node follows which. The nodes' work is in their own files.

``graph`` is what ``langgraph.json`` names; it is compiled without a checkpointer, the server brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeVar

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from pydantic import ConfigDict, Field, with_config

from rlar_graph.engine import Engine
from rlar_graph.graph_schemas import GraphInput, GraphOutput, Sought
from rlar_graph.nodes.choose_kind import choose_kind
from rlar_graph.nodes.claim import claim
from rlar_graph.nodes.code_writer import code_writer
from rlar_graph.nodes.judge_writer import judge_writer
from rlar_graph.nodes.no_tool import no_tool
from rlar_graph.nodes.planner import planner
from rlar_graph.nodes.registrar import registrar
from rlar_graph.nodes.review import review
from rlar_graph.nodes.rm_evaluator import rm_evaluator
from rlar_graph.nodes.scorer import scorer
from rlar_graph.nodes.search import search
from rlar_graph.nodes.verifier_tester import verifier_tester
from rlar_graph.process_engine import process_engine
from rlar_graph.state import AcquireOutput, AcquireState, FamilyTask, GraphState
from rlar_graph.toolmaking.branch_steps import step_of

StateT = TypeVar("StateT", GraphState, AcquireState, contravariant=True)
UpdateT = TypeVar("UpdateT", covariant=True)


class Node(Protocol[StateT, UpdateT]):
    """What LangGraph calls: a node that is told of its run."""

    def __call__(self, state: StateT, *, runtime: Runtime[Context]) -> UpdateT:
        """Do the node's one step."""
        ...


@with_config(ConfigDict(use_attribute_docstrings=True))
@dataclass
class Context:
    """What a run may be told besides its input; everything else is in the server's settings (RLAR_...)."""

    registry_url: Annotated[str | None, Field(examples=["sqlite:///rlar.db"])] = None
    """Registry of reward tools to use, as an SQLAlchemy URL; by default the one in the settings."""


Graph: TypeAlias = CompiledStateGraph[GraphState, Context, GraphInput, GraphOutput]
Branch: TypeAlias = CompiledStateGraph[AcquireState, Context, FamilyTask, AcquireOutput]
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
    builder = StateGraph(AcquireState, Context, input_schema=FamilyTask, output_schema=AcquireOutput)
    builder.add_node("claim", _in_branch(claim, engine_of))
    builder.add_node("choose_kind", _told(choose_kind))
    builder.add_node("code_writer", _in_branch(code_writer, engine_of))
    builder.add_node("search", _in_branch(search, engine_of))
    builder.add_node("rm_evaluator", _in_branch(rm_evaluator, engine_of))
    builder.add_node("judge_writer", _in_branch(judge_writer, engine_of))
    builder.add_node("verifier_tester", _in_branch(verifier_tester, engine_of))
    builder.add_node("registrar", _in_branch(registrar, engine_of))
    builder.add_node("review", _told(review))
    builder.add_edge(START, "claim")
    builder.add_conditional_edges("claim", after_claim)
    builder.add_conditional_edges("choose_kind", after_choice)
    builder.add_conditional_edges("code_writer", after_writer)
    builder.add_conditional_edges("judge_writer", after_writer)
    builder.add_conditional_edges("search", after_search)
    builder.add_conditional_edges("rm_evaluator", after_evaluator)
    builder.add_conditional_edges("verifier_tester", after_tester)
    builder.add_conditional_edges("registrar", after_registrar)
    builder.add_edge("review", "registrar")
    return builder.compile(name="acquire")


def after_planner(state: GraphState) -> list[Send | str]:
    """Start a branch for each family a tool is sought for; say why there is none for the others; else score."""
    branches: list[Send | str] = [Send("acquire", _task(sought, state)) for sought in state["tasks"]]
    if state["uncovered"]:
        branches.append("no_tool")
    return branches or ["scorer"]


def _task(sought: Sought, state: GraphState) -> FamilyTask:
    """Return what a branch is asked to do, with its examples' records."""
    examples = [state["rollouts"][position] for position in sought["examples"]]
    return {
        "family": sought["family"],
        "signature": sought["signature"],
        "examples": examples,
        "kinds": sought["kinds"],
        "replaces": sought["replaces"],
    }


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


def after_registrar(state: AcquireState) -> Literal["review", "__end__"]:
    """Have a person asked where one is to decide."""
    return "review" if state.get("waits") else "__end__"


def _nothing(state: GraphState) -> dict[str, object]:
    """Score nothing."""
    return {}


def _with_engine(node: Callable[[StateT, Engine], UpdateT], engine_of: EngineOf) -> Node[StateT, UpdateT]:
    """Give a node its engine."""

    def run(state: StateT, *, runtime: Runtime[Context]) -> UpdateT:
        return node(state, engine_of(runtime))

    return run


def _in_branch(
    node: Callable[[AcquireState, Engine], Mapping[str, Any]], engine_of: EngineOf
) -> Node[AcquireState, dict[str, Any]]:
    """Give a branch's node its engine, and add to its update what a person reads of it."""

    def run(state: AcquireState, *, runtime: Runtime[Context]) -> dict[str, Any]:
        engine = engine_of(runtime)
        owner = state.get("owner")
        if owner is None:
            return _stepped(node(state, engine), state)
        try:
            with engine.leases.working(state["family"], owner):
                return _stepped(node(state, engine), state)
        except BaseException:
            # Nothing goes on from here, and the family is free for the next run at once.
            engine.leases.drop(state["family"], owner)
            raise

    return run


def _told(node: Callable[[AcquireState], Mapping[str, Any]]) -> Node[AcquireState, dict[str, Any]]:
    """Add to a node's update what a person reads of it."""

    def run(state: AcquireState, *, runtime: Runtime[Context]) -> dict[str, Any]:
        return _stepped(node(state), state)

    return run


def _stepped(update: Mapping[str, Any], state: AcquireState) -> dict[str, Any]:
    return {**update, "step": step_of(state, update)}


graph = build_graph()
