"""Sorting: the language model says what kind of work open-ended prompts ask for, many prompts a call.

The vocabulary is closed. What the model leaves out or answers off the menu stays open, and counts as answered: it is
not asked the same thing again and again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.routing.signature import UNDECIDED, AnswerType, Domain, Evidence, Signature

ROLE = "planner"
PROMPTS_PER_CALL = 50
HEAD_CHARS, TAIL_CHARS = 200, 60
END_CHARS = 2_000
"""Characters from either end of a prompt that are looked at for its excerpt."""

MENU: Mapping[str, tuple[Domain, str]] = {
    "dialogue": (Domain.DIALOGUE, "chat, advice, open questions, role play, opinions"),
    "writing": (Domain.WRITING, "stories, poems, essays, letters, slogans, rewriting a text"),
    "safety": (
        Domain.SAFETY,
        "harmful, illegal, hateful or dangerous requests, to be refused or handled with care",
    ),
    "factuality": (Domain.FACTUALITY, "questions about the world whose answer is true or false"),
    "reasoning": (Domain.REASONING, "puzzles, logic, deduction, planning, analysis of given data"),
    "math": (Domain.MATH, "calculation, equations, word problems, proofs"),
    "code": (Domain.CODE, "writing, explaining or repairing programs"),
    "translation": (Domain.TRANSLATION, "a text into another language"),
    "summarization": (Domain.SUMMARIZATION, "a shorter version of a given text"),
    "instruction": (Domain.INSTRUCTION, "exact rules for the form of the answer: counts, words, layout"),
}
"""The kinds of work by name."""


class Sorted(BaseModel):
    """One prompt's kind."""

    id: int = Field(description="Id of the prompt.")
    kind: str = Field(description="Name of its kind, or other.")


class Sorting(BaseModel):
    """The kinds of several prompts."""

    answers: list[Sorted] = Field(description="One entry per prompt.")


def open_signature(domain: Domain) -> Signature:
    """Return what a prompt of a domain needs when there is no evidence but itself."""
    if domain is Domain.CODE:
        return Signature(domain, AnswerType.PROGRAM, Evidence.NONE)
    if domain in {Domain.TRANSLATION, Domain.SUMMARIZATION}:
        return Signature(domain, AnswerType.TEXT, Evidence.SOURCE)
    return Signature(domain, AnswerType.TEXT, Evidence.NONE)


def sort_prompts(llm: LanguageModel, batches: Sequence[Sequence[str]]) -> list[list[Signature] | LLMError]:
    """Return a signature per prompt of each batch, or why the batch has none; one call a batch.

    Args:
        llm: Whom to ask.
        batches: At most :data:`PROMPTS_PER_CALL` prompts each.
    """
    asked = [_question(batch) for batch in batches]
    # One after the other: a small local server queues parallel requests until they are out of time.
    answers = llm.ask_many(ROLE, asked, Sorting, concurrency=1)
    return [
        answer if isinstance(answer, LLMError) else _read(answer, len(batch))
        for batch, answer in zip(batches, answers, strict=True)
    ]


def excerpt(prompt: str) -> str:
    """Return the beginning and end of a prompt, on one line."""
    ends = prompt if len(prompt) <= 2 * END_CHARS else f"{prompt[:END_CHARS]} {prompt[-END_CHARS:]}"
    text = " ".join(ends.split())
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]} [...] {text[-TAIL_CHARS:]}"


def _question(batch: Sequence[str]) -> str:
    """Return the question about one batch; ids are places in it."""
    lines = [
        json.dumps({"id": number, "prompt": excerpt(prompt)}, ensure_ascii=False)
        for number, prompt in enumerate(batch, 1)
    ]
    kinds = "\n".join(f"- {name}: {meaning}" for name, (_, meaning) in MENU.items())
    return load_prompt("planner").render(kinds=kinds, count=str(len(batch)), excerpts="\n".join(lines))


def _read(answer: Sorting, count: int) -> list[Signature] | LLMError:
    """Return the signatures in an answer; one that says something of no prompt at all is none."""
    found = [UNDECIDED] * count
    for entry in answer.answers:
        if 1 <= entry.id <= count:
            domain, _ = MENU.get(entry.kind.strip().strip(".").lower(), (Domain.OPEN, ""))
            found[entry.id - 1] = open_signature(domain)
    if not any(1 <= entry.id <= count for entry in answer.answers):
        return LLMError("the planner's answer names none of the prompts it was asked about")
    return found
