"""The values that acquisitions keep in the registry: families, labels, probes, attempts, spending and drift."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

LabelSource: TypeAlias = Literal["rule", "user", "llm"]
ProbeOrigin: TypeAlias = Literal["data", "llm", "user", "audit", "hostile"]
AttemptOutcome: TypeAlias = Literal["admitted", "rejected", "refused"]
DriftAction: TypeAlias = Literal["reacquire", "quarantine", "watch"]


@dataclass(frozen=True, slots=True)
class FamilyRecord:
    """A family of prompts that one built tool can serve."""

    key: str
    """Registry key: ``source:NAME`` from the data, else ``family:HASH`` found by the planner."""
    signature: str
    """Key of the signature its prompts share."""
    sketch: str
    """What the planner recognises it by, e.g. the fingerprint of its template."""
    example: str
    """One of its prompts."""
    prompts: int
    """How many prompts it had when it was found."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a prompt was routed to, and who said so: what the learned router is trained on."""

    prompt_hash: str
    """SHA-256 of the prompt."""
    text: str
    """The prompt; the registry keeps its beginning."""
    target: str
    """Key of the signature or family it belongs to."""
    source: LabelSource
    """``rule``, ``user`` or ``llm``; a prompt has at most one label of each."""


@dataclass(frozen=True, slots=True)
class KeptProbe:
    """A probe of a family, kept so that every later version is held to it too."""

    body: str
    """The probe as a JSON object."""
    deciding: bool
    """Whether it decides admissions; whoever writes tools never sees it."""
    origin: ProbeOrigin
    """Where it comes from."""
    expect: str
    """``good``, ``bad``, ``hostile`` or ``abstain``."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at getting a tool for a family, whatever came of it."""

    family: str
    """Registry key of the family."""
    kind: str
    """Kind of tool that was tried."""
    outcome: AttemptOutcome
    """``admitted``, ``rejected`` by the gate, or ``refused``: it did not come to a test."""
    reason: str
    """Why, in words."""
    calls: int = 0
    """Requests to the language model."""
    tokens: int = 0
    """Prompt and completion tokens together."""
    money: float = 0.0
    """What they cost."""
    seconds: float = 0.0
    """Wall-clock seconds it took."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it ended."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What one role has used of the language model."""

    role: str
    """Who asked: planner, probe_maker, solver, code_writer, judge_writer, judge or extractor."""
    calls: int
    """Requests."""
    prompt_tokens: int
    """Tokens sent."""
    completion_tokens: int
    """Tokens received."""
    seconds: float
    """Seconds spent in requests."""
    money: float
    """What they cost."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Counters of what one version of a tool said of some rollouts; observations add up."""

    rollouts: int = 0
    """Rollouts."""
    completions: int = 0
    """Completions."""
    abstained: int = 0
    """Completions it did not judge."""
    errors: int = 0
    """Completions it did not judge because it broke."""
    groups: int = 0
    """Rollouts of which it judged at least two completions."""
    flat: int = 0
    """Those of the groups whose values are all the same: nothing to learn from."""
    tops: int = 0
    """Values at the top of the scale."""
    bottoms: int = 0
    """Values at the bottom of the scale."""
    seconds: float = 0.0
    """Wall-clock seconds."""

    @property
    def judged(self) -> int:
        """Return how many completions have a value."""
        return self.completions - self.abstained

    def __add__(self, other: Observation) -> Observation:
        return Observation(
            *(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))
        )


@dataclass(frozen=True, slots=True)
class Audit:
    """Sums over completions that both a tool and an independent audit tool scored; audits add up."""

    pairs: int = 0
    """Completions."""
    train: float = 0.0
    """Sum of the tool's values."""
    gap: float = 0.0
    """Sum of the tool's value minus the audit's."""
    gap_squares: float = 0.0
    """Sum of the squares of these gaps."""

    def __add__(self, other: Audit) -> Audit:
        return Audit(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Reacquisition:
    """A version of a tool that drifted and is to be replaced."""

    tool: str
    """Name of the tool."""
    version: int
    """The version that drifted."""
    keys: tuple[str, ...]
    """The family and signature keys the tool serves."""
    monitor: str
    """The monitor that found it."""
    reason: str
    """What was found, in words."""
    at: datetime
    """When."""
