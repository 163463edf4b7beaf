"""What one chat server was found to understand: how strictly it can be held to a format, and which options it takes.

"OpenAI-compatible" names a family of dialects. A server that rejects a request is asked again without what it
rejected, and the lesson is kept, so that it costs one request and not one per question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import urlsplit

from pydantic import BaseModel

from rlar_graph.llm.chat import Fault, FaultKind

_COMPLAINT = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra inputs|not permitted|not allowed",
    re.IGNORECASE,
)


class Rung(IntEnum):
    """How a structured reply is asked for, strictest first; the schema is in the prompt on every rung."""

    JSON_SCHEMA = 0
    JSON_OBJECT_SCHEMA = 1
    JSON_OBJECT = 2
    TEXT = 3


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; None leaves it to the server."""

    temperature: float | None = None
    """Sampling temperature."""
    seed: int | None = None
    """Random seed, where the server honours one."""


class Dialect:
    """What one server and model understand, learned from what they reject.

    Args:
        base_url: The server's address; OpenAI's own has another name for the token limit.
        max_tokens: Longest reply.
    """

    def __init__(self, base_url: str, max_tokens: int) -> None:
        host = urlsplit(base_url).hostname or ""
        names = ["max_tokens", "max_completion_tokens"]
        self._limit_names = names[::-1] if host.endswith(("openai.com", "azure.com")) else names
        self._max_tokens = max_tokens
        self._dropped: set[str] = set()
        self._proven: set[Rung] = set()
        self.rung = Rung.JSON_SCHEMA
        """The strictest rung that the server has not rejected."""

    def body(self, rung: Rung, schema: type[BaseModel] | None, sampling: Sampling) -> dict[str, object]:
        """Return the request's fields beside the messages."""
        body: dict[str, object] = {"temperature": sampling.temperature, "seed": sampling.seed}
        body = {name: value for name, value in body.items() if value is not None}
        if self._limit_names:
            body[self._limit_names[0]] = self._max_tokens
        if schema and rung is Rung.JSON_SCHEMA:
            # strict would demand that every field is required and no other allowed.
            wanted = {"name": schema.__name__, "strict": False, "schema": schema.model_json_schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif schema and rung is Rung.JSON_OBJECT_SCHEMA:
            # llama-cpp-python and some hosted servers know a schema only here.
            body["response_format"] = {"type": "json_object", "schema": schema.model_json_schema()}
        elif schema and rung is Rung.JSON_OBJECT:
            body["response_format"] = {"type": "json_object"}
        return {name: value for name, value in body.items() if name not in self._dropped}

    def learn(self, fault: Fault, body: dict[str, object]) -> bool:
        """Take in which option a rejected request must do without; say whether there was one."""
        if fault.kind is not FaultKind.REJECTED or not _COMPLAINT.search(fault.message):
            return False
        for name in ("temperature", "seed", "max_tokens", "max_completion_tokens"):
            if name in body and re.search(rf"\b{name}\b", fault.message):
                self._dropped.add(name)
                self._limit_names = [limit for limit in self._limit_names if limit != name]
                return True
        return False

    def accept(self, rung: Rung, first: Rung) -> None:
        """Take in that the server replied on ``rung`` after it had rejected everything from ``first`` on."""
        self._proven.add(rung)
        if rung > first:
            self.rung = max(self.rung, rung)

    def may_dislike(self, rung: Rung, fault: Fault) -> bool:
        """Say whether a request may fare better on the next rung."""
        # Some servers end with a 500 when they cannot compile a schema into a grammar.
        broke = fault.status == 500 and rung not in self._proven
        return rung is not Rung.TEXT and (fault.kind is FaultKind.REJECTED or broke)
