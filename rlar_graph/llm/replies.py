"""Structured replies: how a model is asked for one, and how it is read whatever it is wrapped in.

Weak models and weak servers fence their JSON, think aloud first, add a sentence, or ignore the format they were
given. The reader takes the first JSON value that validates; it never guesses at fields with patterns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rlar_graph.types import Message, message_text

AnswerT = TypeVar("AnswerT", bound=BaseModel)

MAX_CANDIDATES = 100
"""Brackets from either end of a reply at which JSON is tried; each can cost a scan of a hostile reply."""

MAX_ECHO = 4_000
"""Characters of an unreadable reply that the repair turn shows its author."""

_OPENING = re.compile(r"\s*<(?:think|thinking|reasoning)>", re.IGNORECASE)
# Code that handles such tags has a quote or bracket behind them; a model that ends its thoughts has not.
_CLOSING = re.compile(r"</(?:think|thinking|reasoning)>(?=\s|[{\[]|$)", re.IGNORECASE)
_START = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder(strict=False)  # models put raw line breaks into code strings


class FoldedEnum(StrEnum):
    """A closed vocabulary for replies: ``SEARCH``, ``Search`` and `` search.`` all mean ``search``."""

    @classmethod
    def _missing_(cls, value: object) -> FoldedEnum | None:
        def fold(text: str) -> str:
            return "".join(char for char in text.casefold() if char.isalnum())

        return next((member for member in cls if fold(member.value) == fold(str(value))), None)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a reply cannot be used."""

    problem: str
    """In words for the model that is to repair it."""
    has_json: bool
    """Whether there was any JSON in it."""


def encodable(text: str) -> str:
    """Replace lone surrogates: completions carry them, and neither a request nor the registry can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def without_thoughts(text: str) -> str:
    """Return a reply without what the model thought aloud first; nothing is left if it never stopped.

    Some chat templates open the thoughts themselves, so a closing tag alone ends them too.
    """
    opening = _OPENING.match(text)
    closing = _CLOSING.search(text)
    if closing and (opening or "<think" not in text[: closing.start()]):
        return text[closing.end() :].strip()
    return "" if opening else text.strip()


def read(text: str, schema: type[AnswerT]) -> AnswerT | Unreadable:
    """Return the first JSON value in a reply that validates as ``schema``.

    What follows a model's thoughts comes first; the thoughts are searched only when nothing else validates.
    """
    first_fault: ValidationError | None = None
    for part in (without_thoughts(text), text):
        for value in _json_values(part):
            try:
                return schema.model_validate(value)
            except ValidationError as fault:
                first_fault = first_fault or fault
    if first_fault is None:
        return Unreadable("there is no complete JSON value in it", has_json=False)
    faults = first_fault.errors(include_input=False, include_url=False)
    places = (f"{'.'.join(map(str, fault['loc'])) or 'the value'}: {fault['msg']}" for fault in faults[:5])
    return Unreadable("; ".join(places), has_json=True)


def _json_values(text: str) -> Iterator[object]:
    """Yield what decodes as JSON at the brackets of a text, in their order."""
    starts = {found.start() for found in islice(_START.finditer(text), MAX_CANDIDATES)}
    end = len(text)
    for _ in range(MAX_CANDIDATES):
        end = max(text.rfind("{", 0, end), text.rfind("[", 0, end))
        if end < 0:
            break
        starts.add(end)
    for start in sorted(starts):
        try:
            yield _encodable_value(_DECODER.raw_decode(text, start)[0])
        except (ValueError, RecursionError):
            continue


def _encodable_value(value: object) -> object:
    """Replace the lone surrogates that JSON's escapes can spell."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_encodable_value(item) for item in value]
    if isinstance(value, dict):
        return {encodable(name): _encodable_value(item) for name, item in value.items()}
    return value


def instruct(messages: Sequence[Message], schema: type[BaseModel]) -> list[Message]:
    """Return ``messages`` with the last one asking for JSON of that schema."""
    *before, last = messages
    wanted = json.dumps(schema.model_json_schema(), ensure_ascii=False)
    content = (
        f"{message_text(last)}\n\nReply with one JSON value and nothing else: no code fence, no explanation. "
        f"It must conform to this JSON Schema:\n{wanted}"
    )
    return [*before, {**last, "content": content}]


def repair(messages: Sequence[Message], reply: str, problem: str) -> list[Message]:
    """Return the conversation that shows a model its unreadable reply and asks once more."""
    request = (
        f"That reply cannot be used: {problem}. Reply again, with only JSON that conforms to the schema."
    )
    shown = reply[:MAX_ECHO] or "(empty)"  # several servers refuse a message without content
    return [*messages, {"role": "assistant", "content": shown}, {"role": "user", "content": request}]
