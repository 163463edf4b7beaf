r"""Exact values: quotients of polynomials whose coefficients are rationals times square roots of integers.

Such a value has one canonical form for its numerator and one for its denominator, and the ring they live in has no
zero divisors, so two values are equal exactly when their cross products are the same dictionary. Letters, ``\pi``
and ``e`` are indeterminates; ``i`` squares to -1. Everything is capped: what would grow beyond the caps raises
:class:`TooLarge` before the work is done, and so does an answer whose many small steps add up (:func:`start_work`).
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

TERMS = 150
"""Terms that a polynomial may have."""
DEGREE = 60
"""Highest exponent of one letter."""
BITS = 4_096
"""Bits of a numerator or denominator."""
RADICAND = 10**8
"""Largest integer whose square part is looked for; larger perfect squares are still seen."""

Powers: TypeAlias = tuple[tuple[str, int], ...]
Monomial: TypeAlias = tuple[int, Powers]
"""Square-free radicand, and letters with their exponents in order."""
Polynomial: TypeAlias = dict[Monomial, Fraction]

WORK = 20_000
"""Products of terms that may be formed for one answer: tens of milliseconds."""

UNIT: Monomial = (1, ())
ONE: Polynomial = {UNIT: Fraction(1)}


class _Work(threading.local):
    """What the answer being read on this thread may still cost."""

    left = WORK


_work = _Work()


def start_work() -> None:
    """Allow :data:`WORK` products from here on, on this thread."""
    _work.left = WORK


class TooLarge(Exception):
    """A value would exceed the caps; the message says which."""


class NotExact(Exception):
    """A value is outside the ring, e.g. the square root of a letter, or not defined, e.g. 1/0."""


@dataclass(frozen=True, slots=True)
class Value:
    """A quotient of two polynomials."""

    top: Polynomial
    """Numerator; the empty dictionary is zero."""
    bottom: Polynomial
    """Denominator, never zero."""
    rounded: bool = False
    """Whether a decimal fraction took part, which may stand for what it was rounded from."""

    def __add__(self, other: Value) -> Value:
        rounded = self.rounded or other.rounded
        if self.bottom == other.bottom:
            return Value(add(self.top, other.top), self.bottom, rounded)
        left, right = multiply(self.top, other.bottom), multiply(other.top, self.bottom)
        return Value(add(left, right), multiply(self.bottom, other.bottom), rounded)

    def __neg__(self) -> Value:
        return Value({key: -factor for key, factor in self.top.items()}, self.bottom, self.rounded)

    def __mul__(self, other: Value) -> Value:
        rounded = self.rounded or other.rounded
        return Value(multiply(self.top, other.top), multiply(self.bottom, other.bottom), rounded)

    def inverse(self) -> Value:
        """Return 1 divided by the value."""
        if not self.top:
            raise NotExact("division by zero")
        return Value(self.bottom, self.top, self.rounded)

    def power(self, exponent: int) -> Value:
        """Return the value to an integer power."""
        base = self if exponent >= 0 else self.inverse()
        rational = base.rational()
        if rational is not None:
            size = max(rational.numerator.bit_length(), rational.denominator.bit_length())
            if size > 1 and size * abs(exponent) > 2 * BITS:
                raise TooLarge("a power with too many digits")
            sign = -1 if rational < 0 and exponent % 2 else 1
            return constant(sign * abs(rational) ** abs(exponent), self.rounded)
        if abs(exponent) > DEGREE:
            raise TooLarge("an exponent too high")
        result = Value(ONE, ONE, self.rounded)
        for _ in range(abs(exponent)):
            result = result * base
        return result

    def root(self) -> Value:
        """Return the square root of a rational."""
        rational = self.rational()
        if rational is None:
            raise NotExact("the square root of an expression")
        square, free = split_square(abs(rational.numerator) * rational.denominator)
        powers: Powers = (("i", 1),) if rational < 0 else ()
        top = {(free, powers): Fraction(square, rational.denominator)} if rational else {}
        return Value(top, ONE, self.rounded)

    def rational(self) -> Fraction | None:
        """Return the value if it is a rational number."""
        if any(key != UNIT for key in self.top) or any(key != UNIT for key in self.bottom):
            return None
        return self.top.get(UNIT, Fraction(0)) / self.bottom[UNIT]

    def approximate(self) -> float | None:
        """Return the value as a float if it is a real number without letters and of ordinary size."""
        top, bottom = _approximate(self.top), _approximate(self.bottom)
        if top is None or not bottom:
            return None
        return top / bottom

    def letters(self) -> set[str]:
        """Return the indeterminates, ``pi`` and ``e`` left out."""
        found = {letter for key in (*self.top, *self.bottom) for letter, _ in key[1]}
        return found - {"\\pi", "e", "i"}

    def equals(self, other: Value) -> bool:
        """Say whether two values are exactly equal."""
        if self.bottom == other.bottom:
            return self.top == other.top
        return multiply(self.top, other.bottom) == multiply(other.top, self.bottom)


def constant(number: Fraction | int, rounded: bool = False) -> Value:
    """Return a rational number as a value."""
    return Value({UNIT: Fraction(number)} if number else {}, ONE, rounded)


def letter(name: str) -> Value:
    """Return an indeterminate."""
    return Value({(1, ((name, 1),)): Fraction(1)}, ONE)


def add(left: Polynomial, right: Polynomial) -> Polynomial:
    """Return the sum of two polynomials."""
    total = dict(left)
    for key, factor in right.items():
        sum_ = total.get(key, 0) + factor
        if sum_:
            total[key] = sum_
        else:
            del total[key]
    return _checked(total)


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """Return the product of two polynomials."""
    if right == ONE:
        return left
    if left == ONE:
        return right
    if len(left) * len(right) > 8 * TERMS:
        raise TooLarge("too many terms")
    _work.left -= len(left) * len(right)
    if _work.left < 0:
        raise TooLarge("too many steps")
    total: Polynomial = {}
    for (root_a, powers_a), factor_a in left.items():
        for (root_b, powers_b), factor_b in right.items():
            shared = math.gcd(root_a, root_b)
            powers, sign = _joined(powers_a, powers_b)
            key = (root_a // shared * (root_b // shared), powers)
            sum_ = total.get(key, 0) + factor_a * factor_b * shared * sign
            if sum_:
                total[key] = sum_
            else:
                total.pop(key, None)
    return _checked(total)


def split_square(number: int) -> tuple[int, int]:
    """Return (s, f) with ``number == s * s * f`` and ``f`` square-free."""
    exact = math.isqrt(number)
    if exact * exact == number:
        return exact, 1
    if number > RADICAND:
        raise NotExact("a radicand too large to factor")
    square, divisor = 1, 2
    while divisor * divisor <= number:
        while number % (divisor * divisor) == 0:
            number //= divisor * divisor
            square *= divisor
        divisor += 1
    return square, number


def _joined(left: Powers, right: Powers) -> tuple[Powers, int]:
    """Return the product of two letter parts, and the sign that ``i`` leaves."""
    if not left or not right:
        return left or right, 1
    powers = dict(left)
    for name, exponent in right:
        powers[name] = powers.get(name, 0) + exponent
    sign = 1
    if powers.get("i", 0) > 1:
        exponent = powers.pop("i")
        sign = -1 if exponent % 4 >= 2 else 1
        if exponent % 2:
            powers["i"] = 1
    if max(powers.values(), default=0) > DEGREE:
        raise TooLarge("an exponent too high")
    return tuple(sorted(powers.items())), sign


def _checked(polynomial: Polynomial) -> Polynomial:
    """Return the polynomial if it keeps to the caps."""
    if len(polynomial) > TERMS:
        raise TooLarge("too many terms")
    for factor in polynomial.values():
        if factor.numerator.bit_length() > BITS or factor.denominator.bit_length() > BITS:
            raise TooLarge("a number with too many digits")
    return polynomial


def _approximate(polynomial: Polynomial) -> float | None:
    """Return a polynomial without letters as a float, None if it has letters or is out of range."""
    total = 0.0
    for (radicand, powers), factor in polynomial.items():
        try:
            term = float(factor) * math.sqrt(radicand)
            for name, exponent in powers:
                if name not in ("\\pi", "e"):
                    return None
                term *= (math.pi if name == "\\pi" else math.e) ** exponent
        except OverflowError:
            return None
        total += term
    return total
