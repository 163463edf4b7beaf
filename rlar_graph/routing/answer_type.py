"""The answer type of a reference: what shape a right answer has, told from the reference alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rlar_graph.routing.signature import AnswerType

_NUMBER = re.compile(
    r"""^\$?\s*\\?[$€£¥]?\s*[-+−]?\s*\\?[$€£¥]?\s*
        (?:\d{1,3}(?:(?:,\\!|,|\{,\}|\\,|\\!,)\d{3})+|\d+)?(?:[.,]\d+)?(?:[eE][-+]?\d+)?
        \s*(?:\\?%|\\?[$€£]|\^?\\circ|\^\{\\circ\}|°)?\s*\$?\.?$""",
    re.VERBOSE,
)
_FRACTION = re.compile(
    r"^\$?\s*[-+−]?\s*(?:\d+\s+)?(?:\d+\s*/\s*\d+|\d*\s*\\[dt]?frac\s*(?:\{\d+\}|\d)\s*(?:\{\d+\}|\d))\s*\$?$"
)
_UNIT = re.compile(r"^[-+]?\$?[\d,]*\.?\d+\s+[A-Za-z]+(?:(?:/|\s+per\s+)[A-Za-z]+)?(?:\^?\d)?\.?$")
_LATEX = re.compile(
    r"\\(?:[dt]?frac|sqrt|pi|infty|cup|cap|pm|mp|begin|left|right|text|mbox|cdot|times|circ|in|"
    r"sin|cos|tan|log|ln|emptyset|boxed|theta|alpha|beta|leq?|geq?|mathbb|mathrm|\{|\()"
)
_ALGEBRA = re.compile(r"^[-+*/^=<>≤≥()\[\]{}|,;:.√π∞°!%'\w\s]*$")
_OPERATOR = re.compile(r"(?:[\w)\]}]\s*(?:\*\*|[-+*/^=<>≤≥]|\^)\s*[-\w(\[{\\√π])|√|π|∞")
_WORD = re.compile(r"[A-Za-z]{3,}")
_FUNCTION_NAMES = frozenset(
    {"sin", "cos", "tan", "sec", "csc", "cot", "arcsin", "arccos", "arctan", "asin", "acos", "atan", "sinh"}
    | {"cosh", "tanh", "exp", "log", "sqrt", "abs", "min", "max", "mod", "pi", "inf", "union"}
)
_MONOMIAL = re.compile(r"^[-+]?\d+[a-z]$")
_TUPLE = re.compile(r"^\$?\s*[(\[{]\s*[^()\[\]{}]*\d[^()\[\]{}]*[)\]}]\s*\$?$")
_NUMBERS = re.compile(r"^[-+]?\d[\d.]*(?:/\d+)?(?:\s*,\s*[-+]?\d[\d.]*(?:/\d+)?)+$")
_BOOLEAN = frozenset({"yes", "no", "true", "false"})
_LABEL = re.compile(r"^\(?([A-Za-z])\)?[.:]?$")
_DATE = re.compile(
    r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|"
    r"(?:\d{1,2}(?:st|nd|rd|th)?\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?,?\s+.*\d{1,4}|"
    r"\d+\s*(?:bc|ad|bce|ce|am|pm|a\.m\.|p\.m\.)\.?)$",
    re.IGNORECASE,
)
_NUMBER_RANGE = re.compile(r"^(?:\d+\s*[-–]\s*\d+|(?:\d{3}[-.\s]){1,2}\d{4})$")
_PROSE_WORDS = frozenset(
    {"the", "a", "an", "of", "to", "is", "are", "was", "and", "in", "that", "it", "for", "on", "as", "with"}
    | {"be", "this", "you", "your", "by", "or", "i"}
)
SHORT_WORDS = 25
"""References of more words than this, if they read like prose, are texts: no two right ones are alike."""


def answer_type(reference: object, options: Sequence[tuple[str, str]] = ()) -> tuple[AnswerType, str]:
    """Return the answer type of a reference, and in a few words why.

    Args:
        reference: Text, number, boolean, list or mapping.
        options: The prompt's options, if it has any.
    """
    if isinstance(reference, bool):
        return AnswerType.BOOLEAN, "the reference is a boolean"
    if isinstance(reference, int | float):
        return AnswerType.NUMBER, "the reference is a number"
    if isinstance(reference, Mapping):
        return AnswerType.JSON, "the reference is a mapping"
    if isinstance(reference, Sequence) and not isinstance(reference, str):
        return AnswerType.LIST, "the reference is a list"
    return _text_type(str(reference).strip(), options)


def _text_type(text: str, options: Sequence[tuple[str, str]]) -> tuple[AnswerType, str]:
    """Tell the answer type of a reference that is text."""
    if options and _names_option(text, options):
        return AnswerType.CHOICE, f"the reference names one of {len(options)} options"
    label = _LABEL.match(text)
    if label and text[0] == "(":
        return AnswerType.CHOICE, "the reference is an option's label"
    if text.lower().rstrip(".") in _BOOLEAN:
        return AnswerType.BOOLEAN, "the reference is yes or no, true or false"
    if _DATE.match(text) or _NUMBER_RANGE.match(text):
        return AnswerType.STRING, "the reference is a date, time or range"
    if is_number(text):
        return AnswerType.NUMBER, "the reference is a number"
    if _is_expression(text):
        return AnswerType.EXPRESSION, "the reference is a mathematical expression"
    if _is_list(text):
        return AnswerType.LIST, "the reference is a list"
    if is_prose(text):
        return AnswerType.TEXT, f"the reference is prose of more than {SHORT_WORDS} words"
    return AnswerType.STRING, "the reference is a short text"


def _names_option(text: str, options: Sequence[tuple[str, str]]) -> bool:
    label = _LABEL.match(text)
    if label:
        return any(label[1].upper() == name.upper() for name, _ in options)
    wanted = text.casefold().strip(" .")
    return any(wanted == option.casefold().strip(" .") for _, option in options)


def is_number(text: str) -> bool:
    """Say whether a text is one number: with currency, thousands, percent or unit, or a fraction."""
    if not any(char.isdigit() for char in text[:64]):
        return False
    return bool(_NUMBER.match(text) or _FRACTION.match(text) or _UNIT.match(text))


def _is_expression(text: str) -> bool:
    """Say whether a text is mathematics: LaTeX, a worked solution with a box, or plain algebra."""
    if "\\boxed" in text or "####" in text or _LATEX.search(text[:2_000]):
        return True
    if len(text) > 400 or "\n" in text:
        return False
    if text[0] == text[-1] == "$" and len(text) > 2:
        return True
    words = [word for word in _WORD.findall(text) if word.lower() not in _FUNCTION_NAMES]
    if words or not _ALGEBRA.match(text):
        return False
    if _NUMBERS.match(text) or _is_tuple(text) or _MONOMIAL.match(text):
        return True
    return bool(_OPERATOR.search(text)) and ":" not in text


def _is_tuple(text: str) -> bool:
    """Say whether a text is a tuple, interval or set of values, rather than a list of more than three."""
    return bool(_TUPLE.match(text)) and not (text[0] == "[" and text.count(",") > 1)


def _is_list(text: str) -> bool:
    """Say whether a text is a list: bracketed, or three and more short items between commas."""
    if text[0] == "[" and text[-1] == "]":
        return True
    items = text.split(",")
    if len(items) == 2 and items[1][:1] == " " and items[0][:1].isupper() and items[1].strip()[:1].isupper():
        return False  # "Paris, France"; a pair of names cannot be told from a place
    return len(items) >= 2 and "\n" not in text and all(0 < len(item.split()) <= 3 for item in items)


def is_prose(text: str) -> bool:
    """Say whether a text is long running prose, of which no two right versions are alike."""
    words = text.split()
    if len(words) <= SHORT_WORDS:
        return False
    common = sum(word.lower().strip(".,;:!?\"'()") in _PROSE_WORDS for word in words)
    return common / len(words) >= 0.15
