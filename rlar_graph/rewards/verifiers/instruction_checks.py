"""The 25 verifiable instructions of IFEval: what each asks of a response, and with which parameters.

A *maker* reads an instruction's parameters once and returns the check itself, so that wrong parameters are
found before any completion is looked at. Parameters of value None count as absent: Hugging Face data sets
fill every key of every row with None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from rlar_graph.errors import InputError
from rlar_graph.rewards.verifiers.instruction_parameters import Parameters
from rlar_graph.rewards.verifiers.instruction_text import (
    count_bullets,
    count_capital_words,
    count_highlights,
    count_placeholders,
    count_sentences,
    count_words,
    has_title,
    known_languages,
    language_of,
)
from rlar_graph.rewards.verifiers.json_text import nests_too_deep
from rlar_graph.rewards.verifiers.response import plain

Check: TypeAlias = Callable[[str], bool]
"""Says whether a response follows one instruction."""

SHORT_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_FENCE_OPENERS = ("```json", "```Json", "```JSON", "```")
_PARAGRAPH_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_POSTSCRIPTS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}


def bind(instruction_id: str, values: Mapping[str, object]) -> Check:
    """Return the check of one instruction with its parameters.

    Raises:
        InputError: The instruction is unknown, or a parameter is missing or of the wrong kind.
    """
    maker = MAKERS.get(instruction_id)
    if maker is None:
        raise InputError(f"unknown instruction {instruction_id!r:.80}", field="instruction_id_list")
    return maker(Parameters(instruction_id, values))


def _literal(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _existence(given: Parameters) -> Check:
    wanted = [_literal(keyword) for keyword in given.texts("keywords")]
    return lambda text: all(keyword.search(text) for keyword in wanted)


def _frequency(given: Parameters) -> Check:
    keyword = _literal(given.text("keyword"))
    holds, _ = given.comparison("relation", "frequency")
    return lambda text: holds(sum(1 for _ in keyword.finditer(text)))


def _forbidden_words(given: Parameters) -> Check:
    words = "|".join(re.escape(word) for word in given.texts("forbidden_words"))
    forbidden = re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    return lambda text: not (forbidden.search(text) or forbidden.search(plain(text)))


def _letter_frequency(given: Parameters) -> Check:
    letter = given.text("letter").lower()
    if len(letter) != 1:
        raise InputError(
            f"{given.instruction_id} needs one letter, not {letter!r:.20}", field="kwargs.letter"
        )
    holds, _ = given.comparison("let_relation", "let_frequency")
    return lambda text: holds(text.lower().count(letter))


def _response_language(given: Parameters) -> Check:
    language = given.text("language").lower()
    if not any(known == language or known.startswith(f"{language}-") for known in known_languages()):
        raise InputError(f"langdetect does not know {language!r:.20}", field="kwargs.language")

    def speaks(text: str) -> bool:
        found = language_of(text)
        return found is not None and (found == language or found.startswith(f"{language}-"))

    return speaks


def _number_sentences(given: Parameters) -> Check:
    holds, bound = given.comparison("relation", "num_sentences")
    return lambda text: holds(count_sentences(text, bound))


def _number_paragraphs(given: Parameters) -> Check:
    wanted = given.count("num_paragraphs")

    def has_paragraphs(text: str) -> bool:
        paragraphs = [bool(paragraph.strip()) for paragraph in _PARAGRAPH_DIVIDER.split(text)]
        return all(paragraphs[1:-1]) and sum(paragraphs) == wanted

    return has_paragraphs


def _number_words(given: Parameters) -> Check:
    holds, _ = given.comparison("relation", "num_words")
    return lambda text: holds(count_words(text))


def _nth_paragraph_first_word(given: Parameters) -> Check:
    nth, wanted = given.count("nth_paragraph"), given.count("num_paragraphs")
    first_word = given.text("first_word").lower()
    if nth == 0:
        raise InputError(f"{given.instruction_id} counts from 1", field="kwargs.nth_paragraph")

    def opens_with(text: str) -> bool:
        paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
        filled = sum(1 for paragraph in paragraphs if paragraph)
        if nth > filled or filled != wanted or not paragraphs[nth - 1]:
            return False
        word = paragraphs[nth - 1].split(None, 1)[0].lstrip("'").lstrip('"')
        return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower() == first_word

    return opens_with


def _number_placeholders(given: Parameters) -> Check:
    wanted = given.count("num_placeholders")
    return lambda text: count_placeholders(text) >= wanted


def _postscript(given: Parameters) -> Check:
    marker = given.text("postscript_marker")
    pattern = re.compile(_POSTSCRIPTS.get(marker) or re.escape(marker.lower()))
    return lambda text: pattern.search(text.lower()) is not None


def _number_bullet_lists(given: Parameters) -> Check:
    wanted = given.count("num_bullets")
    return lambda text: count_bullets(text) == wanted


def _constrained_response(given: Parameters) -> Check:
    return lambda text: any(answer in text for answer in SHORT_ANSWERS)


def _number_highlighted_sections(given: Parameters) -> Check:
    wanted = given.count("num_highlights")
    return lambda text: count_highlights(text) >= wanted


def _multiple_sections(given: Parameters) -> Check:
    heading = re.compile(re.escape(given.text("section_spliter")) + r"\s?\d+")
    wanted = given.count("num_sections")
    return lambda text: sum(1 for _ in heading.finditer(text)) >= wanted


def _json_format(given: Parameters) -> Check:
    def is_json(text: str) -> bool:
        document = text.strip()
        for opener in _FENCE_OPENERS:
            document = document.removeprefix(opener)
        document = document.removesuffix("```").strip()
        if nests_too_deep(document):
            return False
        try:
            json.loads(document)
        except ValueError:
            return False
        return True

    return is_json


def _title(given: Parameters) -> Check:
    return has_title


def _two_responses(given: Parameters) -> Check:
    def are_two(text: str) -> bool:
        responses = [response.strip() for response in text.split("******")]
        filled = [response for response in responses if response]
        return all(responses[1:-1]) and len(filled) == 2 and filled[0] != filled[1]

    return are_two


def _repeat_prompt(given: Parameters) -> Check:
    request = given.text("prompt_to_repeat").lower()
    return lambda text: text.strip().lower().startswith(request)


def _end_checker(given: Parameters) -> Check:
    phrase = given.text("end_phrase").lower()
    return lambda text: text.strip().strip('"').lower().endswith(phrase)


def _quotation(given: Parameters) -> Check:
    return lambda text: len(text.strip()) > 1 and text.strip().startswith('"') and text.strip().endswith('"')


def _capital_word_frequency(given: Parameters) -> Check:
    holds, bound = given.comparison("capital_relation", "capital_frequency")
    return lambda text: holds(count_capital_words(text, bound))


def _english(given: Parameters, is_case: Check) -> Check:
    return lambda text: is_case(text) and language_of(text) == "en"


def _no_comma(given: Parameters) -> Check:
    return lambda text: "," not in plain(text)


MAKERS: Mapping[str, Callable[[Parameters], Check]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _number_highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": partial(_english, is_case=str.isupper),
    "change_case:english_lowercase": partial(_english, is_case=str.islower),
    "punctuation:no_comma": _no_comma,
}
"""The maker of each instruction, by IFEval's name for it."""
