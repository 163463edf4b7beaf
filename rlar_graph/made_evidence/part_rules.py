"""Rules on the length of a completion and on its parts: words, sentences, paragraphs, sections, bullets, highlights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlar_graph.made_evidence.constraint import Constraint, I, N, Rule, counted, numbered
from rlar_graph.made_evidence.counts import NUMBER, value_of

_CAPITALS = r"(?:all[\s-])?(?:capital|upper[\s-]?case|caps)"
_CAPITAL_WORDS = (
    rf"(?:words?\s+(?:or phrases\s+)?[^.\n]{{0,30}}?\b(?:in|with)\s+{_CAPITALS}(?:ized)?(?:\s+letters?)?"
    rf"|{_CAPITALS}(?:ized|s)?\s+words?)"
)
_DIVIDED = r"(?:(?<!\*)\*\*\*(?!\*)|markdown divider|(?:3|three) asterisk)"
_BLOCKS = r"(?:paragraphs?|sections?|stanzas?|parts?)"
_MARKED = r"(?:section|part|phrase|sentence|word|text|passage|title|name)s?"
_SPLITTER = re.compile(
    r"\b(?:mark|label|start|begin|head|denote|note|title|name)\w*\b[^.\n]{0,120}?\b"
    r"(?P<splitter>section|paragraph|part|day|chapter|episode|period|point|scene|round)\s+(?:X|1|i)\b",
    I,
)
_ANY_BLOCKS = re.compile(
    rf"\b{N}[\s-]+(?:\w+\s+)?(?:section|paragraph|part|day|chapter|episode|scene|point|round)s?\b", I
)
_PARAGRAPHS = re.compile(rf"\b{N}\s+paragraphs?\b", I)
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_OPENING = re.compile(
    rf"\b(?:(?P<ordinal>{'|'.join(_ORDINALS)}|last|final|\d{{1,2}}(?:st|nd|rd|th))\s+paragraph"
    rf"|paragraph\s+(?:number\s+)?(?P<count>{NUMBER}))"
    r"\s+(?:must\s+|should\s+|has to\s+|needs to\s+|shall\s+|will\s+)?(?:start|begin|open)s?\s+with\s+"
    r"(?:(?:the\s+)?(?:first\s+)?word\s+[\"“'‘]?(?P<named>[A-Za-z]+)|[\"“'‘](?P<quoted>[A-Za-z]+)[\"”'’])",
    I,
)


def sections(prompt: str) -> Iterator[Constraint]:
    """Read the demand for sections that are marked as Section 1, Section 2, ..."""
    splitter, number = _SPLITTER.search(prompt), _ANY_BLOCKS.search(prompt)
    if splitter and number:
        kwargs: dict[str, object] = {
            "section_spliter": splitter["splitter"],
            "num_sections": value_of(number["number"]),
        }
        yield Constraint("detectable_format:multiple_sections", kwargs, splitter.span())


def opening_word(prompt: str) -> Iterator[Constraint]:
    """Read with which word one of several paragraphs must begin."""
    whole, opening = _PARAGRAPHS.search(prompt), _OPENING.search(prompt)
    if whole and opening:
        total = value_of(whole["number"])
        kwargs: dict[str, object] = {
            "num_paragraphs": total,
            "nth_paragraph": _place(opening, total),
            "first_word": (opening["named"] or opening["quoted"]).lower(),
        }
        yield Constraint("length_constraints:nth_paragraph_first_word", kwargs, opening.span())


def _place(opening: re.Match[str], total: int) -> int:
    """Return which paragraph is meant."""
    if opening["count"]:
        return value_of(opening["count"])
    ordinal = opening["ordinal"].lower()
    if ordinal in ("last", "final"):
        return total
    return _ORDINALS.index(ordinal) + 1 if ordinal in _ORDINALS else int(ordinal[:-2])


RULES: tuple[Rule, ...] = (
    counted(
        "length_constraints:number_words",
        rf"words?\b(?!\s[^.\n]{{0,40}}?\b(?:in|with)\s+{_CAPITALS})",
        "relation",
        "num_words",
    ),
    counted(
        "length_constraints:number_sentences",
        r"(?<!each )sentences?\b(?!\s+(?:per|each|in each|long))",
        "relation",
        "num_sentences",
    ),
    counted(
        "change_case:capital_word_frequency",
        _CAPITAL_WORDS,
        "capital_relation",
        "capital_frequency",
        times=True,
    ),
    numbered(
        "length_constraints:number_paragraphs",
        "num_paragraphs",
        rf"\b{N}\s+(?:\w+\s+)?{_BLOCKS}\b[^\n]{{0,160}}?{_DIVIDED}",
        rf"\b{N}\s+(?:\w+\s+)?{_BLOCKS}\b[\s\S]{{0,80}}?\b(?:separat|divid)\w*[\s\S]{{0,60}}?{_DIVIDED}",
        rf"{_DIVIDED}[^\n]{{0,120}}?\b{N}\s+{_BLOCKS}\b",
    ),
    numbered(
        "detectable_format:number_bullet_lists",
        "num_bullets",
        rf"\b{N}\s+(?:\w+\s+)?bullet(?:ed)?\b",
        rf"\b{N}\s+(?:\w+\s+)?(?:points?|items?)\b[^.\n]{{0,60}}?\bbullet",
    ),
    numbered(
        "detectable_format:number_highlighted_sections",
        "num_highlights",
        rf"\b(?:highlight|italiciz|italicis|emphasiz|bold)\w*\b[^.\n]{{0,40}}?\b{N}\s+(?:\w+\s+){{0,3}}?{_MARKED}\b",
        rf"\b{N}\s+(?:highlighted|italic(?:ized)?|bold)\b",
        rf"\b{N}\s+{_MARKED}\b[^.\n]{{0,60}}?\b(?:highlight|italic)",
    ),
    numbered(
        "detectable_content:number_placeholders", "num_placeholders", rf"\b{N}\s+(?:\w+\s+)?placeholders?\b"
    ),
    sections,
    opening_word,
)
