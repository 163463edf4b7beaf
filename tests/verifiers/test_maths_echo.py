"""An answer that only repeats the question earns nothing; an honest one keeps its reward."""

from __future__ import annotations

import pytest

from rlar_graph.rewards.verifiers.maths_echo import is_unworked, stated_in
from rlar_graph.rewards.verifiers.maths_form import form_of

ECHOES = [
    ("Simplify 2x + 3x.", "5x", "2x + 3x"),
    ("Simplify 2x + 3x.", "5x", "2x+3x"),
    ("Simplify 2x + 3x.", "5x", "3x + 2x"),
    ("Simplify 2x + 3x.", "5x", "x*2 + x*3"),
    ("Simplify 2x + 3x.", "5x", "2x+3x+0"),
    ("Simplify 2x + 3x.", "5x", "2x+3x+1-1"),
    ("Simplify 2x + 3x.", "5x", "2x + 3x = 3x + 2x"),
    ("Simplify the expression $2x+3x$.", "5x", "$2x+3x$"),
    ("Factor x^2-1", "(x-1)(x+1)", "x^2-1"),
    ("Factor x^2-1", "(x-1)(x+1)", "-1+x^2"),
    ("Factor x^2-1", "(x-1)(x+1)", "1*(x^2-1)"),
    ("Factor $x^2-1$ completely.", "(x-1)(x+1)", "x^2-x+x-1"),
    ("Expand (x+1)^2", "x^2+2x+1", "(x+1)^2"),
    ("Expand (x+1)^2", "x^2+2x+1", "(1+x)(1+x)"),
    ("Solve for x: 2x=6", "3", "2x=6"),
    ("Solve for x: 2x=6", "x=3", "2x=6"),
    ("Solve for x: 2x=6", "x=3", "x = 6/2"),
    ("Solve for x: 2x=6", "3", "x = 6/2"),
    ("Solve for x: 2x + 3 = 9", "3", "(9-3)/2"),
    (r"Evaluate $\int_0^1 x dx$", "1/2", r"\int_0^1 x dx"),
    (r"Evaluate $\int_0^1 x dx$", "1/2", r"\int_0^1 x\,dx"),
    ("What is 15% of 80?", "12", "0.15*80"),
    ("What is 15% of 80?", "12", r"80 \times 15/100"),
    ("Convert 1/2 to a decimal.", "0.5", "1/2"),
    ("Convert 1/2 to a decimal.", "0.5", r"\frac{1}{2}"),
    ("Express 0.5 as a fraction.", "1/2", "0.5"),
    (r"Compute $\binom{5}{2}$", "10", r"\binom{5}{2}"),
    (r"Compute $\binom{5}{2}$", "10", r"\binom52"),
    (r"What is $\sqrt{16}$?", "4", r"\sqrt{16}"),
    ("What is sqrt(16)?", "4", "sqrt(16)"),
    ("What is the square root of 16?", "4", r"\sqrt{16}"),
    ("Find log_2 8.", "3", "log_2 8"),
    (r"Find $\log_2 8$.", "3", r"\log_2(8)"),
    ("What is 12/4?", "3", "12/4"),
    ("What is 12/4?", "3", r"\frac{12}{4}"),
    ("Simplify 6/8.", "3/4", "6/8"),
    (r"Simplify $\frac{6}{8}$.", "3/4", r"\frac68"),
    ("What is 7 plus 5?", "12", "7 + 5"),
    ("What is 7 plus 5?", "12", "7 plus 5"),
    ("What is the sum of 7 and 5?", "12", "7+5"),
    ("What is 2^10?", "1024", "2^{10}"),
    ("What is 5!?", "120", "5!"),
    ("Write 60 as a product of primes.", r"2^2 \cdot 3 \cdot 5", "60"),
    (r"Simplify $\sqrt{50}$.", r"5\sqrt{2}", r"\sqrt{50}"),
    ("Rewrite $x^2+2x+1$ as a square.", "(x+1)^2", "x^2+2x+1"),
    (r"Compute $3 \cdot 4 + 5$.", "17", r"3 \cdot 4 + 5"),
    ("Solve $x^2 = 16$ for positive x.", "4", r"\sqrt{16}"),
    (r"Evaluate $\sin 30^\circ$.", r"\frac12", r"\sin 30^\circ"),
    ("What is 1/4 + 1/4?", "1/2", "1/4+1/4"),
    ("What is 3/4 of 20?", "15", "3/4 * 20"),
    ("Find the roots of $x^2-5x+6=0$.", "2, 3", "x^2-5x+6=0"),
    ("Compute $i^2$.", "-1", "i^2"),
    ("Simplify (a+b)(a-b).", "a^2-b^2", "(a+b)(a-b)"),
    ("Simplify (a+b)(a-b).", "a^2-b^2", "(a-b)(b+a)"),
    ("Simplify -2x + 5x.", "3x", "-2x+5x"),
    ("What is 8% of 50?", "4", "8% of 50"),
    ("What is 7 times 8?", "56", r"7 \times 8"),
    (r"Evaluate $\frac{2^{10}}{2^8}$.", "4", r"\frac{2^{10}}{2^8}"),
    ("Multiply $(x+2)(x+3)$.", "x^2+5x+6", "(x+2)(x+3)"),
    ("Expand $(x+2)(x+3)$.", "x^2+5x+6", "x(x+3)+2(x+3)"),
    (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1", r"\frac{x^2-1}{x-1}"),
    (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1", r"\frac{(x-1)(x+1)}{x-1}"),
    (r"Write $\frac{3}{4}$ as a percentage.", r"75\%", "3/4"),
    ("Convert $0.75$ to a common fraction.", r"\frac{3}{4}", "0.75"),
    (r"Compute $\frac{1}{2} + \frac{1}{3}$.", r"\frac{5}{6}", r"\frac{1}{2}+\frac{1}{3}"),
    ("If $a+b=5$ and $ab=6$, find $a^2+b^2$.", "13", "a^2+b^2"),
    ("Find all solutions of $x^2=4$.", r"x = \pm 2", "x^2=4"),
    (r"Find the value of $x$ such that $\sqrt{x+7}=9$.", "74", "9^2-7"),
]  # fmt: skip
HONEST = [
    ("Simplify 2x + 3x.", "5x", "2x + 3x = 5x"),
    ("Simplify 2x + 3x.", "5x", "5x"),
    ("Simplify 2x + 3x.", "5x", r"x \cdot 5"),
    ("Simplify the expression $2x+3x$.", "5x", "5x"),
    ("Factor x^2-1", "(x-1)(x+1)", "(x+1)(x-1)"),
    ("Factor x^2-1", "(x-1)(x+1)", "x^2-1 = (x-1)(x+1)"),
    ("Expand (x+1)^2", "x^2+2x+1", "1+2x+x^2"),
    ("Solve for x: 2x=6", "3", "x = 3"),
    ("Solve for x: 2x=6", "3", "x = 6/2 = 3"),
    ("Solve for x: 3x = 2", r"\frac{2}{3}", "x = 2/3"),
    ("Solve for x: 6x = 4", r"\frac{2}{3}", "x = 4/6"),
    (r"Evaluate $\int_0^1 x dx$", "1/2", r"\int_0^1 x dx = \frac12"),
    ("What is 15% of 80?", "12", "0.15*80 = 12"),
    ("Convert 1/2 to a decimal.", "0.5", "0.5"),
    ("Express 0.5 as a fraction.", "1/2", "1/2"),
    (r"Compute $\binom{5}{2}$.", "10", r"$\binom{5}{2} = 10$"),
    ("What is the square root of 16?", "4", "4"),
    ("Write 12/4 as a fraction", "12/4", "12/4"),
    ("In how many ways can 5 books be ordered?", "120", "5!"),
    ("How many subsets has a set of 10 elements?", "1024", "2^{10}"),
    ("Write 60 as a product of primes.", r"2^2 \cdot 3 \cdot 5", r"2 \cdot 2 \cdot 3 \cdot 5"),
    ("A pizza has 10 slices and 5 are eaten. What fraction is left?", r"\frac{1}{2}", "5/10"),
    ("A recipe needs 1/2 cup of oil. How much oil, in cups, goes into one cake? Answer as a decimal.", "0.5", "1/2"),
    ("Which of these expressions equals 5x: 2x+3x or 2x*3x?", "5x", "2x+3x"),
    ("Which is larger, 2^10 or 10^3?", "1024", "2^10"),
    ("Let f(x) = x^2 - 1. Which polynomial is f(-x)?", "x^2-1", "x^2-1"),
    (r"Simplify $\sqrt{50}$.", r"5\sqrt{2}", r"5\sqrt2"),
    ("What is 9 + 4?", "13", "9 + 4 = 13"),
    (r"Compute $3 \cdot 4 + 5$.", "17", "12+5"),
    (r"Compute $3 \cdot 4 + 5$.", "17", "17"),
    ("Find the derivative of $x^2$.", "2x", "2x"),
    (r"Evaluate $\sin 30^\circ$.", r"\frac12", "1/2"),
    ("A line has equation y = 2x+3. What is its slope?", "2", "2"),
    ("What is 1/4 + 1/4?", "1/2", "2/4"),
    ("What is 3/4 of 20?", "15", "15"),
    ("Solve $2x+1=7$ for $x$. Give your answer as $x=...$", "x=3", "x=3"),
    ("Find the roots of $x^2-5x+6=0$.", "2, 3", "x=2, x=3"),
    ("Divide 7 by 2.", "3.5", "7/2"),
    ("What is 7 divided by 2?", "3.5", "7/2"),
    ("Simplify (a+b)(a-b).", "a^2-b^2", "a^2-b^2"),
    ("Simplify (a+b)(a-b).", "a^2-b^2", "-b^2+a^2"),
    ("Simplify -2x + 5x.", "3x", "3x"),
    ("What is 8% of 50?", "4", r"0.08 \cdot 50 = 4"),
    (r"Evaluate $\frac{2^{10}}{2^8}$.", "4", "2^2"),
    ("Expand $(x+2)(x+3)$.", "x^2+5x+6", "x^2+5x+6"),
    ("Expand $(x+2)(x+3)$.", "x^2+5x+6", "x^2+3x+2x+6"),
    (r"Simplify $\frac{x^2-1}{x-1}$.", "x+1", "1+x"),
    ("The length of a rectangle is x + 3 and its width is x. Find its area.", "x^2+3x", "x(x+3)"),
    ("The length of a rectangle is x + 3 and its width is x. Find its area.", "x(x+3)", "x^2+3x"),
    ("What is the inverse of $f(x) = 2x + 1$?", r"\frac{x-1}{2}", "(x-1)/2"),
    (r"Write $\frac{3}{4}$ as a percentage.", r"75\%", "75%"),
    ("A coin lands heads with probability 0.5. And tails? Answer as a common fraction.", r"\frac{1}{2}", "0.5"),
    ("Tom has 1/2 of a pie. He gives half of it away and gets it back. How much pie has he?", "0.5", "1/2"),
    (r"Compute $\frac{1}{2} + \frac{1}{3}$.", r"\frac{5}{6}", r"\frac{3+2}{6}"),
    (r"Compute $\frac{1}{2} + \frac{1}{3}$.", r"\frac{5}{6}", r"\frac{1}{2}+\frac{1}{3}=\frac56"),
    ("If $a+b=5$ and $ab=6$, find $a^2+b^2$.", "13", "(a+b)^2-2ab = 25-12 = 13"),
    ("If $a+b=5$ and $ab=6$, find $a^2+b^2$.", "13", "25-12"),
    ("Find all solutions of $x^2=4$.", r"\{-2,2\}", r"\pm 2"),
    (r"Find the value of $x$ such that $\sqrt{x+7}=9$.", "74", "81-7"),
    (r"Find the value of $x$ such that $\sqrt{x+7}=9$.", "74", "x=74"),
]  # fmt: skip


@pytest.mark.parametrize(("prompt", "reference", "answer"), ECHOES)
def test_what_the_prompt_states_is_no_answer(prompt: str, reference: str, answer: str) -> None:
    assert is_unworked(answer, prompt, (reference,))


@pytest.mark.parametrize(("prompt", "reference", "answer"), HONEST)
def test_an_honest_answer_is_left_alone(prompt: str, reference: str, answer: str) -> None:
    assert not is_unworked(answer, prompt, (reference,))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("2x+3x", "3 \\cdot x + 2*x"),
        ("a-(b+c)", "-c-b+a"),
        ("\\frac{a}{b}c", "c*a/b"),
        ("\\sqrt{16}", "16^{1/2}"),
        ("1*(x+0)", "x"),
        ("x=6", "6 = x"),
        ("2.0x", "2x"),
        ("--3", "3"),
        ("\\binom52", "\\binom{5}{2}"),
        ("15%", "15/100"),
    ],
)
def test_one_form_however_it_is_written(left: str, right: str) -> None:
    assert form_of(left) == form_of(right) is not None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("2x+3x", "5x"),
        ("x^2", "2^x"),
        ("a-b", "b-a"),
        ("1/2", "0.5"),
        ("x<2", "2<x"),
        ("f(x)", "x"),
        ("2!", "2"),
    ],
)
def test_another_form_is_another(left: str, right: str) -> None:
    assert form_of(left) != form_of(right)


@pytest.mark.parametrize(
    "text", ["", "(", "^2", "x^", ")", "\\frac", "{" * 100, "1" * 500, "x+" * 500, "+" * 400, "\\sqrt["]
)
def test_what_is_no_expression_has_no_form(text: str) -> None:
    assert form_of(text) is None


def test_a_prompt_that_offers_answers_states_nothing_to_work_out() -> None:
    assert stated_in("Which of these is 5x? 2x + 3x or 6x") == ()
    assert stated_in("Simplify 2x + 3x.\n(A) 5x\n(B) 6x") == ()
    assert len(stated_in("Simplify 2x + 3x.")) == 1


def test_long_prompts_and_answers_cost_little() -> None:
    for piece in ("(", "$", "2 ", "1+", "\\(", "a ", "^", "x y "):
        stated_in(piece * (200_000 // len(piece)))
        assert not is_unworked(piece * 100_000, "Simplify 2x + 3x.", ("5x",))
