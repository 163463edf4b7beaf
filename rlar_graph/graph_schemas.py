"""What a run of the graph takes and gives: the server draws its schemas of these types, and Studio its form.

The lines below the fields are their descriptions there. The graph itself reads records in any data set's column
names (:mod:`rlar_graph.records`), so a record may have further fields.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic draws no schema of typing.TypedDict before Python 3.12

OPEN = ConfigDict(use_attribute_docstrings=True, extra="allow")
SHOWN = ConfigDict(use_attribute_docstrings=True)
EXAMPLE: dict[str, Any] = {"prompt": "What is 6 * 7?", "completions": ["42", "41"], "reference": "42"}


@with_config(OPEN)
class ChatMessage(TypedDict):
    """One message of a conversation."""

    role: str
    """Who speaks: system, user or assistant."""
    content: str
    """What is said."""


@with_config(OPEN)
class RolloutRecord(TypedDict):
    """One prompt, its completions, and whatever evidence there is to judge them by."""

    prompt: str | list[ChatMessage]
    """What the policy was asked: text or chat messages."""
    completions: list[str | list[ChatMessage]]
    """What it answered: one entry per completion, all scored by the same tool."""
    reference: NotRequired[str | float | bool | list[str]]
    """The right answer, solution, translation or summary."""
    aliases: NotRequired[list[str]]
    """Further answers that are as good as the reference."""
    tests: NotRequired[str | list[str]]
    """Assert statements, or the source of check(candidate)."""
    entry_point: NotRequired[str]
    """Name of the function that the tests call."""
    schema: NotRequired[str | dict[str, Any]]
    """JSON Schema that a completion must conform to."""
    instruction_id_list: NotRequired[list[str]]
    """Verifiable instructions in IFEval's naming, such as keywords:existence."""
    kwargs: NotRequired[list[dict[str, Any]]]
    """Parameters of each instruction."""
    choices: NotRequired[list[str] | dict[str, str]]
    """Options of a multiple-choice prompt; as a list they are A, B, C, ..."""
    language: NotRequired[str]
    """Target language of a translation, programming language of code, else language of the answer."""
    source_text: NotRequired[str]
    """Text to be translated or summarized, where it is not in the prompt."""
    data_source: NotRequired[str]
    """The data's own name for where the prompt comes from: prompts of one name share a tool made for them."""
    id: NotRequired[str | int]
    """Name of the prompt in the data."""


@with_config(SHOWN)
class GraphInput(TypedDict):
    """What is to be scored."""

    rollouts: Annotated[list[RolloutRecord], Field(examples=[[EXAMPLE]])]
    """Prompts with their completions; other usual column names (question, ground_truth, ...) are read too."""


@with_config(SHOWN)
class Decided(TypedDict):
    """What the planner decided for one rollout; every field is there to be read in Studio."""

    prompt: str
    """The beginning of the prompt."""
    completions: int
    """How many completions are to be scored."""
    signature: str
    """Key of the signature."""
    evidence: str
    """What a verdict can rest on, the hardest there is: tests, constraints, schema, reference, source or none."""
    why: str
    """The routing decision in one line."""
    tool: str | None
    """Name and version of the tool that will score, e.g. maths v1."""
    report: str | None
    """Id of the admission report that let the tool score; rlar tools show prints it."""
    missing: str | None
    """Why no tool serves it."""


@with_config(SHOWN)
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
    detail: dict[str, Any]
    """What the tool found."""


@with_config(SHOWN)
class Sought(TypedDict):
    """A family that a tool is sought for."""

    family: str
    """Registry key of the family: source:NAME from the data, else family:HASH found by the planner."""
    signature: str
    """Key of the signature its prompts share."""
    examples: list[int]
    """Positions of a few of its rollouts, for the branch to look at; never more than 32."""
    kinds: list[str]
    """Kinds of tool to try, the best first."""
    replaces: str | None
    """Name and version of the tool that serves the family now, and is to be replaced."""


@with_config(SHOWN)
class FamilyOutcome(TypedDict):
    """What came of one branch."""

    family: str
    """Registry key of the family."""
    tool: str | None
    """Name and version of the tool that serves it now."""
    why: str
    """Why it was admitted, or why nothing could be."""


def collected(before: list[FamilyOutcome], new: list[FamilyOutcome]) -> list[FamilyOutcome]:
    """Add the outcomes of a branch; an empty list starts anew, for a thread may see many runs."""
    return [*before, *new] if new else []


@with_config(SHOWN)
class GraphOutput(TypedDict, total=False):
    """What a caller gets back: the scores, and everything that explains them.

    The server shows of a node's update only what is listed here.
    """

    scores: list[list[Scored]]
    """One list per rollout, one score per completion."""
    plan: list[Decided]
    """One decision per rollout."""
    uncovered: list[str]
    """Keys of the signatures no tool serves."""
    tasks: list[Sought]
    """Families for which a tool was sought."""
    missing: dict[str, str]
    """For each signature without a tool, why there is none."""
    outcomes: Annotated[list[FamilyOutcome], collected]
    """What came of each family."""
