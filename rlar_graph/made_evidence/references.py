"""References: the answer to a prompt without any, where independent solutions agree on it.

Three attempts are made; where two of them agree, two more. Only four of five, or three of three, make a reference, and
every one of them must hold that the task has a single right answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from rlar_graph.agreement import Majority, majority
from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.made_evidence.made import MadeEvidence
from rlar_graph.prompts.loader import load_prompt

FIRST, MORE = 3, 2
THRESHOLD = 0.8
ANSWER_CHARS = 200
DOCUMENT = "solver_answer"


class Attempt(BaseModel):
    """One independent solution."""

    steps: str
    """How it was found."""
    single: bool
    """Whether the task has exactly one right answer."""
    answer: str
    """The answer alone."""


def made_references(
    prompts: Sequence[str], llm: LanguageModel | None
) -> list[MadeEvidence | LLMError | None]:
    """Return the reference of each prompt; None where solutions do not agree, an error where the model failed."""
    return [None if llm is None else _made(prompt, llm) for prompt in prompts]


def _made(prompt: str, llm: LanguageModel) -> MadeEvidence | LLMError | None:
    text = load_prompt(DOCUMENT).render(task=prompt)
    replies = llm.sample("solver", text, Attempt, FIRST, seed=1)
    if _errors(replies):
        return _errors(replies)[0]
    found = _majority(replies)
    if found is None or found.votes < FIRST - 1:
        return None
    if found.votes < FIRST:
        replies += llm.sample("solver", text, Attempt, MORE, seed=1 + FIRST)
        if _errors(replies):
            return _errors(replies)[0]
        found = _majority(replies)
    if found is None or found.share < THRESHOLD or len(found.answer) > ANSWER_CHARS:
        return None
    return MadeEvidence("references", {"reference": found.answer}, round(found.share, 3), llm.model)


def _majority(replies: Sequence[Attempt | LLMError]) -> Majority | None:
    """Return the answer of most attempts; one that sees several right answers agrees with none."""
    return majority(
        [reply.answer if isinstance(reply, Attempt) and reply.single else "" for reply in replies]
    )


def _errors(replies: Sequence[Attempt | LLMError]) -> list[LLMError]:
    return [reply for reply in replies if isinstance(reply, LLMError)]
