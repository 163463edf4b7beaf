"""The next kind of tool to try for a family, in the planner's order; what failed before is put aside."""

from __future__ import annotations

from rlar_graph.state import AcquireState, ChooseKindUpdate

NOTHING = "no kind of tool can be made for such prompts here"


def choose_kind(state: AcquireState) -> ChooseKindUpdate:
    """Take the next kind; None when all were tried. The last reason stays, for the registrar to record."""
    kinds = state["kinds"]
    kind = kinds[0] if kinds else None
    return {
        "kind": kind,
        "kinds": kinds[1:],
        "draft": None,
        "attempt": 0,
        "failures": [],
        "refused": state.get("refused") or (NOTHING if kind is None else None),
    }
