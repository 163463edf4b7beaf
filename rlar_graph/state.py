"""The graph's state: what each node reads and the one key it owns. Small, and plain JSON all through."""

from __future__ import annotations

from typing import Required, TypedDict


class Decided(TypedDict):
    """What the planner decided for one rollout; every field is there to be read in Studio."""

    prompt: str
    """The beginning of the prompt."""
    completions: int
    """How many completions are to be scored."""
    signature: str
    """Key of the signature."""
    why: str
    """The routing decision in one line."""
    tool: str | None
    """Name and version of the tool that will score, e.g. ``maths v1``."""
    missing: str | None
    """Why no tool serves it."""


class Scored(TypedDict):
    """The score of one completion, as JSON."""

    value: float | None
    """In [0, 1]; null is an abstention."""
    abstained: str | None
    """Why there is no value."""
    raw: float | None
    """The tool's own figure, where it differs."""
    tool: str | None
    """The tool that scored."""
    version: int | None
    """Its version."""
    seconds: float
    """Its share of the batch's time."""
    detail: dict[str, object]
    """What the tool found."""


class GraphInput(TypedDict):
    """What a caller hands in."""

    rollouts: list[dict[str, object]]
    """Records as :func:`~rlar_graph.records.rollout_from` reads them."""


class GraphOutput(TypedDict, total=False):
    """What a caller gets back."""

    scores: list[list[Scored]]
    """One list per rollout, one score per completion."""


class GraphState(TypedDict, total=False):
    """Everything the nodes share."""

    rollouts: Required[list[dict[str, object]]]
    """Written by the caller."""
    plan: list[Decided]
    """Written by the planner: one decision per rollout."""
    uncovered: list[str]
    """Written by the planner: keys of the families no tool serves."""
    missing: dict[str, str]
    """Written by ``no_tool``: for each uncovered family, why there is no tool and what would change that."""
    scores: list[list[Scored]]
    """Written by the scorer."""


class PlannerUpdate(TypedDict):
    """The planner's keys."""

    plan: list[Decided]
    uncovered: list[str]


class NoToolUpdate(TypedDict):
    """The key of ``no_tool``."""

    missing: dict[str, str]


class ScorerUpdate(TypedDict):
    """The scorer's key."""

    scores: list[list[Scored]]
