r"""The final answer of a completion: the last answer it commits to, and ``None`` where it commits to none.

Verifiers that compare answers (maths, choice, short answer, lists) all look here, so that one set of rules
decides what counts as answering:

* The last commitment counts: ``\boxed{x}``, ``<answer>x</answer>``, ``#### x``, "the answer is x" or
  "Answer: x". Only where there is none is the answer read from the last display formula, the last sentence
  that asserts something, or the completion itself if it is short.
* Listing is not answering: three or more different commitments in a row are none, alternatives stay together
  in one text ("41 or 42"), and what is merely possible ("could be 42") is not a commitment.
* A retraction after the commitment ("wait, actually it's 7") replaces or withdraws it.
* What is thought (``<think>...</think>``) is not said; a thought that never ends leaves nothing said.

Every search is linear and the number of candidates is bounded: completions are hostile and may be megabytes.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal, TypeAlias

from rlar_graph.rewards.verifiers.boxed_answer import CANDIDATES, LONGEST, boxes, lone_box
from rlar_graph.rewards.verifiers.implied_answer import asserted, clause_end, implied, tidy

Form: TypeAlias = Literal["boxed", "tag", "hash", "phrase", "retraction", "display", "sentence", "bare"]

FEW = 2
"""Mentions of "answer" up to which a box at the end cannot close an enumeration."""
RUN_GAP = 60
"""Characters between two commitments below which the second does not follow from any thought."""

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_TURN_END = re.compile(r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|end|user)\|>|</s>|<end_of_turn>")
_NEXT_TURN = re.compile(r"\n[ \t]*(?:user|human)[ \t]*:", re.IGNORECASE)
_BOX_NEXT = re.compile(r"(?:\$|\\[(\[]|\s){0,4}\\(?:boxed|fbox)\b")
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_HASH = re.compile(r"^[ \t]*####[ \t]*(?![#\s])([^\n]{1,200})", re.MULTILINE)
_HEADING = re.compile(r"\d+[.)]\s+[A-Za-z]|.*:\s*$|(?:[^\s\d]\S*\s+){6}|step\b", re.IGNORECASE)
_WORD = re.compile(
    r"answers?\b|r[ée]ponse\b|respuesta\b|antwort\b|risposta\b|resposta\b|ответ\b|答案|答え|答(?=[:：])",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\n[ \t>*_]{0,8}A(?:ns\b\.?)?[*_]{0,2}(?=[ \t]{0,4}[:：])", re.IGNORECASE)
_NOT_MINE = re.compile(
    r"(?:reference|gold|ground[ -]truth|each|an|no|your|my previous)[ \t]{1,3}$", re.IGNORECASE
)
_IF = re.compile(r"\bif\b[^.\n]{0,120}$", re.IGNORECASE)
_LINK = re.compile(
    r"[*_`\"'’)\]]{0,4}(?:[ \t]+(?:to|of|for|in)\b[^.:=\n$\\]{0,60}?)?[*_ \t]{0,6}"
    r"(?:(?:is|are|was|will be|would be|should be|must be|equals?|comes? (?:out )?to|est|es|ist|ser[áa])\b"
    r"|[は是为為]|[:：=]|[—–]|(?=[ \t](?:\$|\\\(|\\\[|\d|\*\*))|(?=[ \t*_]{0,6}\n))"
    r"(?:[*_\s]{0,6}(?:simply|just|therefore|thus|then|also|indeed|now|clearly|approximately|about"
    r"|equal to)\b)?"
    r"[*_ \t]{0,6}[:：]?[*_]{0,4}\s{0,40}",
    re.IGNORECASE,
)
_REASON = re.compile(
    r",?\s(?:because|since|which|where|as (?:we|it|the)|given that|so that)\b|,\s(?:so|as|for)\s", re.I
)
_EMPTY_WORDS = re.compile(
    r"(?:as follows|given|found|obtained|correct|incorrect|wrong|above|below|reasonable|verified"
    r"|provided|consistent)\b",
    re.IGNORECASE,
)
_NEVER = re.compile(r"(?:not|either|one of|unknown|unclear|any of)\b", re.IGNORECASE)
_SENTENCE = re.compile(
    r"(?:the|so|there|it|we|a|an|thus|therefore|hence)\b|(?:[A-Za-z]+,?\s){2}\S+\s\S", re.IGNORECASE
)
_HEAD = re.compile(r"[\s#*_>]*(?:(?:final|the|my|correct|short)\s+){0,3}", re.IGNORECASE)
_OPTIONS = re.compile(r"^[ \t]*B[ \t]*[:：]", re.MULTILINE)
_DOUBT = re.compile(
    r"\b(?:wait|actually|hold on|correction|scratch that|on second thoughts?|oops|sorry|no,|i mean|hmm)\b",
    re.I,
)
_WITHDRAWN = re.compile(
    r"\b(?:scratch that|take (?:that|it) back|i was wrong"
    r"|(?:that|this|it|above|which|answer)(?:'s|’s| is| was) (?:wrong|incorrect|not (?:right|correct))"
    r"|made an? (?:mistake|error)|my mistake|disregard (?:that|this|the above)|ignore (?:that|my))\b",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"\b(?:it(?:'s|’s| is| must be| should be| has to be)|that(?:'s|’s) actually|should (?:be|have been)"
    r"|make (?:that|it)|i mean(?:t)?|correct(?:ed)? (?:value|result|number) is|correction:)[ \t]{1,3}"
    r"(?!wrong|incorrect|not\b|correct|right)",
    re.IGNORECASE,
)
_LOOSE = re.compile(r"[\s$*\\{}.,]")


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The answer a completion commits to."""

    text: str
    """The answer without its marker, markdown emphasis or closing full stop; LaTeX is kept."""
    form: Form
    """How it was given; ``sentence``, ``display`` and ``bare`` mean that nothing marked it as the answer."""
    span: tuple[int, int]
    """Where the answer and its marker stand in the completion."""


def final_answer(completion: str, *, trusted: bool = False) -> FinalAnswer | None:
    """Return the last answer a completion commits to.

    Args:
        completion: What the policy wrote, of any length.
        trusted: The text is a reference solution: its last commitment counts whatever else it says.
    """
    bounds = answered(completion)
    if bounds is None:
        return None
    start, end = bounds
    text = completion[start:end] if end - start != len(completion) else completion
    box = lone_box(text) if text.count("nswer") <= FEW else None
    found = (
        [FinalAnswer(box[0], "boxed", box[1])]
        if box and any(map(str.isalnum, box[0]))
        else _commitments(text)
    )
    if found is None:
        return None
    if not found:
        guess = implied(text)
        answer = _settled(text, [FinalAnswer(*guess)]) if guess else None
    elif trusted:
        answer = found[-1]
    else:
        answer = _settled(text, found)
    if answer is None or not start:
        return answer
    return replace(answer, span=(answer.span[0] + start, answer.span[1] + start))


def spoken(completion: str) -> tuple[int, int] | None:
    """Return the span of what is said: after the last thought, before the next turn.

    None where a thought never ends.
    """
    start, end = 0, len(completion)
    if "<" not in completion:
        return start, end
    for tag in _THOUGHT.finditer(completion):
        start = tag.end() if tag[1] else -1
    if start < 0:
        return None
    for mark in _TURN_END.finditer(completion, start):
        if completion[start : mark.start()].strip():
            return start, mark.start()
        start = mark.end()
    return start, end


def answered(completion: str) -> tuple[int, int] | None:
    """Return the span of what is said before anybody else speaks: an answer in a made-up next turn is not the policy's.

    None where a thought never ends.
    """
    bounds = spoken(completion)
    if bounds is None or ":" not in completion:
        return bounds
    start, end = bounds
    for turn in _NEXT_TURN.finditer(completion, start, end):
        if any(map(str.isalnum, completion[start : turn.start()])):
            return start, turn.start()
    return bounds


def _commitments(text: str) -> list[FinalAnswer] | None:
    """Return the marked answers in order, outer ones dropped; None where they are blank or cut off."""
    found: list[FinalAnswer] = []
    if "\\boxed" in text or "\\fbox" in text:
        boxed = boxes(text)
        if boxed is None:
            return None
        found += (FinalAnswer(content, "boxed", span) for content, span in boxed)
    if "nswer>" in text or "NSWER>" in text:
        found += (
            FinalAnswer(_said(tidy(tag[1])), "tag", tag.span())
            for tag in deque(_TAG.finditer(text), CANDIDATES)
            if len(tag[1]) <= LONGEST
        )
    if "####" in text:
        found += (
            FinalAnswer(_said(tidy(line[1])), "hash", line.span())
            for line in deque(_HASH.finditer(text), CANDIDATES)
            if not _HEADING.match(line[1])
        )
    found += _phrases(text)
    found.sort(key=lambda answer: answer.span)
    kept = [
        answer
        for answer, after in zip_longest(found, found[1:])
        if (after is None or after.span[0] >= answer.span[1]) and any(map(str.isalnum, answer.text))
    ]
    return kept if kept or not found else None


def _phrases(text: str) -> list[FinalAnswer]:
    """Return what is called the answer: "the answer is x", "Answer: x", a heading "Final answer" above x."""
    found: list[FinalAnswer] = []
    for start, stop in _mentions(text):
        link = _LINK.match(text, stop)
        if link is None or _is_not_mine(text, start, link[0]):
            continue
        if _BOX_NEXT.match(text, link.end()):
            continue
        if not link[0].strip(" *_\n") and "\n" in link[0] and not _is_heading(text, start):
            continue
        end = clause_end(text, link.end())
        if text.startswith("?", end) or ("would" in link[0] and _IF.search(text, max(0, start - 120), start)):
            continue
        value = tidy(_REASON.split(text[link.end() : end], maxsplit=1)[0])
        if not value or _NEVER.match(value) or (_EMPTY_WORDS.match(value) and not _has_digit(value)):
            continue
        found.append(FinalAnswer(_said(value), "phrase", (start, end)))
    return found


def _is_not_mine(text: str, start: int, link: str) -> bool:
    """Say whether the answer spoken of is somebody else's, or none; ``no Answer:`` is a "no" and then a label."""
    before = _NOT_MINE.search(text, max(0, start - 20), start)
    return before is not None and not (before[0][:2].lower() == "no" and link.strip(" *_")[:1] in (":", "："))


def _said(value: str) -> str:
    """Return what an answer given as a sentence asserts: ``72`` of "Natalia sold 72 clips"."""
    if _SENTENCE.match(value) and len(value) < 400:
        return asserted(value) or value
    return value


def _mentions(text: str) -> list[tuple[int, int]]:
    """Return where the last answers are announced, in order: the word "answer", or "A:" at the start of a line."""
    found: list[tuple[int, int]] = []
    lower = text.lower()
    if text.isascii():
        start = lower.rfind("answer")
        while start >= 0 and len(found) < CANDIDATES:
            stop = start + (7 if lower.startswith("s", start + 6) else 6)
            if not lower[stop : stop + 1].isalnum():
                found.append((start, stop))
            start = lower.rfind("answer", 0, start)
        found.reverse()
    else:
        found += (word.span() for word in deque(_WORD.finditer(text), CANDIDATES))
    if "\na" in lower or lower.lstrip("\t >*_").startswith("a"):
        labels = [(max(0, label.start() - 1), label.end() - 1) for label in _LABEL.finditer("\n" + text)]
        if labels and not _OPTIONS.search(text, labels[-1][1]):
            found = sorted(found + labels[-CANDIDATES:])
    return found


def _has_digit(text: str) -> bool:
    """Say whether a text has a digit."""
    return any(map(str.isdigit, text))


def _is_heading(text: str, position: int) -> bool:
    """Say whether only ``Final``, ``The`` and the like stand before a position on its line."""
    line = text[text.rfind("\n", max(0, position - 40), position) + 1 : position]
    return len(line) < 40 and _HEAD.fullmatch(line) is not None


def _settled(text: str, found: list[FinalAnswer]) -> FinalAnswer | None:
    """Return the commitment that stands at the end: not one of an enumeration, not one withdrawn."""
    last = found[-1]
    if len(found) > 2 and _enumerates(found):
        return None
    end = last.span[1]
    far = min(len(text), end + LONGEST)
    if not _DOUBT.search(text, end, far) and not _WITHDRAWN.search(text, end, far):
        return last
    corrections = deque(_INSTEAD.finditer(text, end, far), 1)
    if corrections:
        start = corrections[0].end()
        stop = clause_end(text, start)
        value = tidy(_REASON.split(text[start:stop], maxsplit=1)[0])
        if any(map(str.isalnum, value)) and len(value) <= 80:
            return FinalAnswer(value, "retraction", (corrections[0].start(), stop))
    return None if _WITHDRAWN.search(text, end, far) else last


def _enumerates(found: list[FinalAnswer]) -> bool:
    """Say whether the last commitments are a list of guesses: three different ones of a form, with nothing between."""
    run: dict[Form, set[str]] = {found[-1].form: {_LOOSE.sub("", found[-1].text)}}
    for before, after in zip(reversed(found[:-1]), reversed(found), strict=False):
        if after.span[0] - before.span[1] > RUN_GAP:
            break
        run.setdefault(before.form, set()).add(_LOOSE.sub("", before.text))
    return max(map(len, run.values())) > 2
