"""The signature: what a task needs from its reward, in a closed vocabulary with a stable key."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Domain(StrEnum):
    """The kind of work a prompt asks for."""

    MATH = "math"
    CODE = "code"
    INSTRUCTION = "instruction"
    STRUCTURED = "structured"
    TRANSLATION = "translation"
    SUMMARIZATION = "summarization"
    KNOWLEDGE = "knowledge"
    DIALOGUE = "dialogue"
    WRITING = "writing"
    SAFETY = "safety"
    FACTUALITY = "factuality"
    REASONING = "reasoning"
    OPEN = "open"


class AnswerType(StrEnum):
    """The shape of the answer that is to be judged."""

    NUMBER = "number"
    EXPRESSION = "expression"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    STRING = "string"
    LIST = "list"
    FUNCTION = "function"
    PROGRAM = "program"
    JSON = "json"
    TEXT = "text"


class Evidence(StrEnum):
    """The strongest thing a verdict can rest on, hardest first."""

    TESTS = "tests"
    CONSTRAINTS = "constraints"
    SCHEMA = "schema"
    REFERENCE = "reference"
    SOURCE = "source"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a task needs from its reward. Its text, e.g. ``math/number/reference/und``, is its stable key."""

    domain: Domain
    """The kind of work."""
    answer: AnswerType
    """The shape of the answer."""
    evidence: Evidence
    """What a verdict can rest on."""
    language: str = "und"
    """Target language of a translation or programming language of code; ``und`` where it does not matter."""

    @property
    def key(self) -> str:
        """Return the stable text form used by the registry."""
        return f"{self.domain}/{self.answer}/{self.evidence}/{self.language}"

    @classmethod
    def parse(cls, key: str) -> Signature:
        """Return the signature of a stable key.

        Raises:
            ValueError: The key has not four parts, or a part is outside the vocabulary.
        """
        domain, answer, evidence, language = key.split("/")
        return cls(Domain(domain), AnswerType(answer), Evidence(evidence), language)

    def __str__(self) -> str:
        return self.key


UNDECIDED = Signature(Domain.OPEN, AnswerType.TEXT, Evidence.NONE)
"""What rules give a prompt with nothing to go on."""
