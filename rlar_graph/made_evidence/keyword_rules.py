"""Rules on words and phrases that a completion must contain, must avoid, or must begin or end with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlar_graph.made_evidence.constraint import QUOTED, Constraint, I, Rule
from rlar_graph.made_evidence.counts import NUMBER, RANGE, RELATION, bounds, value_of

_ITEM = r"[\"“'‘`][^\"”“’`\n']{1,60}[\"”'’`]"
_UNQUOTED = r"[A-Za-z][\w-]{1,30}"
_JOINT = r"(?:,\s{0,3}(?:(?:and|or|nor)\s{1,3})?|\s{1,3}(?:and|or|nor|&)\s{1,3})"
_LIST = rf"\[?(?:{_ITEM}(?:{_JOINT}{_ITEM}){{0,20}})"
_WORDS = rf"(?:{_UNQUOTED}(?:{_JOINT}{_UNQUOTED}){{0,20}})"
_INSIDE = re.compile(r"[\"“'‘`]([^\"”“’`\n']{1,60})[\"”'’`]")
_NOUN = r"(?:the\s+)?(?:following\s+)?(?:key\s?)?(?:words?|terms?|phrases?)"
_TIMES = rf"(?:(?P<number>{NUMBER})(?P<after>\s?\+|\s+or more)?\s+times?|(?P<adverb>once|twice|thrice))"
_ONE = rf"(?:[\"“'‘`](?P<quoted>[^\"”“’`\n']{{1,60}})[\"”'’`]|(?P<unquoted>{_UNQUOTED}))"
# A count behind a word is a matter of its own.
_COUNT_FOLLOWS = re.compile(rf"[^.\n]{{0,60}}?\b(?:{NUMBER}\s+(?:or more\s+)?times?|once|twice|thrice)\b", I)
_NEGATED = re.compile(r"\b(?:not|n't|n’t|never|without|avoid|no)\b[^.,;\n]{0,30}$", I)

_FORBID = re.compile(
    r"(?:\b(?:do not|don't|don’t|dont|never|should not|shouldn't|must not|cannot|can't|not allowed to|without|avoid)\s+"
    r"(?!forget|fail)"
    r"(?:use|using|include|including|mention|mentioning|say|saying|contain|containing)?)"
    rf"[^.\n\"“]{{0,20}}?(?:{_NOUN}\s*:?\s*(?P<list>{_LIST}|{_WORDS})|(?P<bare>{_LIST}))",
    I,
)
_DEMAND = re.compile(
    r"\b(?:(?:include|use|mention|contain|incorporate|has|have)(?:s|ing)?|with(?=\s[^.\n]{0,16}words))\s+"
    r"(?:all\s+(?:of\s+)?)?"
    rf"(?:these\s+|the\s+)?(?:following\s+)?(?:key\s?)?words?\s*:?\s*(?P<list>{_LIST}|{_WORDS})",
    I,
)
_COUNT = re.compile(
    rf"\b(?:word|keyword|term|phrase)\s+{_ONE}[^.\n\"“]{{0,40}}?(?:(?P<relation_>{RELATION})\s+)?{_TIMES}", I
)
_COUNT_RANGE = re.compile(rf"\b(?:word|keyword|term|phrase)\s+{_ONE}[^.\n\"“]{{0,40}}?\b{RANGE}\s+times\b", I)
_LETTER = re.compile(
    rf"\bletter\s+[\"“'‘`]?(?P<letter>[a-z])[\"”'’`]?(?![a-z])[^.\n]{{0,40}}?{RELATION}\s+{_TIMES}", I
)
_END = re.compile(
    rf"\b(?:end|finish|conclude|close)(?:s|ing)?\b[^.\n\"“]{{0,60}}?\bwith\b[^.\n\"“]{{0,50}}?(?:{QUOTED}"
    r"|(?<=phrase: )(?P<rest>[^\n]{3,200})|(?<=phrase )(?P<plain>[A-Z][^\n.\"“]{3,120}[.?!])"
    r"|(?<=question: )(?P<question>[^\n]{3,200}\?))",
    I,
)
_LAST = re.compile(r"\b(?:exact|phrase|sentence|words?|line|question)\b", I)
_NO_MORE = re.compile(r"\s*\.?\s*(?:no|nothing|without)[^.\n]{0,40}\b(?:follow|after|else|words)", I)


def texts_in(listed: str) -> list[str]:
    """Return the texts of a list, quoted or not, without the commas that stand inside the quotes."""
    found = _INSIDE.findall(listed) or re.split(_JOINT, listed.strip(" []"))
    return [text for text in (item.strip(" ,.;") for item in found) if text]


def forbidden(prompt: str) -> Iterator[Constraint]:
    """Read words that must not occur."""
    for found in _FORBID.finditer(prompt):
        words = texts_in(found["list"] or found["bare"])
        listed = found["list"] is None or found["list"].lstrip("[")[:1] in tuple("\"“'‘`")
        if (
            words
            and not _COUNT_FOLLOWS.match(prompt, found.end())
            and (listed or words[0].lower() not in _FILLERS)
        ):
            words = words if listed else words[: 1 if " word " in found[0] else None]
            yield Constraint("keywords:forbidden_words", {"forbidden_words": words}, found.span())


_FILLERS = frozenset(
    "that which before after other than in with for to from of or and like such count limit length".split()  # noqa: SIM905
)


def existence(prompt: str) -> Iterator[Constraint]:
    """Read words that must occur, where no number is given."""
    for found in _DEMAND.finditer(prompt):
        words = texts_in(found["list"])
        quoted = found["list"].lstrip("[")[:1] in tuple("\"“'‘`")
        plural = re.search(r"\bkey\s?words?\b", found[0], I) is not None
        negated = _NEGATED.search(prompt, max(0, found.start() - 40), found.start())
        if not words or negated or _COUNT_FOLLOWS.match(prompt, found.end()):
            continue
        if quoted or (plural and words[0].lower() not in _FILLERS):
            yield Constraint("keywords:existence", {"keywords": words}, found.span())


def frequency(prompt: str) -> Iterator[Constraint]:
    """Read how often a word must occur."""
    for found in _COUNT_RANGE.finditer(prompt):
        word = found["quoted"] or found["unquoted"]
        low, high = value_of(found["low"]), value_of(found["high"])
        for relation, bound in (("at least", low), ("less than", high + 1)):
            kwargs: dict[str, object] = {"keyword": word, "relation": relation, "frequency": bound}
            yield Constraint("keywords:frequency", kwargs, found.span())
    for found in _COUNT.finditer(prompt):
        word = found["quoted"] or found["unquoted"]
        if word.lower() in _FILLERS or _COUNT_RANGE.match(prompt, found.start()):
            continue
        number = value_of(found["number"] or found["adverb"])
        for relation, bound in bounds(found["relation"], number, found["after"] or ""):
            kwargs = {"keyword": word, "relation": relation, "frequency": bound}
            yield Constraint("keywords:frequency", kwargs, found.span())


def letter_frequency(prompt: str) -> Iterator[Constraint]:
    """Read how often a letter must occur."""
    for found in _LETTER.finditer(prompt):
        for relation, bound in bounds(found["relation"], value_of(found["number"] or found["adverb"])):
            kwargs: dict[str, object] = {
                "letter": found["letter"],
                "let_relation": relation,
                "let_frequency": bound,
            }
            yield Constraint("keywords:letter_frequency", kwargs, found.span())


def end_phrase(prompt: str) -> Iterator[Constraint]:
    """Read what a completion must end with, where the prompt calls it exact, a phrase, or the last words."""
    for found in _END.finditer(prompt):
        text = next(filter(None, (found["text"], found["rest"], found["plain"], found["question"])))
        if _LAST.search(found[0]) or _NO_MORE.match(prompt, found.end()):
            yield Constraint("startend:end_checker", {"end_phrase": text.strip()}, found.span())


def postscript(prompt: str) -> Iterator[Constraint]:
    """Read the demand for a postscript."""
    found = re.search(r"(?<!\w)(P\.\s?P\.\s?S|P\.\s?S\.?)(?!\w)", prompt)
    if found and re.search(r"\b(?:post\s?script|add|start|begin|include|end|finish|with)", prompt, I):
        marker = "P.P.S" if found[1].count("P") == 2 else "P.S."
        yield Constraint("detectable_content:postscript", {"postscript_marker": marker}, found.span())


RULES: tuple[Rule, ...] = (
    forbidden,
    existence,
    frequency,
    letter_frequency,
    end_phrase,
    postscript,
)
