"""The router: prompt, reference and evidence in, signature out, by rules that each can say why.

Hard evidence is looked for first (tests, constraints, schema), then what the prompt asks for (a translation,
a summary), then the answer type of the reference. Nothing a data set says about itself is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rlar_graph.routing.answer_type import answer_type, is_number
from rlar_graph.routing.options import read_options
from rlar_graph.routing.signature import AnswerType, Domain, Evidence, Signature
from rlar_graph.types import Rollout

HEAD_CHARS, TAIL_CHARS = 400, 200
"""A prompt says what it asks for in its first or last characters; between them stands the material."""

SOURCE_CHARS = 300
"""A prompt without a reference is a summarization only if it is at least this long: the source is in it."""

LANGUAGES: Mapping[str, str] = {
    "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "catalan": "ca", "chinese": "zh",
    "croatian": "hr", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "estonian": "et",
    "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "gujarati": "gu", "hebrew": "he",
    "hindi": "hi", "hungarian": "hu", "icelandic": "is", "indonesian": "id", "italian": "it",
    "japanese": "ja", "kazakh": "kk", "korean": "ko", "latvian": "lv", "lithuanian": "lt",
    "mandarin": "zh", "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt",
    "romanian": "ro", "russian": "ru", "serbian": "sr", "slovak": "sk", "slovenian": "sl",
    "spanish": "es", "swahili": "sw", "swedish": "sv", "tamil": "ta", "telugu": "te", "thai": "th",
    "turkish": "tr", "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi",
}  # fmt: skip
PROGRAMMING = (
    "python",
    "c++",
    "javascript",
    "typescript",
    "java",
    "rust",
    "golang",
    "kotlin",
    "ruby",
    "bash",
    "sql",
)

_REQUESTS = ("translat", "summar", "tl;dr", "tldr")
_TRANSLATE = re.compile(r"\btranslat(?:e|es|ed|ing|ion)\b", re.IGNORECASE)
_TARGET = re.compile(r"\b(?:in)?to\s+(?:\w+\s+)?(" + "|".join(LANGUAGES) + r")\b", re.IGNORECASE)
_SUMMARIZE = re.compile(r"\b(?:summari[sz]e|summari[sz]ing|summary|summaries|tl;?dr)\b", re.IGNORECASE)
_LANGUAGE = "|".join(re.escape(name) for name in PROGRAMMING)
_CODE = re.compile(
    r"\b(?:write|implement|complete|create|fix|debug|refactor)\b[^.\n]{0,80}"
    r"(?:\b(?:function|program|script|code|algorithm|regex)\b|\b(?:"
    + _LANGUAGE
    + r") (?:class|query|method)\b|"
    r"\b(?:in|using) (?:" + _LANGUAGE + r")(?!\w))|```|^\s*def \w+\(",
    re.IGNORECASE | re.MULTILINE,
)
_SCHEMA = re.compile(r"\bjson[- ]?schema\b", re.IGNORECASE)
_OPTIONS = re.compile(r"\b(?:options?|choices?|choose|letters?|which of the following)\b", re.IGNORECASE)
_LETTER = re.compile(r"^[A-Ja-j][.)]?$")
_FACTORS = re.compile(
    r"\bprime factor|\bfactori[sz]ation|\bexpression that (?:evaluates|equals|uses)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a rollout goes, and why."""

    signature: Signature
    """What the task needs from its reward."""
    why: str
    """The decision in one line."""


def route(rollout: Rollout) -> Route:
    """Return the signature of a rollout and the reason for it."""
    hard = _by_hard_evidence(rollout)
    if hard is not None:
        return hard
    asked = rollout.prompt[:HEAD_CHARS] + "\n" + rollout.prompt[-TAIL_CHARS:]
    return _by_request(rollout, asked) or _by_reference(rollout, asked)


def _by_hard_evidence(rollout: Rollout) -> Route | None:
    """Route by tests, constraints or a schema, whatever else is there."""
    if rollout.tests:
        answer = AnswerType.PROGRAM if _are_pairs(rollout) else AnswerType.FUNCTION
        signature = Signature(Domain.CODE, answer, Evidence.TESTS, rollout.language or "python")
        what = "input and output pairs" if answer is AnswerType.PROGRAM else "tests that call a function"
        return Route(signature, f"there are {what}")
    if rollout.instruction_id_list:
        signature = Signature(Domain.INSTRUCTION, AnswerType.TEXT, Evidence.CONSTRAINTS)
        return Route(signature, f"there are {len(rollout.instruction_id_list)} verifiable instructions")
    if rollout.schema is not None:
        return Route(Signature(Domain.STRUCTURED, AnswerType.JSON, Evidence.SCHEMA), "there is a JSON Schema")
    if _SCHEMA.search(rollout.prompt[:HEAD_CHARS]) and _is_schema(rollout.reference):
        signature = Signature(Domain.STRUCTURED, AnswerType.JSON, Evidence.SCHEMA)
        return Route(signature, "the prompt speaks of a JSON Schema and the reference is one")
    return None


def _are_pairs(rollout: Rollout) -> bool:
    """Say whether tests are stdin/stdout pairs for a whole program rather than calls of a function."""
    tests = rollout.tests
    if isinstance(tests, Mapping):
        return rollout.entry_point is None and not tests.get("fn_name")
    if isinstance(tests, list | tuple) and tests:
        return rollout.entry_point is None and not isinstance(tests[0], str)
    return False


def _is_schema(reference: object) -> bool:
    """Say whether a reference is a JSON Schema, as mapping or JSON text."""
    if isinstance(reference, str):
        if reference.lstrip()[:1] != "{":
            return False
        try:
            reference = json.loads(reference)
        except ValueError:
            return False
    keys = {
        "$schema",
        "type",
        "properties",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "enum",
        "items",
        "const",
        "$defs",
    }
    return isinstance(reference, Mapping) and not keys.isdisjoint(reference)


def _by_request(rollout: Rollout, asked: str) -> Route | None:
    """Route by what the prompt asks for, where the answer is a text of many right versions."""
    lowered = asked.lower()
    if not any(word in lowered for word in _REQUESTS):
        return None
    has_text = isinstance(rollout.reference, str) and not is_number(rollout.reference)
    evidence = Evidence.REFERENCE if has_text else Evidence.SOURCE
    backing = "there is a reference" if has_text else "there is no reference, only the source"
    language = _target_language(rollout, asked) if _TRANSLATE.search(asked) else "und"
    if language != "und" and (has_text or rollout.reference is None):
        signature = Signature(Domain.TRANSLATION, AnswerType.TEXT, evidence, language)
        return Route(signature, f"the prompt asks for a translation into {language}; {backing}")
    if _SUMMARIZE.search(asked) and _is_summary(rollout):
        signature = Signature(Domain.SUMMARIZATION, AnswerType.TEXT, evidence)
        return Route(signature, f"the prompt asks for a summary; {backing}")
    return None


def _target_language(rollout: Rollout, asked: str) -> str:
    """Return the language to translate into: the data's, else the prompt's, else ``und``."""
    if rollout.language:
        return LANGUAGES.get(rollout.language, rollout.language)
    named = _TARGET.search(asked)
    return LANGUAGES[named[1].lower()] if named else "und"


def _is_summary(rollout: Rollout) -> bool:
    """Say whether there is something to summarize, or a reference long enough to be a summary."""
    if isinstance(rollout.reference, str):
        return len(rollout.reference.split()) >= 5
    return rollout.reference is None and bool(rollout.source or len(rollout.prompt) >= SOURCE_CHARS)


def _by_reference(rollout: Rollout, asked: str) -> Route:
    """Route by the answer type of the reference; without one, nothing hard is left."""
    reference = rollout.reference
    if reference is None and rollout.aliases:
        reference = rollout.aliases[0]
    if reference is None or (isinstance(reference, str) and not reference.strip()):
        return _open(rollout, asked)
    options = rollout.choices or read_options(rollout.prompt)
    answer, why = answer_type(reference, options)
    if answer is AnswerType.STRING and _LETTER.match(str(reference).strip()) and _OPTIONS.search(asked):
        answer, why = AnswerType.CHOICE, "the reference is a letter and the prompt speaks of options"
    if answer in {AnswerType.NUMBER, AnswerType.EXPRESSION}:
        if answer is AnswerType.EXPRESSION and _FACTORS.search(rollout.prompt):
            why = "the prompt asks for a form, which equal values do not share"
            return Route(Signature(Domain.KNOWLEDGE, AnswerType.STRING, Evidence.REFERENCE), why)
        return Route(Signature(Domain.MATH, answer, Evidence.REFERENCE), why)
    if answer is AnswerType.TEXT:
        domain = Domain.CODE if _CODE.search(asked) else Domain.OPEN
        return Route(Signature(domain, answer, Evidence.REFERENCE), why)
    return Route(Signature(Domain.KNOWLEDGE, answer, Evidence.REFERENCE), why)


def _open(rollout: Rollout, asked: str) -> Route:
    """Route a prompt with no evidence at all."""
    if _CODE.search(asked):
        language = next((name for name in PROGRAMMING if name in asked.lower()), "und")
        signature = Signature(Domain.CODE, AnswerType.PROGRAM, Evidence.NONE, rollout.language or language)
        return Route(signature, "the prompt asks for code and there are no tests")
    return Route(
        Signature(Domain.OPEN, AnswerType.TEXT, Evidence.NONE), "there is no evidence to rest a verdict on"
    )
