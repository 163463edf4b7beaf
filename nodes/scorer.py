"""The scorer: every rollout is scored by its tool, all of its completions at the same version, or abstains."""

from __future__ import annotations

from rlar_graph.batch import read_batch
from rlar_graph.engine import Engine
from rlar_graph.graph_schemas import Scored
from rlar_graph.state import GraphState, ScorerUpdate
from rlar_graph.types import Score


def scorer(state: GraphState, engine: Engine) -> ScorerUpdate:
    """Score the rollouts; looking the tools up again costs nothing, they were loaded by the planner."""
    plan = engine.plan(read_batch(state["rollouts"]))
    return {"scores": [[_scored(score) for score in row] for row in engine.score(plan)]}


def _scored(score: Score) -> Scored:
    return {
        "value": score.value,
        "abstained": score.abstained,
        "raw": score.raw,
        "tool": score.tool,
        "version": score.version,
        "seconds": score.seconds,
        "detail": dict(score.detail),
    }
