"""What a reader of a registry is given: sums of rewards, outcomes and usage, and the decisions that were kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rlar_graph.registry.records import Decision


@dataclass(frozen=True, slots=True)
class RewardSum:
    """What one version of a tool gave in one stretch of steps or of time."""

    tool: str
    """Name of the tool."""
    version: int
    """Its version."""
    place: str
    """First step of the stretch, or its beginning in time as ISO text without seconds, cut to a resolution."""
    completions: int
    """Completions it was asked to score."""
    abstentions: int
    """Completions it did not judge."""
    total: float
    """Sum of its values."""
    squares: float
    """Sum of their squares."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the rewards reach."""

    first: str
    """The first minute, as ISO text."""
    last: str
    """The last minute."""
    first_step: int | None
    """The trainer's first step; None where no trainer named any."""
    last_step: int | None
    """The last step."""


@dataclass(frozen=True, slots=True)
class OutcomeSum:
    """How many completions came to one outcome."""

    slot: str
    """Beginning of the ten minutes, as ISO text; empty in sums over all time."""
    signature: str
    """Key of the signature; empty in sums over all signatures."""
    tool: str
    """Name of the tool; empty where none served, and in sums over all tools."""
    reason: str
    """Kind of abstention; empty for completions with a value."""
    completions: int
    """How many."""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was asked of one version."""

    tool: str
    """Name of the tool."""
    version: int
    """Its version."""
    batches: int
    """Batches it served."""
    completions: int
    """Completions it was asked to score."""
    abstentions: int
    """Completions it did not judge."""
    errors: int
    """Calls in which it broke as a whole."""
    seconds: float
    """Wall-clock seconds it took."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A kept decision, and when it was made."""

    at: datetime
    """When."""
    decision: Decision
    """The decision."""
