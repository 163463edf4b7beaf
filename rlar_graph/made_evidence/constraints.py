"""Constraints of a prompt: rules first, a language model for what they leave open, and a rubric for the rest.

What a model finds counts only where independent attempts agree, the prompt says so word for word, and the checker
takes its parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from rlar_graph.errors import InputError, LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.made_evidence.constraint import Constraint
from rlar_graph.made_evidence.constraint_rules import constraints_in, read_part
from rlar_graph.made_evidence.made import MadeEvidence
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.rewards.verifiers.instructions import check

ATTEMPTS, QUORUM = 3, 2
DOCUMENT = "extractor_constraints"
NEUTRAL = "A plain sentence.\n\nAnother one, in a second paragraph."
RUBRIC_ITEMS = 8
DEMANDS_READ = 32
ALIKE = 0.4

PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "keywords:existence": {"keywords": "texts"},
    "keywords:frequency": {"keyword": "text", "relation": "relation", "frequency": "count"},
    "keywords:forbidden_words": {"forbidden_words": "texts"},
    "keywords:letter_frequency": {"letter": "text", "let_relation": "relation", "let_frequency": "count"},
    "language:response_language": {"language": "text"},
    "length_constraints:number_sentences": {"relation": "relation", "num_sentences": "count"},
    "length_constraints:number_paragraphs": {"num_paragraphs": "count"},
    "length_constraints:number_words": {"relation": "relation", "num_words": "count"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": "count",
        "nth_paragraph": "count",
        "first_word": "text",
    },
    "detectable_content:number_placeholders": {"num_placeholders": "count"},
    "detectable_content:postscript": {"postscript_marker": "text"},
    "detectable_format:number_bullet_lists": {"num_bullets": "count"},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": "count"},
    "detectable_format:multiple_sections": {"section_spliter": "text", "num_sections": "count"},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"prompt_to_repeat": "text"},
    "startend:end_checker": {"end_phrase": "text"},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_relation": "relation", "capital_frequency": "count"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}
"""The parameters of each checker and what they are."""

_CUE = re.compile(
    r"\b(?:must|should|need to|has to|have to|exactly|at least|at most|no more than|less than|fewer than|more than|not"
    r"|don't|without|avoid|only|include|including|format|contain|ensure|make sure|written in|style|tone|each|every)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_SPACES = re.compile(r"\s+")


class Parameter(BaseModel):
    """One parameter of a checker."""

    name: str
    """Its name."""
    value: str
    """Its value as text; a list as JSON."""


class Demand(BaseModel):
    """A demand of a prompt that a checker covers."""

    quote: str
    """The words of the prompt that say so."""
    checker: str
    """Name of the checker."""
    parameters: list[Parameter]
    """Its parameters."""


class Extraction(BaseModel):
    """The demands of a prompt."""

    demands: list[Demand]
    """Those that a checker covers."""
    others: list[str]
    """Those that none covers, each as a claim that can be judged."""


def made_constraints(
    prompts: Sequence[str], llm: LanguageModel | None
) -> list[MadeEvidence | LLMError | None]:
    """Return the constraints of each prompt; None where there are none, an error where the model failed."""
    return [_made(prompt, llm) for prompt in prompts]


def _made(prompt: str, llm: LanguageModel | None) -> MadeEvidence | LLMError | None:
    ruled = constraints_in(prompt)
    if llm is None or not leaves_open(prompt, ruled):
        return _evidence(ruled, [], 1.0, "rules")
    text = load_prompt(DOCUMENT).render(task=prompt, checkers=_checkers())
    replies = llm.sample("extractor", text, Extraction, ATTEMPTS, temperature=0.7, seed=1)
    read = [reply for reply in replies if isinstance(reply, Extraction)]
    if len(read) < QUORUM:
        failed = next(reply for reply in replies if isinstance(reply, LLMError))
        # What the rules have found is worth keeping, but not worth caching as all there is.
        return _evidence(ruled, [], 1.0, "rules") or failed
    found, agreement = _agreed(prompt, read, {constraint.instruction_id for constraint in ruled})
    made_by = llm.model if not ruled else f"rules and {llm.model}"
    return _evidence([*ruled, *found], _rubric([reply.others for reply in read]), agreement, made_by)


def leaves_open(prompt: str, ruled: Sequence[Constraint]) -> bool:
    """Say whether a prompt demands something in a sentence that no rule has read."""
    text = read_part(prompt)
    return any(
        _CUE.search(sentence[0])
        and not any(sentence.start() < end and start < sentence.end() for start, end in spans)
        for spans in [[constraint.span for constraint in ruled]]
        for sentence in _SENTENCE.finditer(text)
    )


def _evidence(
    constraints: Sequence[Constraint], rubric: Sequence[str], agreement: float, made_by: str
) -> MadeEvidence | None:
    """Return what was found as evidence; a rubric alone leaves the fields of constraints empty, for a judge to use."""
    usable = [constraint for constraint in constraints if is_usable(constraint)]
    if not usable and not rubric:
        return None
    payload = {
        "instruction_id_list": [constraint.instruction_id for constraint in usable],
        "kwargs": [dict(constraint.kwargs) for constraint in usable],
        "rubric": list(rubric),
    }
    return MadeEvidence("constraints", payload, round(agreement, 3), made_by)


def is_usable(constraint: Constraint) -> bool:
    """Say whether the checker takes a constraint's parameters, by running it."""
    try:
        check(constraint.instruction_id, constraint.kwargs, NEUTRAL)
    except InputError:
        return False
    return True


def _agreed(prompt: str, replies: Sequence[Extraction], known: set[str]) -> tuple[list[Constraint], float]:
    """Return the constraints on which attempts agree, without checkers that rules have set, and the lowest share."""
    votes: dict[str, list[Constraint]] = {}
    text = _normal(prompt)
    for reply in replies:
        there = [
            demand
            for demand in reply.demands[:DEMANDS_READ]
            if _normal(demand.quote) and _normal(demand.quote) in text
        ]
        read = {found.key: found for found in map(_read, there) if found is not None}
        for key, found in read.items():
            votes.setdefault(key, []).append(found)
    kept = [
        found for found in votes.values() if len(found) >= QUORUM and found[0].instruction_id not in known
    ]
    shares = [len(found) / ATTEMPTS for found in kept]
    return [found[0] for found in kept], min(shares, default=1.0)


def _read(demand: Demand) -> Constraint | None:
    """Return a model's demand as a constraint, its parameters in their own types; None where that fails."""
    kinds = PARAMETERS.get(demand.checker)
    given = {parameter.name: parameter.value for parameter in demand.parameters}
    if kinds is None or set(kinds) - set(given):
        return None
    try:
        kwargs = {name: _value(given[name], kind) for name, kind in kinds.items()}
    except ValueError:
        return None
    return Constraint(demand.checker, kwargs)


def _value(text: str, kind: str) -> object:
    match kind:
        case "count":
            return int(text)
        case "texts":
            listed = json.loads(text) if text.lstrip().startswith("[") else text.split(",")
            return [str(item).strip() for item in listed if str(item).strip()]
        case "relation":
            return text.strip().lower()
    return text.strip().strip('"“”')


def _rubric(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the demands that no checker covers and that several attempts name in much the same words."""
    kept: list[str] = []
    for item in lists[0][:DEMANDS_READ]:
        votes = sum(any(_alike(item, other) for other in others) for others in lists)
        if votes >= QUORUM and item.strip() and len(kept) < RUBRIC_ITEMS:
            kept.append(item.strip()[:300])
    return kept


def _alike(left: str, right: str) -> bool:
    first, second = set(re.findall(r"\w+", left.lower())), set(re.findall(r"\w+", right.lower()))
    return len(first & second) >= ALIKE * len(first | second) > 0


def _normal(text: str) -> str:
    return _SPACES.sub(" ", text).strip(" \"'.").casefold()


def _checkers() -> str:
    return "\n".join(
        f"- {name}: {', '.join(f'{parameter} ({kind})' for parameter, kind in kinds.items()) or 'no parameters'}"
        for name, kinds in PARAMETERS.items()
    )
