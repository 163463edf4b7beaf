"""The graph's state: what each node reads and the one key it owns. Small, and plain JSON all through."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, Required

from typing_extensions import TypedDict  # pydantic draws no schema of typing.TypedDict before Python 3.12

from rlar_graph.graph_schemas import Decided, FamilyOutcome, Scored, Sought, collected


class Draft(TypedDict):
    """A reward tool that is being made, before the gate has decided."""

    name: str
    """Its name in the registry."""
    kind: str
    """``verifier``, ``reward_model`` or ``judge``."""
    summary: str
    """One sentence for people."""
    source: str
    """Everything that decides its scores: code, or JSON of a rubric or of a model's revision and settings."""
    prompt_hash: str
    """SHA-256 of the prompt document it was made from; empty where none was."""
    model: str
    """The language model that wrote it, or the reward model it is."""


class FamilyTask(TypedDict):
    """What one branch is asked to do: find a reward tool for one family of prompts."""

    family: str
    """Registry key of the family: ``source:NAME`` from the data, else ``family:HASH`` found by the planner."""
    signature: str
    """Key of the signature its prompts share."""
    examples: list[dict[str, Any]]
    """A few of its rollouts, as records; never more than :data:`MAX_EXAMPLES`."""
    kinds: list[str]
    """Kinds of tool still to try, the best first."""
    replaces: NotRequired[str | None]
    """Name and version of the tool that serves the family when the branch starts, and is to be replaced."""


class Step(TypedDict):
    """One step of a branch, as a person reads it."""

    tool: str | None
    """The tool or draft it is about."""
    why: str
    """What was decided, found or made, and why."""
    evidence: str
    """What that rests on."""
    report: str | None
    """Id of the admission report, where there is one."""


class Decision(TypedDict):
    """What a person decided of a tool."""

    approve: bool
    """Whether it may score."""
    reason: str
    """Why, for the registry's history."""


class Rejected(TypedDict):
    """A draft that failed the gate while the branch went on."""

    draft: Draft
    """The draft."""
    report: str
    """Its admission report as JSON."""


class Cost(TypedDict):
    """What a branch has used of the language model."""

    calls: int
    """Requests."""
    tokens: int
    """Prompt and completion tokens together."""
    money: float
    """What they cost."""
    seconds: float
    """Wall-clock seconds."""


class ModelCandidate(TypedDict):
    """A reward model that may be tried, or that may not."""

    repo: str
    """Repository on the Hub, or the model's name on the server."""
    origin: str
    """Who named it: ``user``, ``catalogue``, ``hub`` or ``web``."""
    refused: str
    """What keeps it out; empty where it may be tried."""
    source: str
    """Source of the tool it would be, as JSON."""


class AcquireState(FamilyTask, total=False):
    """What the nodes of one branch share."""

    owner: str
    """Written by whoever claimed the family for this branch: owner of the claim, which the registrar gives back."""
    kind: str | None
    """Written by ``choose_kind``: the kind of tool being tried; None when none is left."""
    cost: Cost
    """Written by the writers and ``verifier_tester``: what the branch has used so far."""
    rejected: list[Rejected]
    """Written by ``verifier_tester``: earlier drafts that failed, to be kept by the registrar with their reports."""
    models: list[ModelCandidate]
    """Written by ``search``: reward models, the best first, refused ones included."""
    draft: Draft | None
    """Written by ``code_writer``, ``judge_writer`` and ``rm_evaluator``: the tool to be tested."""
    attempt: int
    """Written by ``code_writer``: how many drafts there were, 1 for the first."""
    report: str | None
    """Written by ``verifier_tester``: the admission report as JSON, the deciding probes' texts left out."""
    admitted: bool
    """Written by ``verifier_tester``: whether the draft passed the gate."""
    failures: list[str]
    """Written by ``verifier_tester``: what failed on *visible* probes, for the writer to learn from."""
    refused: str | None
    """Written by whichever node cannot go on with this kind: why; the next kind is tried."""
    waits: str | None
    """Written by the registrar: name and version of the candidate that a person is to decide on now."""
    decision: Decision
    """Written by ``review``: what the person decided; the registrar acts on it."""
    step: Step
    """Written with every node's update: the step it takes, to be read."""
    outcomes: list[FamilyOutcome]
    """Written by the registrar."""


class AcquireOutput(TypedDict, total=False):
    """What a branch hands back, and all that clients are shown of its nodes' updates.

    Whole reports and examples are the nodes' own affair: a step names the report, and ``rlar tools show`` prints it.
    """

    step: Step
    """The last step it took."""
    draft: Draft | None
    """The tool it made."""
    cost: Cost
    """What it has used."""
    outcomes: list[FamilyOutcome]
    """What came of its family: the one key the graph takes over."""


MAX_EXAMPLES = 32
"""Rollouts of a family that a branch is given to look at."""


class GraphState(TypedDict, total=False):
    """Everything the nodes share."""

    rollouts: Required[list[dict[str, Any]]]
    """Written by the caller."""
    plan: list[Decided]
    """Written by the planner: one decision per rollout."""
    uncovered: list[str]
    """Written by the planner: keys of the signatures no tool serves and none is sought for now."""
    tasks: list[Sought]
    """Written by the planner: families for which a tool is to be found now, one branch each."""
    missing: dict[str, str]
    """Emptied by the planner, written by ``no_tool``: for each signature without a tool, why, and what
    would change that."""
    outcomes: Annotated[list[FamilyOutcome], collected]
    """Emptied by the planner, written by the branches: what came of each family."""
    scores: list[list[Scored]]
    """Written by the scorer."""


class PlannerUpdate(TypedDict):
    """The planner's keys."""

    plan: list[Decided]
    uncovered: list[str]
    tasks: list[Sought]
    missing: dict[str, str]
    outcomes: list[FamilyOutcome]


class ClaimUpdate(TypedDict, total=False):
    """The keys of ``claim``."""

    owner: str
    outcomes: list[FamilyOutcome]


class ChooseKindUpdate(TypedDict):
    """The keys of ``choose_kind``."""

    kind: str | None
    kinds: list[str]
    draft: Draft | None
    attempt: int
    failures: list[str]
    refused: str | None


class NoToolUpdate(TypedDict):
    """The key of ``no_tool``."""

    missing: dict[str, str]


class RegistrarUpdate(TypedDict):
    """The registrar's keys."""

    waits: str | None
    outcomes: list[FamilyOutcome]


class ReviewUpdate(TypedDict):
    """The key of ``review``."""

    decision: Decision


class ScorerUpdate(TypedDict):
    """The scorer's key."""

    scores: list[list[Scored]]
