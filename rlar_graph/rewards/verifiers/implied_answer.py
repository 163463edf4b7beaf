"""What a text asserts where nothing marks an answer: its last formula or assertion, or all of it if short.

The weaker half of :mod:`~rlar_graph.rewards.verifiers.final_answer`. Questions, hedges and denials assert
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

ImpliedForm: TypeAlias = Literal["display", "sentence", "bare"]

TAIL = 4_000
"""Characters at the end of a text in which an assertion is looked for."""
BARE = 200
"""Characters that a text may have to be an answer as it stands."""
SENTENCES = 4
"""How many sentences from the end are looked at; courtesies ("Hope this helps!") follow the answer."""

SENTENCE_END = re.compile(r"[.!?](?=[\s\"')*]|$)|[。！？]|</|\n")
_INLINE = re.compile(r"\$[^$\n]{1,500}\$|\\\([^\n]{1,500}?\\\)")
_PROSE = re.compile(r"(?<!\\)\b[A-Za-z]{2,}\s+[A-Za-z]{2,}\b")
_COMMAND = re.compile(r"\\(?:text|mbox|textbf|mathrm|textit|operatorname)\s?\{[^{}]{0,100}\}|\\[A-Za-z]+")
_NAME = re.compile(
    r"(?:sin|cos|tan|cot|sec|csc|log|exp|sqrt|mod|min|max|inf|infty|pct|arc(?:sin|cos|tan))", re.I
)
_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_SHORT_WORD = re.compile(r"\b(?:is|it|we|he|be|as|to|of)\b", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|finally|ok(?:ay)?|and|we (?:get|have|find)|this gives"
    r"|it follows that)\b[, ]{1,3}){1,4}",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?:\b(?:is|are|was|were|be|equals?|gives?|makes?|totals?|get|gets|yields?|obtain|has"
    r"|have|est|es|ist|(?:comes|amounts|adds up|sums up|simplifies|reduces|expands|evaluates) to)\b|[:：=≈]|是|为)"
    r"(?![^\n]{0,3}=)",
    re.IGNORECASE,
)
_ADVERB = re.compile(
    r"[\s=*_]*(?:(?:approximately|about|roughly|around|exactly|just|simply|only|equal to|equals|therefore"
    r"|thus|then|now|also|a total of|given by|at least|at most)\b[\s*_]*){0,3}",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:could|might|may (?:be|have)|perhaps|maybe|either|one of|possibl[ey]|possibilities|candidates?"
    r"|options? (?:is|are)|guess(?:es)?|not sure|unsure|unclear|unknown|reference|gold|grader|answer key|whether"
    r"|verdict|the (?:question|problem|task) (?:is|was|asks|says))\b"
    r"|\boutput\s[\d.]|\b(?:score|reward|rating)[\"']?\s?[:=]"
    r"|(?:^\s{0,20}|[:：]\s{0,5})(?:solve|find|compute|calculate|evaluate|determine|simplify)\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\b(?:not|no|never|cannot|but|however|without|if|would|should|let|first|next)\b|n't|n’t", re.I
)
_SIGN = re.compile(r"[0-9=+*/^\\<>]")
_QUANTITY = re.compile(r"[$€£¥₹]?[ ]?[-−+]?[$€£¥₹]?\d[\d,.]*(?:/\d+)?(?:\s?%)?")
_CLAUSE = re.compile(
    r"[,;]?\s(?:in|after|for|per|by|on|at|from|when|if|every|each|during|with|left|because|since|which|that|while|before)\b"
)
_PICTURE = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]")
_CALCULATION = re.compile(r"<<[^<>]{0,200}>>")
_CODE = re.compile(r"```[A-Za-z].*?(?:```|\Z)", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.(\"'])[-−]?[$€£¥₹]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:/\d+)?(?:\s?%)?")
_BOLD = re.compile(r"\*\*([^*\n]{1,100})\*\*")
_DISPLAYS = (
    ("\\[", "\\]"), ("$$", "$$"), ("\\begin{align*}", "\\end{align*}"), ("\\begin{align}", "\\end{align}"),
    ("\\begin{equation}", "\\end{equation}"), ("\\begin{equation*}", "\\end{equation*}"),
)  # fmt: skip
_LISTED = re.compile(r"\b(?:is|are|be)\s([^\s=]{1,40}\s?=[^\n]{1,200}\b(?:and|or)\s[^\s=]{1,40}\s?)$")
_AND = re.compile(r"\b(?:and|or)\b")
_OPENINGS = (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"))


def tidy(answer: str) -> str:
    """Strip what surrounds an answer in prose: emphasis, quotes, code ticks, closing punctuation, blanks."""
    if not answer.isascii():
        answer = _PICTURE.sub("", answer)
    while True:
        shorter = answer.strip('*_`"“”\n\t ').lstrip("‘:：=&").rstrip("’.,;:。，、\n\t ")
        if shorter.endswith("\\"):  # the punctuation was a LaTeX space, e.g. ``\,``
            shorter = shorter[:-1]
        if shorter.endswith("'") and shorter.startswith("'"):
            shorter = shorter[1:-1]
        if shorter == answer:
            return answer
        answer = shorter


def clause_end(text: str, start: int, limit: int = 600) -> int:
    """Return where the clause that begins at ``start`` ends; formulas are not broken."""
    position = start
    for opening, closing in _OPENINGS:
        if text.startswith(opening, start):
            close = text.find(closing, start + len(opening), start + 5 * limit)
            inside = text[start + len(opening) : close]
            if close >= 0 and not (opening == "$" and ("\n" in inside or _PROSE.search(inside))):
                position = close + len(closing)
            break
    for stop in SENTENCE_END.finditer(text, position, min(len(text), position + limit)):
        if (
            stop[0] == "\n"
            or text.count("$", position, stop.start()) % 2 == 0
            or text[stop.end() :].lstrip()[:1].isupper()
        ):
            return stop.start()
    return min(len(text), position + limit)


def implied(text: str) -> tuple[str, ImpliedForm, tuple[int, int]] | None:
    """Return the answer a text implies, how, and where it stands; None where it asserts nothing."""
    whole = text.strip() if len(text) <= 4 * BARE else ""
    start = text.find(whole) if whole else 0
    if 0 < len(whole) <= BARE and is_formula(whole):
        return tidy(_LEAD.sub("", whole, count=1)), "bare", (start, start + len(whole))
    base = max(0, len(text) - TAIL)
    tail = _CODE.sub(lambda code: " " * len(code[0]), text[base:])
    display = _last_display(tail)
    after = display[1] if display else 0
    for begin, end in _sentences(tail, after):
        if tail[end : end + 1] in ("?", "？"):
            return None
        answer = asserted(tail[begin:end])
        if answer:
            return answer, "sentence", (base + begin, base + end)
        if _HEDGE.search(tail, begin, end):
            return None
    if display:
        return tidy(tail[display[0] : display[1]]), "display", (base + display[0], base + display[1])
    if 0 < len(whole) <= BARE and _may_be_bare(whole) and tail.strip():
        return tidy(whole), "bare", (start, start + len(whole))
    return None


def _may_be_bare(whole: str) -> bool:
    """Say whether a short text that asserts nothing can be an answer as it stands, as ``Paris`` is."""
    if whole.endswith(("?", "？")) or not any(map(str.isalnum, whole)):
        return False
    return not (any(map(str.isdigit, whole)) and (_DENIAL.search(whole) or _HEDGE.search(whole)))


def is_formula(text: str) -> bool:
    """Say whether a text is a formula or quantity, not words."""
    if not any(map(str.isalnum, text)):
        return False
    bare = _LEAD.sub("", _COMMAND.sub(" ", text), count=1)
    if _SHORT_WORD.search(bare):
        return False
    return not any(_NAME.fullmatch(word[0]) is None for word in _LONG_WORD.finditer(bare))


def asserted(sentence: str) -> str | None:
    """Return what one sentence without its full stop asserts, e.g. ``2/3`` of "so the chance is 2/3"."""
    sentence = _CALCULATION.sub("", sentence)
    if not any(map(str.isalnum, sentence)) or _HEDGE.search(sentence):
        return None
    if is_formula(sentence) and _SIGN.search(sentence):
        return tidy(_LEAD.sub("", sentence.strip(), count=1))
    masked = _INLINE.sub(_mask, sentence)
    for verb in reversed(list(_VERB.finditer(masked))):
        begin = _ADVERB.match(sentence, verb.end())
        tail = sentence[begin.end() if begin else verb.end() :]
        if _DENIAL.match(tail):
            return None
        if "\0" in masked[verb.end() :] or any(map(str.isdigit, tail)):
            return _quantity(_series(sentence[: verb.start()], tidy(tail)))
    formulas = [match[0] for match in _INLINE.finditer(sentence) if "\0" in _mask(match)]
    if formulas:
        return next((formula for formula in reversed(formulas) if _SIGN.search(formula)), formulas[-1])
    emphasised = _BOLD.findall(sentence)
    if emphasised and any(map(str.isdigit, emphasised[-1])):
        return tidy(emphasised[-1])
    numbers = {number[0].strip() for number in _NUMBER.finditer(sentence)}
    if len(numbers) == 1 and not _DENIAL.search(sentence):
        return numbers.pop()
    return None


def _mask(formula: re.Match[str]) -> str:
    """Blank an inline formula out; what stands between two dollar amounts is prose and stays."""
    inside = formula[0].strip("$")
    return formula[0] if _PROSE.search(_COMMAND.sub(" ", inside)) else "\0" * len(formula[0])


def _series(before: str, tail: str) -> str:
    """Return all of "x = 3 and x = -2" where the verb found was only the last equals sign."""
    listed = _LISTED.search(before)
    return f"{listed[1]}= {tail}" if listed and is_formula(_AND.sub(",", listed[1])) else tail


def _quantity(tail: str) -> str:
    """Cut what follows a quantity and its unit: ``18 dollars every day at 5`` is ``18 dollars``."""
    if _QUANTITY.match(tail):
        cut = _CLAUSE.search(tail)
        if cut:
            return tail[: cut.start()]
    return tail


def _last_display(text: str) -> tuple[int, int] | None:
    """Return the span inside the last display formula; of an aligned one, its last line."""
    found = (0, -1)
    for opening, closing in _DISPLAYS:
        end = text.rfind(closing)
        begin = text.rfind(opening, 0, end) if end > 0 else -1
        if begin >= 0 and end > found[1]:
            found = (begin + len(opening), end)
    begin, end = found
    if end < 0:
        return None
    line = text.rfind("\\\\", begin, end)
    if line >= 0 and text.find("matrix}", begin, end) < 0 and text.find("cases}", begin, end) < 0:
        begin = line + 2
    return begin, end


def _sentences(text: str, after: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the last sentences, latest first; what stands before ``after`` is left out."""
    stops = [stop.start() for stop in SENTENCE_END.finditer(text, after)]
    begins = [after, *(stop + 1 for stop in stops)]
    ends = [*stops, len(text)]
    seen = 0
    for begin, end in zip(reversed(begins), reversed(ends), strict=True):
        if not text[begin:end].strip("\\]$*_`)\"' \t"):
            continue
        yield begin, end
        seen += 1
        if seen == SENTENCES:
            return
