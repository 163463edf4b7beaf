"""What the exact cascade decides, both ways, and what it refuses to decide."""

from __future__ import annotations

import pytest

from rlar_graph.rewards.verifiers.exact_maths import decide
from rlar_graph.rewards.verifiers.maths_comparison import Ruling
from tests.patience import linear

EQUAL = [
    # numerals
    ("18", "18"), ("18", "18.00"), ("0", "-0"), ("0.4", ".4"), ("-5", "−5"), ("7425000", "7,425,000"),
    ("14916", "14{,}916"), ("1234567", "1 234 567"), ("2.74", "2,74"), ("1234.56", "1.234,56"), ("25", "２５"),
    ("1/3", r"0.\overline{3}"),
    (r"0.1\overline{6}", "1/6"), ("1{:}2", "0.5"), ("1200", r"1.2 \times 10^3"), ("0.00012", "1.2e-4"),
    ("5", r"\$5"), ("1000.99", "1,000.99€"),
    ("3000000", "3 million"),
    ("7", "seven"), ("120", "5!"), ("10", r"\binom{5}{2}"),
    # fractions
    (r"\frac{1}{2}", "0.5"), (r"\frac12", "1/2"), (r"\dfrac{10}{9}", "10/9"), ("-10/9", r"-\frac{10}{9}"),
    (r"11\frac{1}{2}", "11.5"), ("11 1/2", r"\frac{23}{2}"), ("1/3", "0.333333"), (r"\frac{2}{4}", r"\tfrac12"),
    # per cent, units, degrees
    (r"28\%", "28"), (r"28\%", "28 percent"), (r"20\%", "0.2"), ("1/5", r"20\%"), ("90^\\circ", "90"), ("90", "90°"),
    (r"15\mbox{ cm}^2", "15"), ("30", "30 yards"), ("5 cm", r"5\text{ centimeters}"), ("$18", "18 dollars"),
    # radicals, letters
    (r"2\sqrt{3}", r"\sqrt{12}"), (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    (r"\sqrt 2+\sqrt 5", r"\sqrt5+\sqrt2"),
    (r"\frac{1}{1+\sqrt{2}}", r"\sqrt{2}-1"), (r"\sqrt[3]{27}", "3"), ("8^{1/2}", r"2\sqrt2"),
    (r"\sqrt{2}", "1.414214"),
    (r"(1+\sqrt2)(1+\sqrt3)", r"1+\sqrt2+\sqrt3+\sqrt6"), (r"\frac{9}{4}\pi", r"\frac94\pi"), ("3π", r"\pi\cdot3"),
    (r"\sqrt{-4}", "2i"), ("(1+i)^2", "2i"), ("sqrt(8)", r"2\sqrt{2}"),
    ("x^2-1", "(x-1)(x+1)"), ("2-2p", "-2p+2"), (r"\frac{x^2-1}{x-1}", "x+1"), ("xy+yx", "2xy"),
    ("x_1+x_{2}", "x_2+x_1"),
    ("e^2 x", "xe^2"), ("(a+b)^3", "a^3+3a^2b+3ab^2+b^3"), ("0.5x", r"\frac{x}{2}"), (r"\frac{1}{x^2}", "x^{-2}"),
    # equations and inequalities
    ("5", "x = 5"), ("x = 1/3", "1/3"), ("x = 11", "x = 5+5+1 = 11"), ("x-2y+z-1=0", "2x-4y+2z=2"),
    ("y=2x+3", "2x-y+3=0"),
    (r"x \ge 5", "5 <= x"), ("x<1", "-x>-1"), ("x < 3", "2x - 6 < 0"), (r"x \neq 5", "x != 5"), ("1<x<2", "2>x>1"),
    ("x = 1/3", r"x=1/3\approx 0.33"), ("1.33", r"\frac{4}{3} \approx 1.33"),
    # groups
    ("(3, 1/2)", r"\left(3,0.5\right)"), ("[-4,0]", "[-4, 0]"), (r"(-\infty, 3]", r"(-\infty,\frac{6}{2}]"),
    (r"\{1,-2\}", "-2, 1"), ("12 and 13", r"12\text{ and }13"), (r"3 \pm 2\sqrt{2}", r"3-2\sqrt2, 3+2\sqrt2"),
    (r"x \in [0,1]", "[0,1]"), (r"x \le 3", r"(-\infty, 3]"), ("(1,2)", "{1,2}"), (r"\{3\}", "3"),
    ("100, 200", "100,200"),
    (r"(2,12) \cup (12,102)", r"(12,102) \cup (2,12)"), (r"\{-1\}\cup[0,7)", r"[0,7)\cup\{-1\}"),
    (r"\emptyset", r"\{\}"),
    ("x = 1, y = 2", "y=2, x=1"), ("(1,2), (3,4)", "(3,4),(1,2)"),
    ("(3, 4)", "x=3, y=4"), ("(3, 4)", "(x,y) = (3,4)"), (r"\{1,2\}", r"S = \{2, 1\}"), ("x+1", "f(x) = x+1"),
    ("0.75", "75% (3/4)"), ("3/4", "3/4 (or 0.75)"), ("5", "5 or 5.0"), ("72", r"\text{Total} = 72"),
    ("3.14", r"\approx 3.14"), ("y = 3", "3"),
    ("10", r"10\,\mathrm{m/s^2}"), ("10", r"10 \mathrm{~cm}"), ("12", r"12\text{ cm}^{3}"),
    ("2+3i", r"2+3\mathrm{i}"),
    # words, grids, bases
    ("1 0\n0 1", "1 0\n 0  1"),
    (r"\text{Evelyn}", "Evelyn"), (r"\text{E}", "E"), (r"\text{4:30 p.m.}", "4:30 PM"), ("Tuesday", "tuesday"),
    ("204_5", "204_{5}"), ("204_5", "204"),
]  # fmt: skip


DIFFERENT = [
    ("1 0 1 0", "0 1 0 1"), ("0", "3\n0\n0"),
    ("5", r"5\text{ or maybe six}"), ("4", "3 (4)"), ("1000", r"1001 \approx 1000"),
    ("1000.5", r"1001 \approx 1000.5"),
    (r"3\mathbf{a}", r"3\mathbf{b}"), ("3", r"3\mathbf{a}"), ("42", "41 or 42"), ("42", r"\pm 42"),
    ("42", r"\{41, 42\}"),
    ("5", r"2+3\mathrm{i}"), ("5", "5 or 6.0"), ("(4, 3)", "(x,y) = (3,4)"), ("72", r"\text{Total} = 71"),
    ("1", "0.9999999"), ("99.99999999", "100"), ("0.0000001", "0.0000002"),
    ("18", "19"), ("18", "-18"), ("12", "1.2"), ("32349", "32, 349"), ("1/3", "0.333"), ("0.333", "1/3"),
    ("1.5e-7", "2.5e-7"),
    (r"\frac{1}{2}", "2"), (r"11\frac12", r"\frac{11}{2}"), (r"20\%", "0.02"), ("5 cm", r"5\text{ m}"),
    ("5", "5 or 6"),
    (r"2\sqrt{3}", r"3\sqrt{2}"), (r"4", r"4\sqrt{2}"), (r"\sqrt{2}", "1.41"), ("3π", "3"), ("2i", "-2i"),
    ("x^2-1", "(x-1)^2"), ("x+2n+1", "x+1"), ("x", "y"), (r"\frac{x^2-1}{x-1}", "x-1"),
    ("5", "x = 6"), ("7 = 11a+c", "11a+c"), ("a+3z=0", "0"), ("x=1", "y=1"), ("x<1", "x>-1"), ("x<1", r"x\le1"),
    ("(3,1)", "(1,3)"), ("(3,1)", "{1,3}"), ("[0,1)", "(0,1)"), ("(1,2)", "(1,2,3)"), (r"\{1,2\}", "1"),
    ("42", "41, 42"),
    ("1, 2", "1, 2, 3"), (r"3 \pm \sqrt2", r"3+\sqrt2"), ("41", "41, 42, 43, 44"), (r"x \le 3", r"(-\infty,3)"),
    (r"\text{Evelyn}", "Briana"), ("4:30 p.m.", "4:30 a.m."), ("5", "none"), ("204_5", "204_6"), ("204_5", "203_5"),
    ("5", "the number of apples Bob has left over 2"),
]  # fmt: skip

UNKNOWN = [
    (r"\tan^2 y+1", r"\sec^2 y"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"\frac{1}{", "2"), ("1/2x", r"\frac{x}{2}"), ("e^{x}", r"\exp(x)"), (r"\log_2 8", "3"), ("x^2=1", "x = 1"),
    (r"[0,2]", r"[0,1]\cup[1,2]"), ("|x|", r"\sqrt{x^2}"), ("f(x)", "f(y)"), ("0.75", "3/4 (or 0.7)"),
    ("42", "42 wrong"),
    ("2^{10000}", "2^{10000}+1-1"),
    (r"\cos 60^\circ", "1/2"),
]  # fmt: skip

EXCESSIVE = [
    "9^{9^{9^{9}}}", "9^9^9^9", "(10^7)!", "10000000!", "9" * 5_000, "{" * 3_000 + "42" + "}" * 3_000, "10^{100000}",
    "+".join([r"(1+\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13})^{60}"] * 15),
    "+".join(f"(x+{index})^{{60}}" for index in range(60)),
    r"\sum_{k=1}^{10^9} k", r"\sum_{k=1}^{1000000000} k", "(a+b+c+d)^{60}", "x^{1000}", "1," * 60_000 + "42", "3!!!",
    "+".join(f"x_{{{index}}}" for index in range(300)), r"\binom{100000}{5}", "1e9999", "(" * 500 + ")" * 500,
]  # fmt: skip


@pytest.mark.parametrize(("reference", "answer"), EQUAL)
def test_the_same_answer_is_proven_the_same(reference: str, answer: str) -> None:
    assert decide(reference, answer) is Ruling.EQUAL


@pytest.mark.parametrize(("reference", "answer"), DIFFERENT)
def test_another_answer_is_proven_different(reference: str, answer: str) -> None:
    assert decide(reference, answer) is Ruling.DIFFERENT


@pytest.mark.parametrize(("reference", "answer"), UNKNOWN)
def test_what_is_not_read_is_left_open(reference: str, answer: str) -> None:
    assert decide(reference, answer) is Ruling.UNKNOWN


@pytest.mark.parametrize("answer", EXCESSIVE, ids=lambda answer: answer[:20])
def test_an_answer_beyond_the_caps_is_refused_at_once(answer: str) -> None:
    with linear():
        assert decide("42", answer) is Ruling.EXCESSIVE


@pytest.mark.parametrize(
    "unit", ["a", "1", "1,", "(", "{", "\\", "\\frac", "^", "x+", "$", "-", "!", " ", "\\text{", "2/"]
)
def test_long_answers_are_refused_in_linear_time(unit: str) -> None:
    with linear():
        assert decide("42", unit * (1_000_000 // len(unit))) in (Ruling.EXCESSIVE, Ruling.DIFFERENT)


@pytest.mark.parametrize(("reference", "answer"), [pair for pair in EQUAL if "=" not in "".join(pair)])
def test_equality_of_values_has_no_direction(reference: str, answer: str) -> None:
    assert decide(answer, reference) is not Ruling.EXCESSIVE
    if "," not in answer + reference and " or " not in answer and " (" not in answer:
        assert decide(answer, reference) is Ruling.EQUAL
