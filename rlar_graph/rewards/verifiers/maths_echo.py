r"""Whether a right answer is only the question over again: no work was done, so no reward is due.

"Simplify ``2x+3x``" is answered by ``2x+3x`` as far as values go. Such an answer is refused where the prompt states it
and the reference is written in another form, in these cases:

* **stated**: the answer, or each side of it, has the form of a sum, equation or function that the prompt states, or
  of anything that the prompt asks to work out ("What is ``12/4``", "Convert ``1/2`` to a decimal");
* **numerals**: the reference is one number, and the answer combines all the numerals of one expression of the prompt
  without working it out: ``6/2`` for ``2x=6``;
* **shape**: what was to be factored is still a sum, what was to be expanded still has brackets, what was to be
  simplified is as long as it was.

An honest answer comes first: a prompt that offers answers to choose from has nothing refused, nor has an answer of the
reference's own form, and a fraction counts as worked out wherever its conversion was not the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rlar_graph.rewards.verifiers.maths_form import Form, atoms, form_of, is_atom

SHORT = 1_000
"""Characters of an answer that is looked at."""
LONGEST = 20_000
"""Characters of a prompt, counted from its end, in which expressions are looked for."""
EXPRESSIONS = 200
"""Expressions of a prompt that are compared."""

_NUMERAL = re.compile(r"[-+−]?[$€£]?\d[\d,]*(?:\.\d+)?")
_CHOICE = re.compile(
    r"\bwhich (?:of|one|is|are|expressions?|numbers?|values?|fractions?|options?|answers?|choices?|statements?)\b"
    r"|\bof the following\b|\b(?:choose|select|options?)\b|^[ \t]*[(\[]?[B-D][).\]:]\s",
    re.IGNORECASE | re.MULTILINE,
)
_CALCULATE = re.compile(
    r"\b(?:simplif\w*|factor(?:i[sz]e)?|expand\w*|multiply out|combine|evaluate|compute|calculate|work out|find|solve"
    r"|what(?:['’]s| is| are)|value of|reduce|convert|express|(?:re)?write|determine|differentiate|integrate|add"
    r"|subtract|multiply|divide|result of)\b",
    re.IGNORECASE,
)
_TRANSFORM = re.compile(
    r"\b(?:simplif\w*|reduce|convert\w*|express\w*|(?:re)?write|factor(?:i[sz]\w*|i[sz]ation)?|decimals?|percentage|lowest"
    r"|simplest|as an? (?:\w+ )?(?:fraction|product|power)|scientific notation|mixed number|in (?:binary|words))\b",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"\b(?:factor(?:i[sz]e)?)\b(?! of)", re.IGNORECASE)
_EXPAND = re.compile(r"\b(?:expand|multiply out)\b", re.IGNORECASE)
_SIMPLIFY = re.compile(r"\b(?:simplify|combine like terms|collect like terms)\b", re.IGNORECASE)
_RESHAPE = re.compile(r"\b(?:factor|expand|multiply out|simplify|combine|collect)", re.IGNORECASE)
_DIGITS = re.compile(r"(?<=frac|inom)\d|(?<=(?:frac|inom)\d)\d|\d+")  # \binom52 has a 5 and a 2
_SMALL = frozenset({"0", "1", "2", "3"})  # of terms and factors that change nothing, and of roots
_STOP = re.compile(r"[.?!;](?=\s|$)|\n")
_FORMULA = re.compile(
    r"\$\$(?P<a>[^$]{1,600})\$\$|\$(?P<b>[^$\n]{1,400})\$|\\\((?P<c>.{1,400}?)\\\)|\\\[(?P<d>.{1,600}?)\\\]",
    re.DOTALL,
)
_PROSE = re.compile(r"(?<![\\{A-Za-z])[A-Za-z]{3,}\s+[A-Za-z]{2,}")
_NAMES = "sqrt|log|ln|lg|exp|sin|cos|tan|cot|arcsin|arccos|arctan|pi|gcd|lcm|max|min"
_PIECE = (
    r"(?:\\[A-Za-z]+[ \t]?|\\[,;!]|(?<![A-Za-z])(?:" + _NAMES + r")(?![A-Za-z])|\d+(?:,\d{3})*(?:\.\d+)?"
    r"|(?<![A-Za-z'’])(?:[A-Za-z]|d[xytuv]|[a-z]y)(?![A-Za-z'’])|%[ \t]+of\b|[-+*/^_=<>()\[\]{}!%|×÷·⋅√²³−])"
)
_RUN = re.compile(rf"{_PIECE}(?:[ \t]*{_PIECE})*")
_ARTICLE = re.compile(r"^(?:[aAI][ \t]+)+|[ \t]+[aI]$|^[aAI]$")
_IN_WORDS = re.compile(
    r"\d\s+(?:plus|and|added|minus|times|multiplied|divided|over|to|raised|factorial|choose|of|x)\b|root of|base"
    r"|\b(?:sum|product|difference) (?:of|between)",
    re.IGNORECASE,
)
_WORDED = (
    (re.compile(r"(?<=[\d)])\s+(?:plus|added to|and then add)\s+(?=[\d(])", re.I), " + "),
    (re.compile(r"(?<=[\d)])\s+minus\s+(?=[\d(])", re.I), " - "),
    (re.compile(r"(?<=[\d)])\s+(?:times|multiplied by|x)\s+(?=[\d(])", re.I), " * "),
    (re.compile(r"(?<=[\d)])\s+(?:divided by|over)\s+(?=[\d(])", re.I), " / "),
    (re.compile(r"(?<=\d)\s+(?:to the power(?: of)?|raised to)\s+(?=[\d(])", re.I), "^"),
    (re.compile(r"(\d)\s+factorial\b", re.I), r"\1!"),
    (re.compile(r"(\d+)\s+choose\s+(\d+)", re.I), r"\\binom{\1}{\2}"),
    (re.compile(r"\b(?:the )?square root of (\d+(?:\.\d+)?)", re.I), r"\\sqrt{\1}"),
    (re.compile(r"\b(?:the )?cube root of (\d+(?:\.\d+)?)", re.I), r"\\sqrt[3]{\1}"),
    (re.compile(r"\blog base (\d+) of (\d+)", re.I), r"\\log_{\1} \2"),
    (re.compile(r"\bsum of (\d+(?:\.\d+)?) and (\d+(?:\.\d+)?)", re.I), r"sum: \1 + \2"),
    (re.compile(r"\bproduct of (\d+(?:\.\d+)?) and (\d+(?:\.\d+)?)", re.I), r"product: \1 * \2"),
    (re.compile(r"\bdifference (?:of|between) (\d+(?:\.\d+)?) and (\d+(?:\.\d+)?)", re.I), r"difference: \1 - \2"),
    (re.compile(r"(?<=\d)(/\d+)\s+of\s+(?=\d)", re.I), r"\1 * "),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stated:
    """An expression that a prompt states."""

    form: Form
    """How it is written."""
    asked: bool
    """Whether the prompt asks to work it out."""
    transformed: bool
    """Whether the prompt asks for another way to write it."""
    task: str
    """``factor``, ``expand`` or ``simplify`` where the prompt says so, else empty."""


def is_unworked(answer: str, prompt: str, references: Sequence[str]) -> bool:
    """Say whether an answer only repeats what the prompt states.

    Args:
        answer: The final answer of a completion, right or wrong.
        prompt: What was asked.
        references: The answers that count as right.
    """
    if answer in references or len(answer) > SHORT:
        return False
    numeral = _NUMERAL.fullmatch(answer) is not None
    if numeral and all(map(_NUMERAL.fullmatch, references)):
        return False
    given = _numerals_given(prompt)
    if given is not None and not given.issuperset(_DIGITS.findall(answer)):
        return False  # a numeral that is not the prompt's: something was worked out
    form = form_of(_spelt(answer))
    wanted = [form_of(reference) for reference in references]
    if form is None or None in wanted or form in wanted:
        return False
    stated = stated_in(prompt)
    if not stated:
        return False
    worked = [side for reference in wanted if reference is not None for side in _sides(reference)]
    sides = _sides(form)
    if any(side in worked for side in sides):
        return False
    if any(_repeats(form, sides, one, worked) for one in stated):
        return True
    return not numeral and any(
        _keeps_shape(side, one, worked) for one in stated if one.task for side in sides
    )


@lru_cache(maxsize=4_096)
def _numerals_given(prompt: str) -> frozenset[str] | None:
    """Return the digits that an echo of a prompt may have; None where it may have any."""
    if "%" in prompt or _RESHAPE.search(prompt):
        return None
    return frozenset(_DIGITS.findall(prompt)) | _SMALL


def _sides(form: Form) -> Sequence[Form]:
    """Return what an equation sets equal, a letter on its own left out: ``6/2`` of ``x = 6/2``."""
    if form[0] != "=":
        return (form,)
    return [side for side in form[1:] if side[0] != "letter"] or form[1:]


def _repeats(form: Form, sides: Sequence[Form], stated: Stated, worked: list[Form]) -> bool:
    """Say whether an answer, or each side of it, is the stated expression or its numerals not worked out."""
    return (form == stated.form and _is_question(form, stated)) or all(
        (side == stated.form and _is_question(side, stated)) or _is_uncounted(side, stated, worked)
        for side in sides
    )


def _is_question(form: Form, stated: Stated) -> bool:
    """Say whether an expression of this form is a question where it stands, not something merely mentioned."""
    if is_atom(form) or _is_fraction(form):
        return stated.transformed and any(atom[0] == "number" for atom in atoms(form))
    return stated.asked or _has_sum(form) or form[0] == "="


def _is_uncounted(form: Form, stated: Stated, worked: list[Form]) -> bool:
    """Say whether a form of numbers has all the numerals of the stated expression and is not counted out."""
    if is_atom(_unsigned(form)) or is_atom(stated.form):
        return False
    numbers = [_unsigned(side)[1] for side in worked if _unsigned(side)[0] == "number"]
    if len(numbers) < len(worked) or (_is_fraction(form) and any("/" in number for number in numbers)):
        return False
    if any(atom[0] in ("letter", "word", "text") for atom in atoms(form)):
        return False
    return _numerals(form) in _numeral_sets(stated.form)


def _unsigned(form: Form) -> Form:
    return form[1] if form[0] == "neg" else form


def _numerals(form: Form) -> frozenset[str]:
    return frozenset(atom[1] for atom in atoms(form) if atom[0] == "number")


def _numeral_sets(form: Form) -> tuple[frozenset[str], ...]:
    """Return the numerals of a form, its percentages written out in either way; the 2 of a root may be missing."""
    plain = _numerals(form)
    found = [plain, plain | {"2"}]
    if "100" in plain:
        rest = plain - {"100"}
        found.append(rest)
        found += [rest - {number} | {str(Fraction(number) / 100)} for number in rest]
    return tuple(found)


def _is_fraction(form: Form) -> bool:
    """Say whether a form is an integer over an integer, whatever its sign."""
    form = _unsigned(form)
    parts: tuple[Form, ...] = form[1:] if form[0] == "*" else (form,)
    whole = [part for part in parts if part[0] == "number" and part[1].isdecimal()]
    below = [part for part in parts if part[0] == "inv" and part[1][0] == "number" and part[1][1].isdecimal()]
    return len(below) == 1 and len(whole) < 2 and len(parts) == 1 + len(whole)


def _has_sum(form: Form) -> bool:
    if is_atom(form):
        return False
    return form[0] == "+" or any(map(_has_sum, form[1:]))


def _keeps_shape(answer: Form, stated: Stated, worked: list[Form]) -> bool:
    """Say whether an answer still has the shape that the prompt asked to change."""
    if stated.task == "factor":
        return answer[0] == "+" and all(_unsigned(wanted)[0] in ("*", "^") for wanted in worked)
    if stated.task == "expand":
        return _has_brackets(answer) and not any(map(_has_brackets, worked))
    size, asked = _size(answer), _size(stated.form)
    return size >= asked and all(_size(wanted) < asked for wanted in worked)


def _has_brackets(form: Form) -> bool:
    """Say whether a sum stands within a product or power."""
    if is_atom(form):
        return False
    if form[0] in ("*", "^") and any(part[0] == "+" for part in form[1:]):
        return True
    return any(map(_has_brackets, form[1:]))


def _size(form: Form) -> int:
    return sum(1 for _ in atoms(form))


@lru_cache(maxsize=4_096)
def stated_in(prompt: str) -> tuple[Stated, ...]:
    """Return the expressions that a prompt states; none where it offers answers to choose from."""
    if _CHOICE.search(prompt):
        return ()
    found: dict[Stated, None] = {}
    text = _spelt(prompt[-LONGEST:])
    for expression, start, end in _expressions(text):
        form = form_of(expression)
        if form is None or form[0] in ("letter", "word", "text", "command"):
            continue
        before = _STOP.split(text[max(0, start - 200) : start])[-1]
        after = _STOP.split(text[end : end + 100], maxsplit=1)[0]
        asked = _CALCULATE.search(before) is not None
        transformed = _TRANSFORM.search(before) is not None or _TRANSFORM.search(after) is not None
        found[Stated(form, asked, transformed, _task(before))] = None
        if len(found) == EXPRESSIONS:
            break
    return tuple(found)


def _task(before: str) -> str:
    tasks = (("factor", _FACTOR), ("expand", _EXPAND), ("simplify", _SIMPLIFY))
    return next((name for name, pattern in tasks if pattern.search(before)), "")


def _spelt(text: str) -> str:
    """Return a text with sums in words ("7 plus 5") written as formulas."""
    for pattern, formula in _WORDED if _IN_WORDS.search(text) else ():
        text = pattern.sub(formula, text)
    return text


def _expressions(text: str) -> Iterable[tuple[str, int, int]]:
    """Yield the expressions of a text and where they stand: its formulas, then what is written plainly."""
    plain = text
    for formula in _FORMULA.finditer(text):
        inside = next(filter(None, formula.groups()))
        if not _PROSE.search(inside):
            yield inside, *formula.span()
            plain = plain[: formula.start()] + "\0" * len(formula[0]) + plain[formula.end() :]
    for run in _RUN.finditer(plain):
        expression = _ARTICLE.sub("", run[0].strip()).lstrip(" *_|=").rstrip(" -+*_|=(")
        yield expression, *run.span()
