"""What happens to families that no tool serves: their completions abstain, and the state says why."""

from __future__ import annotations

from rlar_graph.state import GraphState, NoToolUpdate


def no_tool(state: GraphState) -> NoToolUpdate:
    """Give each uncovered signature the reason why its completions will abstain."""
    reasons = {entry["signature"]: entry["missing"] for entry in state["plan"] if entry["missing"]}
    return {"missing": {key: reasons[key] or "" for key in state["uncovered"]}}
