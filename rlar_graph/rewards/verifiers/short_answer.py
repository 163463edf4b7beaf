"""Short answers: words, names, dates, booleans, and the strings of puzzles, against a reference and its aliases.

What a completion answers with is its marked final answer if it has one, else all of it if that is the answer,
else what its first or last sentence commits to (:mod:`~rlar_graph.rewards.verifiers.assertion`). How answers are
compared depends on the reference: booleans by polarity, words in their
:mod:`~rlar_graph.rewards.verifiers.word_form`, symbols and texts of several lines character by character except for
blanks.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from hashlib import sha256

from rlar_graph.rewards.base import AnswerVerifier, ToolSpec
from rlar_graph.rewards.verifiers.assertion import asserts, commits, has_doubt, sentences
from rlar_graph.rewards.verifiers.final_answer import FinalAnswer, answered, final_answer
from rlar_graph.rewards.verifiers.symbol_answer import gives_symbols
from rlar_graph.rewards.verifiers.word_form import LONGEST, clean, is_worded, minds_case, words
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain

MARKED = frozenset({"boxed", "tag", "hash", "phrase", "retraction"})
"""Forms of a final answer that its completion marks as such."""
SHORT = 200
"""Characters up to which all of an unmarked completion may be the answer."""

_MARKER = re.compile(r"\banswers?\b[^.\n]{0,30}?(?:\bis\b|\bare\b|[:：])|boxed|####", re.IGNORECASE)
_PHRASE = re.compile(r"[^:：\n]{0,80}?(?:\bis\b|\bare\b|\bwas\b|[:：])[*_\s:]{0,8}", re.IGNORECASE)
_POLAR = {"yes": True, "true": True, "no": False, "false": False}
_LEADING = re.compile(r"\W*(yes|no|true|false)\b(?!-)", re.IGNORECASE)
_HEDGED = re.compile(r"\W*(?:and|or|/|,)?\W*(yes|no|true|false)\b(?=\W*$|\W*[.,;!])", re.IGNORECASE)
_FORMULA = re.compile(r"\s*(?:and|or|xor|implies|&+|\|+)\s+(?:not\b|true\b|false\b|[(~!])", re.IGNORECASE)
_LEFT_OPEN = re.compile(r"\b(?:or|whether|if|reference|gold|expected|ground[ -]truth)\b", re.IGNORECASE)
_CLOSING = re.compile(
    r"\b(?:therefore|thus|hence|so|say|indeed|correct)[,:]?\s+(yes|no|true|false)\W*$", re.IGNORECASE
)
_PREDICATE = re.compile(
    r"\b(?:is|are|be|was|evaluates to|equals)\s+(not\s+)?(true|false|yes|no)\W*$", re.IGNORECASE
)


class ShortAnswerVerifier(AnswerVerifier):
    """Compares a short answer with the reference and its aliases; any of them is right."""

    spec = ToolSpec(
        name="short_answer",
        kind="verifier",
        summary="Compares words, names, dates, booleans and puzzle strings with the reference or an alias.",
    )

    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return the marked final answer, or else all that is said, for :meth:`compare` to read.

        Unmarked text comes with a leading NUL, which no answer has: only prose may be searched for a commitment.
        """
        accepted = accepted_answers(rollout)
        if not accepted:
            return abstain("the reference is no text to compare with")
        said = spoken_text(completion)
        if not said:
            return no_answer("nothing is said")
        if any(not is_worded(text) and polarity_of(text) is None for text in accepted):
            return f"\0{said[-LONGEST:]}"
        answer = final_answer(said)
        if answer is not None and answer.form in MARKED:
            return marked_text(said, answer)
        if answer is None and marks_answer(said):
            return _closing_mark(said) or no_answer("nothing is committed to")
        if _is_echo(said, rollout.prompt):
            return no_answer("the prompt is repeated")
        return f"\0{said}" if len(said) <= LONGEST else f"\0{said[: LONGEST // 2]}\n{said[-LONGEST // 2 :]}"

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Compare each answer with everything its rollout accepts."""
        return [self._compare(rollout, answer) for rollout, answer in questions]

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return what decides a verdict; the prompt does, where it minds case or tells what was asked about.

        A digest, for prompts and unmarked answers are long and the memo keeps many.
        """
        decisive = repr((rollout.reference, rollout.aliases, answer, rollout.prompt))
        return sha256(decisive.encode("utf-8", "surrogatepass")).digest()

    def _compare(self, rollout: Rollout, answer: str) -> Verdict:
        unmarked, text = answer[:1] == "\0", answer.lstrip("\0")
        cased = minds_case(rollout.prompt)
        asked = frozenset(words(rollout.prompt[-LONGEST:]))
        accepted = accepted_answers(rollout)
        if any(matches(text, one, asked, cased=cased, unmarked=unmarked) for one in accepted):
            return RIGHT
        return Verdict(0.0, detail={"answer": text[:SHORT]})


def accepted_answers(rollout: Rollout) -> tuple[str, ...]:
    """Return the reference and its aliases as texts; empty where there is nothing to compare with."""
    reference = rollout.reference
    texts = [str(reference)] if isinstance(reference, str | bool | int | float) else []
    return tuple(text.strip() for text in (*texts, *map(str, rollout.aliases)) if text.strip())


def spoken_text(completion: str) -> str:
    """Return what is said in a completion, without thoughts or surrounding blanks."""
    bounds = answered(completion)
    return completion[slice(*bounds)].strip() if bounds is not None else ""


def marks_answer(said: str) -> bool:
    """Tell whether a text marks something as its answer: where no final answer was found, it was taken back."""
    return _MARKER.search(said[-LONGEST:]) is not None


def no_answer(why: str) -> Verdict:
    """Return the verdict on a completion that answers nothing."""
    return Verdict(0.0, detail={"problem": f"no answer: {why}"})


def matches(
    answer: str, reference: str, asked: frozenset[str], *, cased: bool = False, unmarked: bool = False
) -> bool:
    """Tell whether an answer is the reference.

    Args:
        answer: A final answer, or all that was said.
        reference: The reference, or one of its aliases.
        asked: The prompt's words.
        cased: Whether the case of letters matters.
        unmarked: Whether the answer is all that was said, in which prose may commit to the reference.
    """
    wanted = polarity_of(reference)
    if wanted is not None:
        return polarity(answer) is wanted
    if not is_worded(reference):
        return gives_symbols(answer, reference)
    target = words(reference, cased=cased)
    if not target:
        return False
    if words(answer, cased=cased) == target:
        return True
    if unmarked:
        return asserts(answer, target, asked, cased=cased)
    return commits(answer, target, asked, cased=cased)


def polarity_of(reference: str) -> bool | None:
    """Return the polarity of a reference that is a boolean, else None."""
    return _POLAR.get(reference.strip().rstrip(".").casefold())


def polarity(answer: str) -> bool | None:
    """Return whether an answer says yes (or true) or no (or false); None where it commits to neither."""
    said = sentences(clean(answer))
    if not said:
        return None
    first, last = _sentence_polarity(said[0]), _sentence_polarity(said[-1])
    if any(map(has_doubt, said[1:])):
        return last
    if len(said) > 1 and None not in (first, last) and first is not last:
        return None
    return first if first is not None else last


def _sentence_polarity(sentence: str) -> bool | None:
    """Return the polarity of one sentence: its first word's, or that of "... is true"."""
    leading = _LEADING.match(sentence)
    if leading:
        value = _POLAR[leading[1].casefold()]
        if _FORMULA.match(sentence, leading.end()):
            ending = _PREDICATE.search(sentence)
            return _POLAR[ending[2].casefold()] if ending and not ending[1] else None
        hedged = _HEDGED.match(sentence, leading.end())
        return None if hedged and _POLAR[hedged[1].casefold()] is not value else value
    closing = _CLOSING.search(sentence)
    if closing:
        return _POLAR[closing[1].casefold()]
    predicate = _PREDICATE.search(sentence)
    if predicate is None or _LEFT_OPEN.search(sentence):
        return None
    value = _POLAR[predicate[2].casefold()]
    return (not value) if predicate[1] else value


def _closing_mark(said: str) -> str | None:
    """Return the last sentence, to be read as prose, where it alone marks an answer."""
    marks, said_last = list(_MARKER.finditer(said[-LONGEST:])), sentences(said)[-1:]
    closes = len(marks) == 1 and said_last and _MARKER.search(said_last[0]) and said.endswith(said_last[0])
    return f"\0{said_last[0]}" if closes and "boxed" not in said else None


def marked_text(said: str, answer: FinalAnswer) -> str:
    """Return what a final answer's marker marks, in full.

    A phrase ("the answer is ...") is cut by its finder to the quantity in it, and at abbreviations ("St. Louis");
    where answers are words, all of the sentence counts.
    """
    if answer.form != "phrase":
        return answer.text
    rest = sentences(said[answer.span[0] : answer.span[1] + SHORT])
    first = rest[0] if rest else ""
    value = first[mark.end() :] if (mark := _PHRASE.match(first)) else ""
    value = value.strip('*_`"“” \t').rstrip(".")
    return value if any(map(str.isalnum, value)) and len(value) >= len(answer.text) else answer.text


def _is_echo(said: str, prompt: str) -> bool:
    """Tell whether a completion is the prompt, or a sentence of it, again."""
    told = words(said)
    return len(told) > 4 and len(said) <= len(prompt) + SHORT and " ".join(told) in " ".join(words(prompt))
