r"""Reads one expression, in LaTeX or plain arithmetic, into an exact value: a recursive-descent parser.

It reads sums, products (also implied ones), quotients, powers, roots, mixed numbers, letters with subscripts, small
factorials and binomials. Anything else, and whatever two readers would read differently (``1/2x``), raises
:class:`~rlar_graph.rewards.verifiers.maths_values.NotExact`: a stronger tool may know.
"""

from __future__ import annotations

import math
from fractions import Fraction

from rlar_graph.rewards.verifiers.maths_tokens import DIGITS, Token
from rlar_graph.rewards.verifiers.maths_values import NotExact, TooLarge, Value, constant, letter

FACTORIAL = 300
"""Largest number whose factorial is worked out."""
EXPONENT = 400
"""Largest exponent of ten in scientific notation."""

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ENDS = frozenset({")", "]", "}", "\\}"})
_GREEK = frozenset(
    (
        "\\alpha", "\\beta", "\\gamma", "\\delta", "\\theta", "\\phi", "\\varphi", "\\lambda", "\\mu", "\\sigma",
        "\\tau", "\\omega", "\\rho", "\\epsilon", "\\varepsilon", "\\psi", "\\eta", "\\kappa", "\\nu", "\\xi",
        "\\zeta", "\\Delta", "\\Omega", "\\Gamma", "\\ell",
    )
)  # fmt: skip
END = Token("end", "")


class Expression:
    """One pass over the tokens of an expression."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = list(tokens)
        self._at = 0

    def value(self) -> Value:
        """Return the value of the whole expression."""
        result = self._sum()
        if self._at != len(self._tokens):
            raise NotExact(f"does not go on with {self._peek().text!r}")
        return result

    def _peek(self, ahead: int = 0) -> Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else END

    def _take(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, text: str) -> None:
        if self._take().text != text:
            raise NotExact(f"{text!r} is missing")

    def _sum(self) -> Value:
        result = self._product()
        while self._peek().text in ("+", "-"):
            sign = self._take().text
            term = self._product()
            result = result + (term if sign == "+" else -term)
        return result

    def _product(self) -> Value:
        result, divided = self._signed(), False
        while True:
            token = self._peek()
            if token.text in ("*", "/", ":"):
                self._at += 1
                factor = self._signed()
                divided = token.text != "*"
                result = result * (factor.inverse() if divided else factor)
            elif self._begins_factor(token):
                if divided or (token.kind in ("number", "group") and self._peek(-1).kind != "sign"):
                    raise NotExact("an implied product with two readings")
                result = result * self._power()
            else:
                return result

    @staticmethod
    def _begins_factor(token: Token) -> bool:
        if token.kind == "sign":
            return token.text in _CLOSING
        return token.kind != "end" and token.text not in _ENDS

    def _signed(self) -> Value:
        sign = 1
        while self._peek().text in ("+", "-"):
            sign = -sign if self._take().text == "-" else sign
        result = self._power()
        return result if sign > 0 else -result

    def _power(self) -> Value:
        base_token = self._peek()
        base = self._atom()
        while self._peek().text == "!":
            self._at += 1
            base = _factorial(base)
        if self._peek().text != "^":
            return base
        self._at += 1
        exponent = self._exponent()
        if exponent is None:
            raise NotExact("an exponent that is no number")
        if base_token.text == "e" and exponent.denominator != 1:
            raise NotExact("a root of e")
        if exponent.denominator == 1:
            return base.power(exponent.numerator)
        if exponent.denominator == 2 and (base.rational() or 0) > 0:
            return base.power(exponent.numerator).root()
        raise NotExact("a fractional power")

    def _exponent(self) -> Fraction | None:
        token = self._peek()
        if token.text in ("{", "("):
            return self._bracketed().rational()
        if token.text in ("+", "-"):
            self._at += 1
            inner = self._exponent()
            return -inner if token.text == "-" and inner is not None else inner
        return self._atom().rational()

    def _bracketed(self) -> Value:
        opening = self._take().text
        result = self._sum()
        self._expect(_CLOSING[opening])
        return result

    def _atom(self) -> Value:
        token = self._peek()
        if token.kind in ("number", "group"):
            return self._number()
        if token.text in _CLOSING:
            return self._bracketed()
        if token.kind == "letter" or token.text in _GREEK or token.text == "\\pi":
            return self._letter()
        if token.kind == "word" and len(token.text) == 2 and token.text.isascii():
            self._tokens[self._at : self._at + 1] = [Token("letter", name) for name in token.text]
            return self._letter()
        self._at += 1
        if token.text == "\\frac":
            top, bottom = self._argument(), self._argument()
            return top * bottom.inverse()
        if token.text == "\\sqrt":
            return self._root()
        if token.text == "\\binom":
            return _binomial(self._argument(), self._argument())
        raise NotExact(f"{token.text!r} is not read here")

    def _number(self) -> Value:
        token = self._take()
        number = read_number(token.text)
        value = constant(number, "." in token.text)
        after = self._peek()
        if after.text == "_":
            raise NotExact("a number in another base")
        if token.text.isdecimal() and self._is_fraction_part():
            part = self._atom() if after.text == "\\frac" else self._plain_fraction()
            return value + part
        return value

    def _is_fraction_part(self) -> bool:
        """Say whether a proper fraction of integers follows, which makes a mixed number."""
        texts = [self._peek(ahead).text for ahead in range(7)]
        if texts[0] == "\\frac":
            if texts[1] == "{" and texts[3:5] == ["}", "{"] and texts[6] == "}":
                return texts[2].isdecimal() and texts[5].isdecimal() and int(texts[2]) < int(texts[5])
            return len(texts[1]) == 2 and texts[1].isdecimal() and texts[1][0] < texts[1][1]
        return (
            texts[0].isdecimal()
            and texts[1] == "/"
            and texts[2].isdecimal()
            and int(texts[0]) < int(texts[2])
        )

    def _plain_fraction(self) -> Value:
        top, _, bottom = self._take(), self._take(), self._take()
        return constant(Fraction(int(top.text), int(bottom.text)))

    def _letter(self) -> Value:
        name = self._take().text
        if name in ("f", "g", "h", "P", "p", "q", "F", "G") and self._peek().text == "(":
            raise NotExact("a function of its argument")
        if self._peek().text == "'":
            raise NotExact("a derivative")
        if self._peek().text == "_":
            self._at += 1
            if self._peek().text == "{":
                start = self._at
                while self._peek().text not in ("}", ""):
                    self._at += 1
                self._expect("}")
                inside = self._tokens[start + 1 : self._at - 1]
                return letter(f"{name}_{''.join(token.text for token in inside)}")
            return letter(f"{name}_{self._take().text}")
        return letter(name)

    def _argument(self) -> Value:
        token = self._peek()
        if token.text == "{":
            return self._bracketed()
        if token.kind == "number" and token.text.isdecimal():
            if len(token.text) > 2:
                raise NotExact("an argument with two readings")
            if len(token.text) == 2:
                self._tokens[self._at] = Token("number", token.text[1])
                return constant(int(token.text[0]))
            self._at += 1
            return constant(int(token.text))
        return self._atom()

    def _root(self) -> Value:
        if self._peek().text != "[":
            return (self._bracketed() if self._peek().text in ("{", "(") else self._atom()).root()
        degree = self._bracketed().rational()
        inside = (self._bracketed() if self._peek().text in ("{", "(") else self._atom()).rational()
        if degree is None or inside is None or not (degree.denominator == 1 and 2 <= degree <= 10):
            raise NotExact("a root that is not read here")
        if degree == 2:
            return constant(inside).root()
        return constant(_exact_root(inside, int(degree)))


def read_number(text: str) -> Fraction:
    """Return a numeral, also in scientific notation, as a rational."""
    mantissa, _, exponent = text.replace("E", "e").partition("e")
    if len(mantissa) > DIGITS or (exponent and abs(int(exponent)) > EXPONENT):
        raise TooLarge("a number with too many digits")
    number = Fraction(int(mantissa)) if mantissa.isdecimal() else Fraction(mantissa)
    return number * Fraction(10) ** int(exponent) if exponent else number


def _factorial(value: Value) -> Value:
    number = value.rational()
    if number is None or number.denominator != 1 or number < 0:
        raise NotExact("a factorial of no natural number")
    if number > FACTORIAL:
        raise TooLarge(f"the factorial of a number above {FACTORIAL}")
    return constant(math.factorial(int(number)))


def _binomial(upper: Value, lower: Value) -> Value:
    n, k = upper.rational(), lower.rational()
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        raise NotExact("a binomial of no natural numbers")
    if n > FACTORIAL:
        raise TooLarge(f"a binomial above {FACTORIAL}")
    return constant(math.comb(int(n), int(k)))


def _exact_root(number: Fraction, degree: int) -> Fraction:
    """Return a root that is rational."""
    sign = -1 if number < 0 and degree % 2 else 1
    if number * sign < 0:
        raise NotExact("an even root of a negative number")
    parts = []
    for part in (abs(number.numerator), number.denominator):
        if part.bit_length() > 900:
            raise NotExact("a root of a large number")
        guess = round(part ** (1 / degree))
        exact = next(
            (near for near in (guess - 1, guess, guess + 1) if near >= 0 and near**degree == part), None
        )
        if exact is None:
            raise NotExact("an irrational root of higher degree")
        parts.append(exact)
    return sign * Fraction(parts[0], parts[1])
