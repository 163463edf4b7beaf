"""The values that travel: rollouts in, verdicts and scores out. All frozen, none of them does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from rlar_graph.errors import InputError

Message: TypeAlias = Mapping[str, object]
"""One chat message: ``role`` and ``content``, which is text or a list of ``{"type": "text", ...}`` parts."""

ToolKind: TypeAlias = Literal["verifier", "reward_model", "judge"]

_NOTHING: Mapping[str, object] = MappingProxyType({})


def _nothing() -> Mapping[str, object]:
    """Return the shared empty detail; verdicts are made by the thousand."""
    return _NOTHING


def message_text(message: Message) -> str:
    """Return the text of one chat message; parts that are not text (images, tool calls) are left out."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text", "") for part in content if isinstance(part, Mapping))
        return "".join(part for part in parts if isinstance(part, str))
    raise InputError(
        f"a message's content is text or a list of parts, not {type(content).__name__}", field="content"
    )


def prompt_text(prompt: str | Sequence[Message]) -> str:
    """Return a prompt as one text.

    A single user message is its own text; longer conversations are rendered as ``User: ...`` and
    ``Assistant: ...`` turns separated by blank lines, system messages first and unmarked.
    """
    if isinstance(prompt, str):
        return prompt
    turns = [message for message in prompt if message.get("role") != "system"]
    if len(turns) == len(prompt) == 1:
        return message_text(turns[0])
    lines = []
    for message in prompt:
        role = str(message.get("role", "user"))
        text = message_text(message)
        lines.append(text if role == "system" else f"{role.capitalize()}: {text}")
    return "\n\n".join(lines)


def completion_text(completion: str | Sequence[Message]) -> str:
    """Return a completion as one text: itself, or the text of its last assistant message."""
    if isinstance(completion, str):
        return completion
    for message in reversed(completion):
        if message.get("role", "assistant") == "assistant":
            return message_text(message)
    return ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One prompt, its group of completions, and whatever evidence came with it.

    Raises:
        InputError: ``prompt`` or ``completions`` are neither text nor chat messages.
    """

    prompt: str
    """Text, or chat messages (stored as text, see :func:`prompt_text`)."""
    completions: tuple[str, ...] = ()
    """Texts, or lists of chat messages (stored as text, see :func:`completion_text`)."""
    reference: object = None
    """The right answer, solution, translation or summary: text, number, boolean, list or mapping."""
    aliases: tuple[str, ...] = ()
    """Further answers that are as good as the reference."""
    tests: object = None
    """``check(candidate)`` source, assert statements, or stdin/stdout pairs."""
    entry_point: str | None = None
    """Name of the function that ``tests`` calls."""
    schema: object = None
    """JSON Schema the completion must conform to: mapping, boolean, or JSON text."""
    instruction_id_list: tuple[str, ...] = ()
    """Verifiable instructions in IFEval's naming, e.g. ``keywords:existence``."""
    kwargs: tuple[Mapping[str, object], ...] = ()
    """Parameters of each instruction, same length as ``instruction_id_list``."""
    choices: tuple[tuple[str, str], ...] = ()
    """Options of a multiple-choice prompt as (label, text); given as a list, labels are A, B, C, ..."""
    language: str | None = None
    """Target language of a translation, programming language of code, else language of the answer."""
    source: str | None = None
    """Text to be translated or summarized, if the data keeps it apart from the prompt."""
    data_source: str | None = None
    """The trainer's own name for where the prompt comes from; a family, taken at its word."""
    id: str | None = None
    """Name of the prompt in the data, for reports."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Columns that are no evidence, kept untouched."""

    def __post_init__(self) -> None:
        settle = object.__setattr__
        if type(self.prompt) is not str:
            settle(self, "prompt", prompt_text(_conversation(self.prompt, "prompt")))
        if isinstance(self.completions, str) or not isinstance(self.completions, Sequence):
            kind = type(self.completions).__name__
            raise InputError(
                f"completions is a list with one entry per completion, not {kind}", field="completions"
            )
        if type(self.completions) is not tuple or any(type(text) is not str for text in self.completions):
            texts = (
                text if type(text) is str else completion_text(_conversation(text, "completions"))
                for text in self.completions
            )
            settle(self, "completions", tuple(texts))


def _conversation(value: object, field_name: str) -> str | Sequence[Message]:
    """Check that a value is text or chat messages, so that what follows may rely on it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        value = (value,)
    if isinstance(value, Sequence) and all(isinstance(message, Mapping) for message in value):
        # Messages of another form would all be empty: what was said in them would count as nothing said.
        if value and not any("role" in message or "content" in message for message in value):
            problem = f"a chat message has role and content; this one has: {', '.join(map(str, value[0]))}"
            raise InputError(problem, field=field_name)
        return value
    raise InputError(f"must be text or a list of chat messages, not {type(value).__name__}", field=field_name)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reward tool says of one completion."""

    value: float | None
    """In [0, 1]; None when the tool abstains."""
    abstained: str | None = None
    """Why there is no value; None when there is one."""
    raw: float | None = None
    """The tool's own figure before calibration, e.g. a logit or BLEU points; None when it is the value."""
    detail: Mapping[str, object] = field(default_factory=_nothing)
    """What a person or a log may want to see: the extracted answer, tests passed, rules broken."""


RIGHT = Verdict(1.0)
WRONG = Verdict(0.0)


def abstain(reason: str, **detail: object) -> Verdict:
    """Return a verdict without a value: the tool could not tell, and says why."""
    return Verdict(None, reason, None, detail or _NOTHING)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one completion, and who gave it."""

    value: float | None
    """In [0, 1], 1 is best; None is an abstention, never a number in disguise."""
    raw: float | None = None
    """The tool's own figure before calibration; None when it is the value itself."""
    abstained: str | None = None
    """Why there is no value; None when there is one."""
    tool: str | None = None
    """Name of the reward tool; None when no tool served the prompt."""
    version: int | None = None
    """Version of the tool in the registry."""
    seconds: float = 0.0
    """Wall-clock seconds of the tool's batch, shared equally over its completions."""
    detail: Mapping[str, object] = field(default_factory=_nothing)
    """What the tool found; keys depend on the tool."""
