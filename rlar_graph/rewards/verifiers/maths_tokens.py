r"""The tokens of a mathematical answer, in LaTeX or plain text, after everything that carries no meaning is gone.

One linear pass drops spacing, sizes and delimiters and gives each notation one spelling: ``\dfrac`` is ``\frac``,
``\le`` is ``<=``, ``×`` is ``*``, ``\text{ cm}`` is a word. Equal token lists are the same answer, whatever it means.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

LONGEST = 1_000
"""Characters that an answer may have."""
DIGITS = 400
"""Digits that one number may have."""
DEPTH = 60
"""Brackets and braces that may be open at once."""

_PLAIN = {
    "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "÷": "/", "∞": "\\infty ", "π": "\\pi ", "√": "\\sqrt ",
    "≤": "<=", "≥": ">=", "≠": "\\ne ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "≈": "\\approx ",
    "²": "^2", "³": "^3", "°": "", "’": "'", "∅": "\\emptyset ", "，": ",", "＝": "=", "θ": "\\theta ", "€": "",
    "£": "", "¥": "", "₹": "", "½": "\\frac12 ", "¼": "\\frac14 ", "¾": "\\frac34 ", "⅓": "\\frac13 ", "⅔": "\\frac23 ",
}  # fmt: skip
_FOREIGN = re.compile("[" + "".join(_PLAIN) + "０-９]")
_TOKEN = re.compile(
    r"\\(?:text|mbox|hbox|textbf|textrm|textit|mathrm|mathbf|mathit|operatorname\*?)\s{0,3}\{(?P<text>[^{}]*)\}"
    r"|\^\s{0,3}(?:\{\s{0,3}\\circ\s{0,3}\}|\\circ\b)(?P<degree>)"
    r"|(?P<command>\\(?:[A-Za-z]+|.))"
    r"|(?P<repeating>[0-9]*\.[0-9]*\\(?:overline|bar|dot)\s{0,3}\{[0-9]{1,40}\})"
    r"|(?P<group>[0-9]{1,3}(?:(?:,|\s?\{,\s?\}\s?|,?\\[,!]\s?|~|[ ])[0-9]{3})+(?![0-9])(?:\.[0-9]+)?)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4}(?![0-9A-Za-z.]))?)"
    r"|(?P<word>[^\W\d_]+(?:'[a-z]{1,2}\b)?)"
    r"|(?P<sign>\*\*|<=|>=|!=|[-+*/^_=<>()\[\]{},;:|!%'&.?~])"
    r"|(?P<space>[\s$`\"]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_GROUPING = re.compile(r"[^0-9.]")
_SAME = {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\cdot": "*", "\\times": "*", "\\ast": "*",
    "\\div": "/", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=",
    "\\lt": "<", "\\gt": ">", "\\neq": "\\ne", "!=": "\\ne", "\\lbrace": "\\{", "\\rbrace": "\\}", "\\%": "%",
    "**": "^", "\\lbrack": "[", "\\rbrack": "]", "\\colon": ":", "\\vert": "|", "\\lvert": "|", "\\rvert": "|",
    "\\mid": "|", "\\implies": "=>", "\\varnothing": "\\emptyset", "\\land": "and", "\\lor": "or", "\\degree": "",
    "\\langle": "(", "\\rangle": ")",
    "\\wedge": "and", "\\vee": "or", "\\simeq": "\\approx", "\\doteq": "\\approx",
}  # fmt: skip
_NOTHING = frozenset(
    (
        "", "~", "&", "\\", "\\ ", "\\\n", "\\&", '\\"', "\\'", "\\,", "\\;", "\\!", "\\:", "\\(", "\\)", "\\[", "\\]",
        "\\$", "\\>", "\\/", "\\left", "\\right", "\\big", "\\Big", "\\bigg", "\\Bigg", "\\bigl", "\\bigr", "\\Bigl",
        "\\Bigr", "\\biggl", "\\biggr", "\\displaystyle", "\\textstyle", "\\limits", "\\quad", "\\qquad", "\\boxed",
        "\\fbox", "\\rm", "\\bf", "\\it", "\\euro", "\\pounds", "\\mathstrut", "\\strut", "\\nonumber",
    )
)  # fmt: skip
_FUNCTIONS = frozenset(
    (
        "sqrt", "pi", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "arcsin", "arccos", "arctan",
        "sinh", "cosh", "tanh", "det", "gcd", "lcm", "max", "min", "infty", "theta", "alpha", "beta", "gamma", "lambda",
    )
)  # fmt: skip
_UNIT = re.compile(r"(?:[A-Za-z]{1,12}(?:\s?\^?\s?\{?-?[1-9]\}?)?[\s/*·.]{0,3}){1,4}")
_ESCAPED = re.compile(r"\\\\(?=[A-Za-z{}()\[\]])")


class Token(NamedTuple):
    """One token."""

    kind: str
    """``number``, ``word`` (two letters or more), ``letter``, ``text`` (in ``\\text{}``), ``command`` or ``sign``."""
    text: str
    """Its one spelling; a number without grouping."""


def tokenize(answer: str) -> list[Token]:
    """Return the tokens of an answer, in linear time."""
    if not answer.isascii():
        answer = _FOREIGN.sub(_plain, answer)
    if "\\" in answer and "\\begin" not in answer:
        answer = _ESCAPED.sub(r"\\", answer)
    answer = answer.replace("{:}", ":")
    tokens: list[Token] = []
    for found in _TOKEN.finditer(answer):
        kind = found.lastgroup or ""
        if kind not in ("space", "degree"):
            tokens += _letter_or_words(found) if kind == "text" else _token(kind, found[kind])
    while tokens and tokens[-1].text in (".", ",", ";", ":", "!"):
        if tokens[-1].text == "!" and len(tokens) > 1 and tokens[-2].kind != "word":
            break
        tokens.pop()
    return tokens


def _plain(found: re.Match[str]) -> str:
    """Return a foreign sign or wide digit in ASCII."""
    return _PLAIN[found[0]] if found[0] in _PLAIN else unicodedata.normalize("NFKC", found[0])


def _token(kind: str, text: str) -> tuple[Token, ...]:
    """Return what one match contributes."""
    if kind == "number":
        return (Token(kind, text.rstrip(".") if text.endswith(".") else text),)
    if kind == "group":
        return (Token(kind, _GROUPING.sub("", text)),)
    if kind == "repeating":
        return (Token("number", _repeating(text)),)
    if kind == "word":
        if len(text) == 1:
            return (Token("letter", text),)
        lower = text.lower()
        return (Token("command", "\\" + lower) if lower in _FUNCTIONS else Token("word", text),)
    text = _SAME.get(text, text)
    if text in _NOTHING:
        return ()
    if text in ("and", "or"):
        return (Token("word", text),)
    return (Token("command" if text.startswith("\\") else "sign", text),)


def _letter_or_words(found: re.Match[str]) -> tuple[Token, ...]:
    r"""Return what ``\text{}``, ``\mathrm{}`` and their like hold: a function, a letter, a unit, words, mathematics."""
    text = found["text"].replace("~", " ").strip()
    if text in _FUNCTIONS:
        return (Token("command", "\\" + text),)
    if text in ("e", "i") or (len(text) == 1 and found[0].startswith(("\\mathbf", "\\mathit"))):
        return (Token("letter", text),)
    if any(map(str.isdigit, text)) and not _UNIT.fullmatch(text):
        return tuple(tokenize(text))
    return (Token("text", text),)


def _repeating(text: str) -> str:
    r"""Return ``0.1\\overline{6}`` as the quotient it is, ``15/90``."""
    fixed, _, period = text.rstrip("}").partition("\\")
    period = period.partition("{")[2]
    whole, _, places = fixed.partition(".")
    start = int((whole + places) or "0")
    return f"{int(f'{start}{period}') - start}/{(10 ** len(period) - 1) * 10 ** len(places)}"


def normal_form(tokens: list[Token]) -> str:
    """Return the tokens as one text; equal texts are the same answer."""
    return " ".join(token.text.lower() if token.kind in ("word", "text") else token.text for token in tokens)


def excess(answer: str) -> str | None:
    """Return why an answer is too complex to be one, judged by its text alone; None if it is not."""
    if len(answer) > LONGEST:
        return f"longer than {LONGEST} characters"
    depth = deepest = 0
    for character in answer:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    if deepest > DEPTH:
        return f"nested more than {DEPTH} deep"
    if _LONG_NUMBER.search(answer):
        return f"a number of more than {DIGITS} digits"
    if _TOWER.search(answer):
        return "a tower of powers"
    return None


_LONG_NUMBER = re.compile(rf"[0-9]{{{DIGITS}}}")
_TOWER = re.compile(r"\^\s*[{(]?\s*[0-9A-Za-z]+\s*\^\s*[{(]?\s*[0-9A-Za-z]+\s*\^|[!]{3}")
