"""A judgement: what a judge is asked about one completion, and what its reply proves.

Everything that people or models wrote is fenced by the prompt documents, the criteria included: a model wrote them.
A reply is taken at its word only where its quotes bear it out; one that leaves a criterion out is no judgement at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from rlar_graph.prompts.loader import load_prompt
from rlar_graph.rewards.quotes import Quotable
from rlar_graph.rewards.rubric import Mode, Rubric
from rlar_graph.rewards.verifiers.response import visible
from rlar_graph.types import Rollout, Verdict, abstain

COMPLETION_CHARS, PROMPT_CHARS, ANSWER_CHARS = 12_000, 8_000, 4_000
"""Longest text shown to a judge; of a longer one the beginning and, mostly, the end."""
KEPT_CHARS = 200
WHOLE = "It is shown in full."


class Commitment(BaseModel):
    """What a judge answers before it sees a completion."""

    work: str = ""
    """How it got there."""
    answer: str = Field(min_length=1)
    """What a right completion must say."""


class Finding(BaseModel):
    """What a judge says of one criterion."""

    criterion: int
    """Its number in the list that was shown, from 1."""
    quote: str = ""
    """The passage that shows it."""
    holds: bool
    """Whether the statement is true of the completion."""


class Findings(BaseModel):
    """What a judge says of a completion."""

    findings: list[Finding]
    """One for each criterion."""


class Extraction(BaseModel):
    """The final answer of a completion."""

    answer: str = ""
    """Copied from it; empty where it commits to none."""


class Sameness(BaseModel):
    """Whether two answers are one."""

    difference: str = ""
    """What differs."""
    same: bool
    """Whether nothing that matters does."""


@dataclass(frozen=True, slots=True)
class Case:
    """One completion to be judged."""

    rollout: Rollout
    """Its prompt and evidence."""
    said: str
    """What it says after its thoughts, without blanks around it."""

    @property
    def task(self) -> str:
        """Return the prompt, with the text it works on where the data keeps that apart."""
        source = self.rollout.source
        apart = source is not None and source not in self.rollout.prompt
        return f"{self.rollout.prompt}\n\n{source}" if apart else self.rollout.prompt

    @property
    def references(self) -> tuple[str, ...]:
        """Return the reference and its aliases as texts."""
        return references_of(self.rollout)


def references_of(rollout: Rollout) -> tuple[str, ...]:
    """Return a rollout's reference and aliases as texts; empty where it has none."""
    if rollout.reference is None:
        return rollout.aliases
    reference = rollout.reference
    text = reference if isinstance(reference, str) else json.dumps(reference, sort_keys=True, default=str)
    return tuple(part for part in (text.strip(), *rollout.aliases) if part)


def cut(text: str, limit: int) -> tuple[str, str]:
    """Return a text as it is shown, and in words whether that is all of it.

    The end is kept, since that is where answers stand. What nobody can see is left out.
    """
    seen = visible(text)
    if len(seen) <= limit:
        return seen, WHOLE
    head = limit // 4
    notice = (
        f"It has {len(seen):,} characters; shown are the first {head:,} and the last {limit - head:,}, and a line "
        "[...] stands for the rest, which you cannot see."
    )
    return f"{seen[:head]}\n[...]\n{seen[head - limit :]}", notice


def answer_prompt(task: str) -> str:
    """Return the question by which a judge commits to an answer of its own."""
    return load_prompt("judge_answer").render(prompt=cut(task, PROMPT_CHARS)[0])


def criteria_prompt(rubric: Rubric, case: Case, committed: str, *, swapped: bool) -> str:
    """Return the question about a completion, criterion by criterion.

    Args:
        rubric: The criteria.
        case: The completion.
        committed: The judge's own answer, in the mode ``open``.
        swapped: Whether to list the criteria from the last to the first.
    """
    texts = [criterion.text for criterion in rubric.criteria]
    listed = "\n".join(
        f"{number}. {' '.join(text.split())}"
        for number, text in enumerate(texts[::-1] if swapped else texts, 1)
    )
    completion, notice = cut(case.said, COMPLETION_CHARS)
    shown = {
        "prompt": cut(case.task, PROMPT_CHARS)[0],
        "criteria": listed,
        "completion": completion,
        "notice": notice,
    }
    if rubric.mode is Mode.OPEN:
        return load_prompt("judge_open").render(answer=cut(committed, ANSWER_CHARS)[0], **shown)
    reference = cut("\n".join(case.references), PROMPT_CHARS)[0]
    return load_prompt("judge_reference").render(reference=reference, **shown)


def extract_prompt(case: Case) -> str:
    """Return the question for a completion's final answer, which does not show what was asked."""
    completion, notice = cut(case.said, COMPLETION_CHARS)
    return load_prompt("judge_extract").render(completion=completion, notice=notice)


def same_prompt(case: Case, answer: str, *, swapped: bool) -> str:
    """Return the question whether an answer is the reference, which shows neither the prompt nor which is which."""
    reference = cut("\n".join(" ".join(text.split()) for text in case.references), ANSWER_CHARS)[0]
    given = cut(" ".join(answer.split()), ANSWER_CHARS)[0]
    first, second = (given, reference) if swapped else (reference, given)
    return load_prompt("judge_same").render(first=first, second=second)


def read_findings(rubric: Rubric, case: Case, samples: Sequence[tuple[Findings, bool]]) -> Verdict:
    """Return the verdict that findings amount to: the share of criteria that most samples prove.

    Args:
        rubric: The criteria.
        case: The completion.
        samples: Findings, each with whether the criteria were listed from the last to the first.
    """
    proofs = [_proven(rubric, case, findings, swapped) for findings, swapped in samples]
    usable = [proof for proof in proofs if proof is not None]
    if not usable:
        return abstain("the judge did not say one thing of each criterion")
    quotes = [[proof[place] for proof in usable] for place in range(len(rubric.criteria))]
    shown = [2 * sum(quote is not None for quote in found) > len(usable) for found in quotes]
    listed = [
        {
            "criterion": criterion.text,
            "proven": proven,
            "quote": next((quote for quote in found if quote), "")[:KEPT_CHARS],
        }
        for criterion, proven, found in zip(rubric.criteria, shown, quotes, strict=True)
    ]
    return Verdict(rubric.value(shown), detail={"criteria": listed})


def _proven(rubric: Rubric, case: Case, findings: Findings, swapped: bool) -> list[str | None] | None:
    """Return for each criterion the quote that proves it, or None; nothing where the findings are incomplete."""
    count = len(rubric.criteria)
    said = {finding.criterion: finding for finding in findings.findings}
    if len(findings.findings) != count or set(said) != set(range(1, count + 1)):
        return None
    completion = Quotable(case.said)
    numbers = range(count, 0, -1) if swapped else range(1, count + 1)
    return [
        said[number].quote if said[number].holds and completion.has(said[number].quote) else None
        for number in numbers
    ]


def read_sameness(answer: str, samples: Sequence[Sameness]) -> Verdict:
    """Return the verdict of an equivalence: samples, asked in both orders, must agree."""
    detail = {
        "answer": answer[:KEPT_CHARS],
        "difference": next((sample.difference for sample in samples if not sample.same), "")[:KEPT_CHARS],
    }
    if len({sample.same for sample in samples}) > 1:
        return abstain("the judge says otherwise when asked again or the other way round", **detail)
    return Verdict(1.0 if samples[0].same else 0.0, detail=detail)
