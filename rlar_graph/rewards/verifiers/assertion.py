"""Whether a short piece of prose commits to an answer, as "The capital is Paris." does and "Not Paris." does not.

A sentence commits when it is the answer, ends its main clause with "... is ANSWER", or says "ANSWER is ..." of what
the prompt asked. Questions, denials, hedges and alternatives commit to nothing. Of several sentences the last
counts, or the first if nothing after it says otherwise.
"""

from __future__ import annotations

import re
from collections import Counter

from rlar_graph.rewards.verifiers.word_form import iso_dates, words

TAIL = 4_000
"""Characters at either end of a text in which a commitment is looked for."""

_STOP = re.compile(
    r"(?<!\b[A-Z])(?<!\bSt)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bMt)(?<!\bJr)(?<!\bSr)(?<!\bvs)[.](?=\s|$)"
    r"|[!?](?=[\s\"')*]|$)|[。！？\n]"
)
_LEAD = re.compile(
    r"(?:so|thus|therefore|hence|then|finally|in conclusion|ok(?:ay)?|sure)\b[,:]?\s+", re.IGNORECASE
)
_BREAK = re.compile(
    r"[,;(]|\s[-–—]+\s|\s(?:because|since|due to|given that|so that)\b",
    re.I,
)
_SUBORDINATE = re.compile(
    r"\s*(?:[,;(]|[-–—]+)?\s*(?:because|since|as|which|who|whose|where|due|given|so|for|not|rather|and (?:it|that|this)"
    r"|it|this|that|its?|based|according|located|known|also|i\.?e|thus|hence|therefore|instead)\b|\s*\(|\s*$"
    r"|\s*,\s(?:the|an?)\s(?:\S+\s){0,3}(?-i:[a-z]{4,})",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|might|may|could|possibl[ey]|probably not|unsure|not sure|guess|unless|if|whether"
    r"|candidates?|options?|reference|gold|grader|expected|example)\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(?:not|never|no|neither|nor|cannot|false|wrong|incorrect|isnt|wasnt|unlikely)\b|n['’]t\b", re.I
)
_DOUBT = re.compile(
    r"\b(?:wait|actually|hold on|correction|scratch that|on second thoughts?|oops|sorry|i mean|hmm|instead|mistake"
    r"|alternatively|disregard|ignore)\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"[\W_]*(?:so|thus|therefore|hence|then|finally),?\s+(?:it|that|this|the answer)"
    r"\s+(?:is|must be|was)\s+(?:\S+\s?){1,3}",
    re.IGNORECASE,
)
_LINKS = frozenset(
    {
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "equals",
        "called",
        "named",
        "becomes",
        "remains",
        "means",
        "reads",
    }
    | {"est", "es", "ist"}
)
_ADVERBS = frozenset(
    {"clearly", "definitely", "certainly", "simply", "just", "indeed", "therefore", "thus", "then", "exactly"}
    | {"in", "on", "at", "by"}
)
_PREPOSITIONS = frozenset({"by", "in", "on", "at", "from", "to", "with", "around", "during", "for", "about"})


def asserts(text: str, wanted: tuple[str, ...], prompt: frozenset[str], *, cased: bool = False) -> bool:
    """Tell whether a text commits to an answer.

    Args:
        text: Prose without an answer marker.
        wanted: The answer's words, as :func:`~rlar_graph.rewards.verifiers.word_form.words` gives them.
        prompt: The prompt's words, to know what was asked about.
        cased: Whether the case of letters matters.
    """
    said = sentences(text)
    if not said:
        return False
    committed = [commits(sentence, wanted, prompt, cased=cased) for sentence in said]
    if committed[-1]:
        if words(said[-1], cased=cased) != wanted:
            rivals = {sentence for sentence in said[:-1] if _frame(sentence) == _frame(said[-1]) != ()}
            return len(rivals) < 2
        return not any(
            _is_bare(sentence) or _is_variant(sentence, wanted)
            for sentence, own in zip(said, committed, strict=True)
            if not own
        )
    if not committed[0]:
        return False
    frame = _frame(said[0])
    return not any(
        has_doubt(other)
        or _is_bare(other)
        or _is_variant(other, wanted)
        or _CONCLUSION.fullmatch(other)
        or (frame and _frame(other) == frame)
        for other, own in zip(said[1:], committed[1:], strict=True)
        if not own
    )


def sentences(text: str) -> list[str]:
    """Return the sentences that state something, in order; of a long text only those at either end."""
    if len(text) > 2 * TAIL:
        text = text[:TAIL] + "\n" + text[-TAIL:]
    ends = [stop.end() for stop in _STOP.finditer(text)]
    found = (text[begin:end].strip() for begin, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [sentence for sentence in found if any(map(str.isalnum, sentence)) and sentence[-1] not in "?？"]


def commits(sentence: str, wanted: tuple[str, ...], prompt: frozenset[str], *, cased: bool = False) -> bool:
    """Tell whether one sentence commits to an answer."""
    sentence = sentence[lead.end() :] if (lead := _LEAD.match(sentence)) else sentence
    if words(sentence, cased=cased) == wanted:
        return True
    if _HEDGE.search(sentence):
        return False
    main = clause(iso_dates(sentence))
    if main is None or _DENIAL.search(main):
        return False
    said = words(main, cased=cased)
    size = len(wanted)
    if said == wanted:
        return True
    if said[:size] == wanted:
        rest = {word.casefold() for word in said[size:]} - _LINKS
        return bool(rest) and 2 * len(rest & prompt) >= len(rest)
    for start in range(1, len(said) - size + 1):
        if said[start : start + size] == wanted:
            before, after = [word.casefold() for word in said[:start]], said[start + size :]
            if not after or after[0].casefold() in _PREPOSITIONS:
                return _leads_up(before, prompt) or (not after and main.count(": ") == 1)
    return False


def _leads_up(before: list[str], prompt: frozenset[str]) -> bool:
    """Tell whether the words before an answer say that it is one: "... is", or "... by" of what was asked."""
    if before and before[-1] in _PREPOSITIONS:
        told = {word for word in before if len(word) > 3}
        if told and 2 * len(told & prompt) >= len(told):
            return True
    while before and before[-1] in _ADVERBS:
        before = before[:-1]
    return bool(before) and before[-1] in _LINKS


def has_hedge(text: str) -> bool:
    """Tell whether a text leaves open, or denies, what it names."""
    return _HEDGE.search(text) is not None or _DENIAL.search(text) is not None


def has_doubt(text: str) -> bool:
    """Tell whether a text takes back or corrects what was said before it."""
    return _DOUBT.search(text) is not None


def clause(sentence: str) -> str | None:
    """Return a sentence's main clause, or None where what follows may be a further answer."""
    stop = _BREAK.search(sentence)
    if stop is None:
        return sentence
    after = sentence[stop.start() :].rstrip(" .!)*_`\"'")
    return sentence[: stop.start()] if _SUBORDINATE.match(after) else None


def _is_bare(sentence: str) -> bool:
    """Tell whether a sentence is a mere word or three: in a row of sentences, another candidate."""
    return sentence[-1] not in "!:" and len(words(sentence)) <= 3


def _is_variant(sentence: str, wanted: tuple[str, ...]) -> bool:
    """Tell whether a sentence is the answer in other words or in another order: a second candidate."""
    said = words(sentence)
    if len(wanted) < 3 or not len(wanted) <= 2 * len(said) <= 4 * len(wanted):
        return False
    shared = Counter(said) & Counter(word.casefold() for word in wanted)
    return 2 * shared.total() > max(len(said), len(wanted))


def _frame(sentence: str) -> tuple[str, ...]:
    """Return what a sentence says something about: the words up to its last link."""
    said = [word.casefold() for word in words(clause(sentence) or sentence)]
    links = [position for position, word in enumerate(said) if word in _LINKS]
    return tuple(said[: links[-1]]) if links else ()
