"""Lists and sets: whether a completion gives exactly the reference's elements.

Elements may stand between commas, semicolons or "and", one a line (bulleted or numbered), in brackets or as JSON;
single words also between blanks where the answer has no other separator. They are compared like short answers,
numbers by value. Order and repetition matter, unless the prompt says otherwise ("in any order", "as a set", "find
all", and nothing about sorting) or the reference is written as a set.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal, InvalidOperation
from hashlib import sha256

from rlar_graph.rewards.base import AnswerVerifier, ToolSpec
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.rewards.verifiers.short_answer import MARKED, no_answer, spoken_text
from rlar_graph.rewards.verifiers.symbol_answer import bare, marked_texts
from rlar_graph.rewards.verifiers.word_form import LONGEST, clean, is_worded, minds_case, symbols, words
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain

Form = tuple[object, ...]

_ANY_ORDER = re.compile(
    r"\b(?:any order|order (?:does not|doesn['’]t) matter|regardless of order|unordered|(?:as|return) a set|set of"
    r"|(?:find|list|name|give|identify|select|choose) (?:all|every))\b",
    re.IGNORECASE,
)
_ORDERED = re.compile(
    r"\b(?:sort(?:ed|ing)?|in (?:\w+ )?order|order(?:ed)? by|reverse[ds]?|rank(?:ed)?|ascending|descending"
    r"|alphabetical(?:ly)?|chronological(?:ly)?|sequence|permutation)\b",
    re.IGNORECASE,
)
_SAYS_ANY = re.compile(
    r"\bany order\b|\border (?:does not|doesn['’]t) matter\b|\bunordered\b|regardless of order", re.I
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•][ \t]+|\(?\d{1,3}[.)][ \t]+)")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.IGNORECASE)
_INLINE_NUMBER = re.compile(r"(?:^|(?<=\S)[ \t]+)\(?\d{1,3}[.)][ \t]+")
_SEPARATORS = (
    re.compile(r",\s*and\s|[,;\n]|\s(?:and|→|->|<)\s"),
    re.compile(r",\s*and\s|[,;\n]|\sand\s"),
    re.compile(r"[,;\n]"),
    re.compile(r"[;\n]"),
)
"""What separates elements, widest first; the last is for elements with commas in them."""
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


class ListAnswerVerifier(AnswerVerifier):
    """Compares the elements a completion gives with the reference's: all of them, no others."""

    spec = ToolSpec(
        name="list_answer",
        kind="verifier",
        summary="Compares a list or set with the reference: same elements, and same order where order matters.",
    )

    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return what is said, for :meth:`compare` to read."""
        if not elements(rollout.reference):
            return abstain("the reference is no list")
        said = spoken_text(completion)[-LONGEST:]
        return said or no_answer("nothing is said")

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Compare the elements given in each completion with the reference's."""
        return [self._compare(rollout, said) for rollout, said in questions]

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return what decides a verdict, as a digest: answers are long and the memo keeps many."""
        decisive = repr((rollout.reference, answer, rollout.prompt))
        return sha256(decisive.encode("utf-8", "surrogatepass")).digest()

    def _compare(self, rollout: Rollout, said: str) -> Verdict:
        wanted = elements(rollout.reference)
        cased = minds_case(rollout.prompt)
        target = [form(element, cased=cased) for element in wanted]
        free = is_order_free(rollout.prompt, rollout.reference)
        readings = candidates(said)
        for text in readings:
            given = [form(element, cased=cased) for element in elements(text, like=wanted)]
            if same(given, target, free=free):
                return RIGHT
        return Verdict(0.0, detail={"answer": readings[-1][:200] if readings else ""})


def is_order_free(prompt: str, reference: object) -> bool:
    """Tell whether the elements may come in any order."""
    if isinstance(reference, AbstractSet) or (isinstance(reference, str) and reference.strip()[:1] == "{"):
        return True
    if _SAYS_ANY.search(prompt):
        return True
    return _ANY_ORDER.search(prompt) is not None and _ORDERED.search(prompt) is None


def same(given: Sequence[Form], target: Sequence[Form], *, free: bool) -> bool:
    """Tell whether two lists are the same, as lists or as bags of elements."""
    return Counter(given) == Counter(target) if free else list(given) == list(target)


def form(element: str, *, cased: bool = False) -> Form:
    """Return the form in which an element is compared: a number's value, a phrase's words, or its symbols."""
    text = clean(element).strip("\"'`*_ ")
    if _NUMBER.fullmatch(text):
        try:
            return ("number", Decimal(text).normalize())
        except InvalidOperation:
            return ("symbols", text)
    if is_worded(text):
        return words(text, cased=cased)
    return ("symbols", symbols(text) if cased else symbols(text).casefold())


def candidates(said: str) -> list[str]:
    """Return the ways to read the list that a completion answers with: all it says, or what it marks."""
    found = [said, bare(said)]
    answer = final_answer(said)
    if answer is not None and answer.form in MARKED and "```" not in said[answer.span[1] + 8 :]:
        found.append(answer.text)  # a block that comes later is meant
    return found + marked_texts(said)


def elements(value: object, *, like: Sequence[str] = ()) -> list[str]:
    """Return the elements of a list, or of a text that is one.

    Args:
        value: A list, tuple, set, or text.
        like: The reference's elements, for the reading of an answer: what occurs within them separates nothing.
    """
    if isinstance(value, Collection) and not isinstance(value, str | bytes | dict):
        return [_text(element) for element in value]
    if not isinstance(value, str):
        return []
    text = clean(bare(value))
    parsed = _json_list(text)
    if parsed is not None:
        return parsed
    text = text.replace("\\{", "{").replace("\\}", "}")
    if text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]]):
        text = text[1:-1].strip()
    if _INLINE_NUMBER.match(text):
        text = _INLINE_NUMBER.sub("\n", text)
    text = "\n".join(_BULLET.sub("", line) for line in text.split("\n") if line.strip())
    separator = next(
        (one for one in _SEPARATORS if not any(one.search(element) for element in like)), _SEPARATORS[-1]
    )
    if separator.search(text) is None and all(len(element.split()) == 1 for element in like):
        return text.split()
    parts = [part.strip() for part in separator.split(text)]
    return [part for part in parts if part]


def _json_list(text: str) -> list[str] | None:
    """Return the elements of a JSON or Python list of texts and numbers; None for anything else."""
    if text[:1] != "[" or len(text) > LONGEST:
        return None
    for attempt in (text, text.replace("'", '"')):
        try:
            value = json.loads(attempt)
        except (ValueError, RecursionError):  # not JSON, or nested beyond sense
            continue
        return [_text(element) for element in value]
    return None


def _text(element: object) -> str:
    """Return an element as text; nested lists and mappings as JSON."""
    if isinstance(element, str):
        return element
    return json.dumps(element, sort_keys=True, default=str)
