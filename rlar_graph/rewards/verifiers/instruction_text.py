"""What the verifiable instructions count in a text: sentences, words, bullets, titles, languages.

Each count follows the rule that IFEval published with its prompts, so that scores compare with the
literature. Brackets, bullets and titles are counted by scanning lines: the published regular expressions
take time quadratic in a hostile text, such as a megabyte of ``[``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from rlar_graph.errors import InputError

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory
    from nltk.tokenize.destructive import NLTKWordTokenizer  # type: ignore[import-untyped, unused-ignore]
    from punkt import PunktSentenceTokenizer

SPLIT_CHARACTERS = 200_000
LANGUAGE_CHARACTERS = 50_000
CHUNK_CHARACTERS = 2_000

_WORD = re.compile(r"\w+")
_SINGLE_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*[^\n*]*\*\*")


def count_words(text: str) -> int:
    """Return the number of words: runs of letters, digits and underscores."""
    return sum(1 for _ in _WORD.finditer(text))


def count_sentences(text: str, enough: int) -> int:
    """Return the number of sentences in English Punkt's eyes; of a very long text, at least ``enough``.

    Raises:
        InputError: The text is too long to split, and its beginning has fewer than ``enough``.
    """
    count = sum(1 for _ in _sentences().span_tokenize(text[:SPLIT_CHARACTERS]))
    if count < enough and len(text) > SPLIT_CHARACTERS:
        raise _too_long()
    return count


def count_capital_words(text: str, enough: int) -> int:
    """Return the number of all-capital Treebank tokens, or ``enough`` and a few more where there are many.

    Raises:
        InputError: There is too much to split, and its beginning has fewer than ``enough``.
    """
    count = size = 0
    for chunk in _chunks_with_capitals(text):
        count += sum(1 for token in _tokens().tokenize(chunk) if token.isupper())
        if count >= enough:
            break
        size += len(chunk)
        if size > SPLIT_CHARACTERS:
            raise _too_long()
    return count


def count_placeholders(text: str) -> int:
    """Return the number of ``[...]`` on one line."""
    count = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0:
            end = line.find("]", start + 1)
            if end < 0:
                break
            count += 1
            start = line.find("[", end + 1)
    return count


def count_bullets(text: str) -> int:
    """Return the number of Markdown bullets: lines that open with ``-`` or a single ``*``.

    A lone ``*`` takes the line below it as its text, which then is no bullet of its own unless it is a dash.
    """
    stars = dashes = 0
    lines = [line.lstrip() for line in text.split("\n")]
    taken = -1
    for number, line in enumerate(lines):
        dashes += line.startswith("-")
        if number == taken or not line.startswith("*") or line.startswith("**"):
            continue
        if line != "*":
            stars += 1
        elif number + 1 < len(lines):
            stars += 1
            taken = number + 1
    return stars + dashes


def count_highlights(text: str) -> int:
    """Return the number of ``*...*`` and ``**...**`` on one line with something between the asterisks."""
    single = sum(1 for found in _SINGLE_HIGHLIGHT.finditer(text) if found[0].strip("*").strip())
    return single + sum(1 for found in _DOUBLE_HIGHLIGHT.finditer(text) if found[0][2:-2].strip())


def has_title(text: str) -> bool:
    """Return whether some line holds ``<<a title>>``."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def language_of(text: str) -> str | None:
    """Return langdetect's code for the language of a text, the same each time; None if it recognises none."""
    from langdetect.lang_detect_exception import LangDetectException

    detector = _languages().create()
    detector.append(text[:LANGUAGE_CHARACTERS])
    try:
        language = str(detector.detect())
    except LangDetectException:
        return None
    return None if language == detector.UNKNOWN_LANG else language


def known_languages() -> frozenset[str]:
    """Return the language codes :func:`language_of` can give."""
    return frozenset(_languages().get_lang_list())


def _chunks_with_capitals(text: str) -> Iterator[str]:
    """Yield pieces of the text that hold all its words with capitals; only a word of absurd length is cut."""
    kept: list[str] = []
    size = 0
    for word in text.split():
        if word == word.lower():
            continue
        for start in range(0, len(word), CHUNK_CHARACTERS):
            kept.append(word[start : start + CHUNK_CHARACTERS])
            size += len(kept[-1])
            if size >= CHUNK_CHARACTERS:
                yield " ".join(kept)
                kept, size = [], 0
    if kept:
        yield " ".join(kept)


def _too_long() -> InputError:
    return InputError(f"more than {SPLIT_CHARACTERS} characters to split", field="completions")


@cache
def _sentences() -> PunktSentenceTokenizer:
    from punkt import PunktSentenceTokenizer, load_model

    return PunktSentenceTokenizer(load_model("english"))


@cache
def _tokens() -> NLTKWordTokenizer:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


@cache
def _languages() -> DetectorFactory:
    # A factory of our own: langdetect's shared one draws its samples from an unseeded generator.
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory
