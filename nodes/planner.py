"""The planner: routes each rollout and looks its tool up in the registry."""

from __future__ import annotations

from rlar_graph.engine import Engine
from rlar_graph.records import rollout_from
from rlar_graph.scoring import Planned
from rlar_graph.state import Decided, GraphState, PlannerUpdate

EXCERPT_CHARS = 120


def planner(state: GraphState, engine: Engine) -> PlannerUpdate:
    """Decide for each rollout which tool scores it, and collect the signatures that no tool serves."""
    plan = engine.plan([rollout_from(record) for record in state["rollouts"]])
    uncovered = {planned.route.signature.key for planned in plan if isinstance(planned.tool, str)}
    return {"plan": [_decided(planned) for planned in plan], "uncovered": sorted(uncovered), "tasks": []}


def _decided(planned: Planned) -> Decided:
    """Return what was decided for one rollout, to be read by people."""
    return {
        "prompt": planned.rollout.prompt[:EXCERPT_CHARS],
        "completions": len(planned.rollout.completions),
        "signature": planned.route.signature.key,
        "why": planned.route.why,
        "tool": None if isinstance(planned.tool, str) else planned.tool.label,
        "missing": planned.tool if isinstance(planned.tool, str) else None,
    }
