"""Multiple choice: which option a completion settles on, by its label or by its text.

The options come with the data or are read from the prompt. A label counts where it stands as one: alone, in
brackets, before a full stop, colon or its own text, or after "answer", "option" and the like; the article "A" does
not. Two labels, a label with another option's text, and a list of all options settle nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rlar_graph.rewards.base import AnswerVerifier, ToolSpec
from rlar_graph.rewards.verifiers.assertion import has_doubt
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.rewards.verifiers.short_answer import (
    MARKED,
    marked_text,
    marks_answer,
    no_answer,
    spoken_text,
)
from rlar_graph.rewards.verifiers.word_form import clean, words
from rlar_graph.routing.options import read_options
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain

__all__ = ["ChoiceVerifier", "read_options"]

Options = tuple[tuple[str, str], ...]

SHORT = 400
"""Characters up to which an unmarked completion is read as one answer."""

_LABEL = r"(?:[A-Za-z]|\d{1,2})"
_BARE = re.compile(rf"[\s*_`$\"'(\[{{]*({_LABEL})[\s*_`$\"')\]}}.:,;]*")
_REFERENCE = re.compile(rf"\s*[(\[]?({_LABEL})[)\].:]*\s*")
_LED = re.compile(
    r"[\s*_`\"']*(?:the )?(?:(?:correct|right|best|final)\s)?(?:options?|choice|answer|letter|correct)\s*"
    rf"(?:is\s*)?[:\-–]?[\s*_`(\[]*({_LABEL})\b[\s*_`)\].:]*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_SET_OFF = re.compile(
    rf"[\s*_`\"']*(?:[(\[]({_LABEL})[)\]]|({_LABEL})(?:\*\*)?[).:])[*_`:.,\s\-–—]*(.*)", re.DOTALL
)
_WITH_REASON = re.compile(
    r"[\s*_`\"']*([B-HJ-Zb-hj-z]|[AI](?=\s+(?:because|since)\b))(?:\s+(?:because|since|as)\b.*()|(?:,\s|\s[-–—]+\s)(.*))",
    re.DOTALL,
)
_CHOSEN = re.compile(
    r"(?i:\b(?:choose|chose|pick|select|go(?:ing)? with|think (?:it(?:'s| is) )?|(?:option|choice|answer)(?: is)?:?))"
    rf"\s*[*_`]*[(\[]?({_LABEL})\b(?![-'’])(?=[)\].,:;*_`\s]|$)"
)
_CALLED_RIGHT = re.compile(
    rf"(?:[(\[]|\b)({_LABEL})\b[)\]]?[*_`]*\s+(?:is|must be|would be)\s+(?:therefore\s+)?(?:the\s+)?"
    r"(?:correct|right|best|answer)"
)
_LAST_WORD = re.compile(
    r"(?i:\b(?:it['’]?s|is|be|hence|thus|therefore|so|say)),?\s+[*_`(\[]*([A-Z])[*_`)\].]*\s*$"
)
_MENTION = re.compile(
    r"[(\[]([A-Za-z])[)\]]|\b(?:or|and|/|,|&)\s*(?:option\s+)?([A-Z])\b(?!['’-])(?=[\s).,;*!?]|$)"
)
_LINE_LABEL = re.compile(r"^[\s*_\-•(\[]{0,8}([A-Za-z])(?:\*\*)?[).:\]]", re.MULTILINE)
_REASON = re.compile(
    r"\b(?:because|since|as|for|due|where|while|whereas|unlike|rather|not|but)\b|[,;.]\s", re.I
)
_DENIAL = re.compile(
    r"\b(?:not|never|neither|nor|no|wrong|incorrect|false|cannot|none|either|maybe|perhaps|might|could|unsure)\b|n['’]t\b",
    re.I,
)
_STANDALONE = re.compile(
    r"(?<![\w'’\-])(?:([B-HJ-Z])|([AI])(?!\s+(?!(?:or|and|nor|is|are|but|because|since)\b)[a-z]))(?![\w'’\-])"
)
_EXCLUDED = re.compile(r"(?:[,;]|\b(?:and|but))?\s*\bnot\s+(?:option\s+)?[(\[]?[A-Z][)\]]?(?![\w'’])")
_CORRECTED = re.compile(r"(?:^|[.!?\n])[\s*]*(?:wait|actually|no|hold on|correction|sorry|oops|hmm)\b", re.I)
_FENCE = re.compile(r"^```\w*[ \t]*$", re.MULTILINE)


class ChoiceVerifier(AnswerVerifier):
    """Finds the one option a completion settles on and compares it with the reference's."""

    spec = ToolSpec(
        name="choice",
        kind="verifier",
        summary="Compares the option a completion settles on, by label or text, with the reference's.",
    )

    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return the label of the option a completion settles on."""
        options = rollout.choices or read_options(rollout.prompt)
        wanted = reference_label(rollout.reference, options)
        if wanted is None:
            return abstain("the reference names none of the options")
        said = spoken_text(completion)
        if not said:
            return no_answer("nothing is said")
        chosen = chosen_label(said, options)
        return chosen if chosen is not None else no_answer("no single option is settled on")

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Compare each label with the reference's."""
        verdicts = []
        for rollout, chosen in questions:
            wanted = reference_label(rollout.reference, rollout.choices or read_options(rollout.prompt))
            verdicts.append(RIGHT if chosen == wanted else Verdict(0.0, detail={"answer": chosen}))
        return verdicts

    def key(self, rollout: Rollout, answer: str) -> tuple[object, ...]:
        """Return what decides a verdict: a reference given as text is looked up among the options."""
        return (str(rollout.reference), rollout.choices or read_options(rollout.prompt), answer)


def reference_label(reference: object, options: Options) -> str | None:
    """Return the label a reference stands for, in upper case; None where it names no option."""
    if not isinstance(reference, str | int) or isinstance(reference, bool):
        return None
    text = str(reference)
    by_text = [label for label, option in options if words(option) and words(option) == words(text)]
    if len(by_text) == 1:
        return by_text[0].upper()
    labels = {label.upper() for label, _ in options}
    named = _REFERENCE.fullmatch(text)
    if named:
        label = named[1].upper()
        return label if label in labels or (not options and label.isalpha()) else None
    set_off = _SET_OFF.match(text)  # "B) Paris": label and text together
    label = (set_off[1] or set_off[2]).upper() if set_off else ""
    return label if label in labels else None


def chosen_label(said: str, options: Options) -> str | None:
    """Return the label, in upper case, of the one option a text settles on; None where it settles on none."""
    said = _FENCE.sub("", said).strip()
    answer = final_answer(said)
    if answer is not None and answer.form in MARKED:
        found = read_choice(marked_text(said, answer), options, marked=True)
        rest = said[answer.span[1] :]
        return None if _CORRECTED.search(rest) and _standalone(rest) - {found} else found
    if answer is None and marks_answer(said):
        return None
    lines = [line for line in said.split("\n") if line.strip()] or [""]
    listed = {label.upper() for label in _LINE_LABEL.findall(said[:20_000])}
    if len(listed) > 1:
        listing = len(lines) <= len(listed) + 1 or all(_is_option(line, options) for line in lines[-2:])
        return None if listing else _concluded(lines[-1], options)
    if len(said) <= SHORT and len(lines) == 1:
        return _concluded(said, options)
    first, last = read_choice(lines[0][:SHORT], options), _concluded(lines[-1], options)
    if last is not None or first is None:
        return last
    return None if has_doubt("\n".join(lines[1:])) else first


def _is_option(line: str, options: Options) -> bool:
    """Tell whether a line is an option as the prompt lists it, label and text."""
    label = _LINE_LABEL.match(line)
    told = words(line[label.end() :]) if label else ()
    return label is not None and any(
        label[1].upper() == name.upper() and told == words(option) for name, option in options
    )


def _concluded(line: str, options: Options) -> str | None:
    """Return the label a line settles on: by itself as a whole, or by its last sentence; a question settles nothing."""
    if line.rstrip(" *_)\"'").endswith(("?", "？")):
        return None
    whole = read_choice(line[-4_000:], options)
    if whole is not None or len(_named(line[-4_000:], {label.upper() for label, _ in options})) > 1:
        return whole
    sentence = line[-4_000:].rstrip(" .*_").rpartition(". ")[2]
    return read_choice(sentence, options) if len(sentence) < len(line) else None


def read_choice(text: str, options: Options, *, marked: bool = False) -> str | None:
    """Return the label that a piece of text, an answer or a sentence, names.

    Args:
        text: A final answer, a line or a sentence.
        options: The options by label and text; may be empty, then any letter is a label.
        marked: Whether the text was marked as the final answer.
    """
    text, labels = _EXCLUDED.sub("", clean(text)), {label.upper() for label, _ in options}
    by_words = _by_text(text, options, whole=True)
    if by_words is not None:
        return by_words
    bare = _BARE.fullmatch(text)
    if bare:
        return _known(bare[1], labels)
    for pattern in (_LED, _SET_OFF, _WITH_REASON):
        match = pattern.match(text)
        if match:
            label = next(group for group in match.groups()[:-1] if group)
            found = _consistent(_known(label, labels), match.groups()[-1] or "", options)
            if found is not None or pattern is _SET_OFF:
                return found
    named = _named(text, labels)
    if named:
        return _consistent(named.pop(), "", options) if len(named) == 1 else None
    mentioned = {label for label in _mentions(text) if _known(label, labels)}
    alone = mentioned | {label for label in _standalone(text) if _known(label, labels)}
    if marked and alone:
        return alone.pop() if len(alone) == 1 and not _denied(text) else None
    told = _by_text(text, options) if not mentioned else None
    return told if not alone or told in alone else None


def _named(text: str, labels: set[str]) -> set[str]:
    """Return the labels that a text calls chosen or right."""
    return {
        match[1].upper()
        for pattern in (_CHOSEN, _CALLED_RIGHT, _LAST_WORD)
        for match in pattern.finditer(text)
        if match[1] != "a" and _known(match[1], labels) and not _denied(_clause_to(text, match))
    }


def _known(label: str, labels: set[str]) -> str | None:
    """Return a label in upper case if the options, where there are any, have it."""
    upper = label.upper()
    return upper if upper in labels or (not labels and upper.isalpha()) else None


def _consistent(label: str | None, rest: str, options: Options) -> str | None:
    """Return a label unless what follows it names another label or gives another option's text."""
    if label is None:
        return None
    reason = _REASON.search(rest)
    claim = rest[: reason.start()] if reason else rest
    own = dict((name.upper(), option) for name, option in options).get(label)
    if own is not None and words(rest)[: len(words(own))] == words(own):
        return label
    if (_mentions(claim) | _standalone(claim)) - {label}:
        return None
    told = _by_text(claim, options, whole=True)
    return label if told in (None, label) else None


def _mentions(text: str) -> set[str]:
    """Return the labels that a text mentions in brackets or as alternatives."""
    return {(bracketed or listed).upper() for bracketed, listed in _MENTION.findall(text)}


def _standalone(text: str) -> set[str]:
    """Return the capital letters that stand alone in a text, articles left out."""
    return {plain or article for plain, article in _STANDALONE.findall(text)}


def _denied(text: str) -> bool:
    """Tell whether a text denies or hedges what it names."""
    return _DENIAL.search(text) is not None


def _clause_to(text: str, match: re.Match[str]) -> str:
    """Return a match with what stands before it in its clause."""
    start = max(text.rfind(stop, 0, match.start()) for stop in ",;.\n")
    return text[start + 1 : match.end()]


def _by_text(text: str, options: Iterable[tuple[str, str]], *, whole: bool = False) -> str | None:
    """Return the label of the one option whose text this is (``whole``) or contains without denying it."""
    told = words(text)
    spoken = f" {' '.join(told)} "
    if whole or not told:
        same = [label.upper() for label, option in options if told and words(option) == told]
        return same[0] if len(same) == 1 else None
    if _denied(text) or re.search(r"\bor\b", text):
        return None
    found: list[tuple[str, str]] = []
    for label, option in sorted(options, key=lambda pair: -len(words(pair[1]))):
        phrase = f" {' '.join(words(option))} "
        if phrase.strip() and phrase in spoken:
            found.append((label.upper(), phrase))
            spoken = spoken.replace(phrase, " \0 ")
    return found[0][0] if len(found) == 1 and len(told) <= 40 else None
