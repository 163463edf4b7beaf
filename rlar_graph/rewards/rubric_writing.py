"""Writing a rubric: few criteria, each one thing that can be checked, from prompts and completions of a family.

Published rubrics fail by demands that are half met, by what they leave implicit, and by asking for decisiveness; the
prompt document rules these out. What the model writes is data like any other: it is cleaned, bounded, and fenced
wherever it is shown.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from rlar_graph.errors import LLMReplyError
from rlar_graph.llm import LanguageModel
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.rewards.rubric import Criterion, Mode, Rubric, with_universal
from rlar_graph.rewards.verifiers.response import says_nothing, visible
from rlar_graph.routing.signature import AnswerType, Evidence, Signature

ROLE = "judge_writer"
DOCUMENT = "rubric_write"
MAX_WRITTEN, MAX_CHARS, MAX_WEIGHT = 6, 300, 3

_PROSE = frozenset({AnswerType.TEXT, AnswerType.PROGRAM, AnswerType.FUNCTION, AnswerType.JSON})
_BASIS = {
    Mode.REFERENCE: "a reference answer from the data",
    Mode.OPEN: "an answer of its own that it wrote before; no reference answer",
}


class WrittenCriterion(BaseModel):
    """A criterion as it was written."""

    text: str
    """A statement about the completion."""
    weight: int = 1
    """1, 2 or 3."""


class WrittenRubric(BaseModel):
    """Criteria for completions of one kind of prompt."""

    criteria: list[WrittenCriterion] = Field(min_length=1)
    """Three to six."""


def mode_for(signature: Signature) -> Mode:
    """Return what a judge of a signature goes by: equivalence where the answer is short and there is a reference."""
    if signature.evidence is not Evidence.REFERENCE:
        return Mode.OPEN
    return Mode.REFERENCE if signature.answer in _PROSE else Mode.EQUIVALENCE


def write_rubric(llm: LanguageModel, signature: Signature, examples: str) -> Rubric:
    """Return a rubric for a family; an equivalence needs no criteria, and nothing is asked.

    Args:
        llm: The model that writes it, and will judge by it.
        signature: The family's signature.
        examples: Prompts and visible probes of the family, as its writer sees them.

    Raises:
        LLMError: The model cannot be reached or wrote nothing usable.
    """
    mode = mode_for(signature)
    if mode is Mode.EQUIVALENCE:
        return Rubric.of(mode, (), llm.model)
    prompt = load_prompt(DOCUMENT).render(examples=examples, basis=_BASIS[mode])
    written = llm.ask(ROLE, prompt, WrittenRubric, temperature=0.0, seed=0)
    criteria = _cleaned(written)
    if not criteria:
        raise LLMReplyError(f"{llm.model} gave the {ROLE} no criterion that says anything")
    return Rubric.of(mode, with_universal(criteria), llm.model)


def _cleaned(written: WrittenRubric) -> list[Criterion]:
    """Return the first few criteria, each once, in one visible line of bounded length."""
    weights: dict[str, int] = {}
    for criterion in written.criteria:
        text = " ".join(visible(criterion.text[: 4 * MAX_CHARS]).split())[:MAX_CHARS]
        if not says_nothing(text):
            weights.setdefault(text, min(MAX_WEIGHT, max(1, criterion.weight)))
    return [Criterion(text=text, weight=weight) for text, weight in list(weights.items())[:MAX_WRITTEN]]
