"""The form in which short answers are compared, so that spelling habits do not decide and meaning does.

A reference made of words is compared word by word: case, articles, punctuation, Latin accents, number words,
unit names and usual date formats do not matter. Case does matter where the prompt speaks of it. Any other
reference (brackets, moves, grids, ``#A B#``) is compared character by character except for blanks.
Zero-width characters are dropped; letters that merely look alike stay different.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LONGEST = 20_000
"""Characters beyond which a text is no short answer and matches nothing."""
REMEMBERED = 500
"""Characters up to which a text's words are kept: references, options and prompts come again, essays do not."""

_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "‐": "-", "‑": "-"}
)
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mbox|mathbf|operatorname)\s?\{([^{}]*)\}")
_SYMBOL = re.compile(r"[#+*<>=^|\\\[\]{}~_@→←↑↓]")
_TOKEN = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,:/-]\d+)*(?:st|nd|rd|th)?(?![^\W_])|[^\W_]+")
_GLUED_UNIT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(km|cm|mm|m|mi|ft|in|kg|mg|g|lb|ml|l|h|min|s|mph)\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ABBREVIATION = re.compile(r"\b(?:[A-Za-z]\.){2,}")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_CASE = re.compile(
    r"\b(?:upper|lower|mixed|title|camel|snake)[- _]?cased?\b|capitali[sz]|\bcapital letters?|case[- ]sensitive",
    re.I,
)
_ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "first": 1, "second": 2, "third": 3, "fourth": 4,
    "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
_TENS = frozenset(str(number) for number in range(20, 100, 10))
_UNITS = {
    variant: unit
    for unit, variants in {
        "km": "kilometer kilometers kilometre kilometres kms",
        "m": "meter meters metre metres",
        "cm": "centimeter centimeters centimetre centimetres",
        "mm": "millimeter millimeters millimetre millimetres",
        "mi": "mile miles",
        "ft": "foot feet",
        "in": "inch inches",
        "kg": "kilogram kilograms kilogramme kilogrammes kgs kilo kilos",
        "g": "gram grams gramme grammes",
        "mg": "milligram milligrams",
        "lb": "pound pounds lbs",
        "l": "liter liters litre litres",
        "ml": "milliliter milliliters millilitre millilitres",
        "h": "hour hours hr hrs",
        "min": "minute minutes mins",
        "s": "second seconds sec secs",
        "day": "days",
        "week": "weeks",
        "month": "months",
        "year": "years yr yrs",
        "percent": "pct %",
        "c": "celsius",
        "f": "fahrenheit",
        "mph": "mi/h",
    }.items()
    for variant in variants.split()
}
_MONTHS = {
    "january": 1, "jan": 1, "february": 2, "feb": 2, "march": 3, "mar": 3, "april": 4, "apr": 4, "may": 5,
    "june": 6, "jun": 6, "july": 7, "jul": 7, "august": 8, "aug": 8, "september": 9, "sep": 9, "sept": 9,
    "october": 10, "oct": 10, "november": 11, "nov": 11, "december": 12, "dec": 12,
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAY = r"(?:\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?,?[ ])?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_WORDED_DATE = re.compile(
    rf"{_WEEKDAY}(?:\b({_MONTH})\.?[ ]{_DAY},?[ ](\d{{4}})|\b{_DAY}[ ](?:of[ ])?({_MONTH})\.?,?[ ](\d{{4}}))(?!\d)",
    re.I,
)
_NUMERIC_DATE = re.compile(r"(?<![\d/.-])(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?![\d/-]|\.\d)")


def is_worded(text: str) -> bool:
    """Tell whether a reference is made of words, to be compared as such, rather than of symbols."""
    return "\n" not in text.strip() and _SYMBOL.search(text) is None and any(map(str.isalnum, text))


def minds_case(prompt: str) -> bool:
    """Tell whether a prompt speaks of upper or lower case, so that the case of the answer matters."""
    return _CASE.search(prompt) is not None


def clean(text: str) -> str:
    """Return a text with compatible characters unified (NFKC), zero-width ones and LaTeX text commands gone."""
    if text.isascii():
        shown = text
    else:
        shown = unicodedata.normalize("NFKC", text).translate(_QUOTES)
        shown = "".join(char for char in shown if unicodedata.category(char) != "Cf")
    if "\\" in shown:
        shown = _WRAPPED.sub(r"\1", shown)
    return shown.strip()


def words(text: str, *, cased: bool = False) -> tuple[str, ...]:
    """Return the words of an answer in the form they are compared in; empty where there are none."""
    if len(text) > LONGEST:
        return ()
    return _remembered(text, cased) if len(text) <= REMEMBERED else _words(text, cased)


def _words(text: str, cased: bool) -> tuple[str, ...]:
    """Do the work of :func:`words`."""
    text = (
        iso_dates(_without_accents(clean(text)))
        .replace("&", " and ")
        .replace("%", " percent ")
        .replace("'", "")
    )
    text = _GLUED_UNIT.sub(r"\1 \2", text)
    text = _THOUSANDS.sub("", _ABBREVIATION.sub(lambda match: match[0].replace(".", ""), text))
    tokens = _TOKEN.findall(text if cased else text.casefold())
    # What ends a phrase is no article, e.g. in "vitamin A".
    kept = [token for token in tokens[:-1] if token.casefold() not in _ARTICLES] + tokens[-1:]
    return tuple(_numbered(kept))


_remembered = lru_cache(maxsize=4_096)(_words)


def _without_accents(text: str) -> str:
    """Drop the accents of Latin letters; marks of other scripts tell letters apart and stay."""
    if text.isascii():
        return text
    kept: list[str] = []
    for char in unicodedata.normalize("NFD", text):
        if unicodedata.combining(char) and kept and kept[-1].isascii() and kept[-1].isalpha():
            continue
        kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept))


def _numbered(tokens: list[str]) -> list[str]:
    """Write number words as digits, and the unit after a number in its short form."""
    found: list[str] = []
    for token in tokens:
        low = token.casefold()
        ordinal = _ORDINAL.fullmatch(low)
        number = int(ordinal[1]) if ordinal else _DIGITS.get(low)
        after_number = bool(found) and found[-1].lstrip("-+")[:1].isdigit()
        if after_number and low in _UNITS:
            found.append(_UNITS[low])
        elif number is None:
            found.append(token)
        elif after_number and found[-1] in _TENS and 0 < number < 10 and ordinal is None:
            found[-1] = str(int(found[-1]) + number)
        else:
            found.append(str(number))
    return found


def iso_dates(text: str) -> str:
    """Return a text with its dates, where they are certain, written as ``2021-03-03``.

    ``03/04/2021`` is uncertain, for half the world reads it the other way; it stays and equals only itself.
    """
    if not any(map(str.isdigit, text)):
        return text
    return _NUMERIC_DATE.sub(_numeric_date, _WORDED_DATE.sub(_worded_date, text))


def _worded_date(match: re.Match[str]) -> str:
    """Return ``March 3, 2021`` or ``3rd of March 2021`` as an ISO date."""
    month, day, year = match[1] or match[5], match[2] or match[4], match[3] or match[6]
    return _date(year, str(_MONTHS[month.casefold()]), day) or match[0]


def _numeric_date(match: re.Match[str]) -> str:
    """Return ``2021/3/3``, ``3/3/2021`` or ``25.12.2021`` as an ISO date."""
    first, _, second, third = match.groups()
    if len(first) == 4:
        return _date(first, second, third) or match[0]
    if len(third) != 4 or (int(first) <= 12 and int(second) <= 12 and int(first) != int(second)):
        return match[0]
    day, month = (first, second) if int(first) > 12 else (second, first)
    return _date(third, month, day) or match[0]


def _date(year: str, month: str, day: str) -> str | None:
    """Return an ISO date where the numbers can be one."""
    if len(day) > 2 or not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{year}-{int(month):02}-{int(day):02}"


def symbols(text: str) -> str:
    """Return a text of symbols in the form it is compared in.

    Lines keep their order, blanks between tokens count as one, blank lines as none; a text without any letter or
    digit (a bracket sequence) keeps no blanks at all.
    """
    text = clean(text)
    if not any(map(str.isalnum, text)):
        return "".join(text.split())
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
