"""Where a completion's final answer is found, and where none is."""

from __future__ import annotations

import pytest

from rlar_graph.rewards.verifiers.final_answer import final_answer
from tests.patience import linear

FOUND = [
    # marked
    (r"First 6 \cdot 7, so the result is \(\boxed{42}\).", "42", "boxed"),
    (r"so \fbox{x^{2}+1} it is", "x^{2}+1", "boxed"),
    (
        r"\boxed{1} was my first idea, but then I saw the second root and that is what they want: \boxed{2}",
        "2",
        "boxed",
    ),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}", "boxed"),
    (r"Then \boxed 7$", "7", "boxed"),
    (r"$\boxed{28}$ percent", r"28\%", "boxed"),
    (r"\[ \boxed{-2} \quad \text{and} \quad \boxed{1}. \]", "-2, 1", "boxed"),
    (r"\boxed{5}, that is \boxed{5}", "5", "boxed"),
    ("3 + 4 = 7\n#### 7", "7", "hash"),
    ("#### 1,200", "1,200", "hash"),
    ("#### Step 1: add\n3 + 4 = 7\nThe answer is 7.", "7", "phrase"),
    ("<answer> 12 </answer>", "12", "tag"),
    (r"<answer>\boxed{12}</answer>", "12", "boxed"),
    ("I add them. <answer>The answer is 12</answer>", "12", "phrase"),
    ("<answer>Paris", "Paris", "tag"),
    ("The answer is 1.5.", "1.5", "phrase"),
    ("So the final answer is: **$18** dollars.", "$18** dollars", "phrase"),
    ("The answer to the question is 5", "5", "phrase"),
    ("Answer: $2000", "$2000", "phrase"),
    ("**Answer:** 3/4", "3/4", "phrase"),
    ("**Final Answer**\n\n42", "42", "phrase"),
    ("### Answer\n(-3, 4]\n", "(-3, 4]", "phrase"),
    ("6 * 61 = 366 trips\nA: 366", "366", "phrase"),
    ("Final Answer: The final answer is $(0, 1)$. I hope it is correct.", "$(0, 1)$", "phrase"),
    ("Final Answer: The volume of $ABCD$ is 120.", "120", "phrase"),
    (r"Answer \( (9+1) \)", r"\( (9+1) \)", "phrase"),
    ("The answer is B) Paris", "B) Paris", "phrase"),
    ("The answer is Paris, because it is the capital.", "Paris", "phrase"),
    ("答案是42。", "42", "phrase"),
    ("La réponse est 2,5.", "2,5", "phrase"),
    ("The answer is 41 or 42.", "41 or 42", "phrase"),
    ("The answer is\n\\[\nx = 3. \n\\]\nDone.", "\\[\nx = 3. \n\\]", "phrase"),
    # retracted
    (r"\boxed{42}. Wait, actually it's 7.", "7", "retraction"),
    ("The answer is 42. Hmm, wait, the answer is 7.", "7", "phrase"),
    ("The answer is 12. Sorry, it should be 15, as I forgot the tax.", "15", "retraction"),
    (r"\boxed{42}. Wait, let me check: 6 * 7 = 42. Good.", "42", "boxed"),
    # not marked
    ("42", "42", "bare"),
    ("= 12.00", "12.00", "bare"),
    ("So x = 5.", "x = 5", "bare"),
    ("Paris", "Paris", "bare"),
    (r"\frac{3}{4}", r"\frac{3}{4}", "bare"),
    ("The total is 42.", "42", "sentence"),
    ("So the total is **42**.", "42", "sentence"),
    (
        "He pays 3 times 6.\nTherefore, Janet makes $18 every day at the market. Hope this helps!",
        "$18",
        "sentence",
    ),
    ("Add up: 15*2=30 yards", "30 yards", "sentence"),
    ("Therefore $x > 5$ is the solution.", "$x > 5$", "sentence"),
    ("The capital of France is Paris.", "The capital of France is Paris", "bare"),
    ("We add and get\n\\[ 3 + 4 = 7 \\]", "3 + 4 = 7", "display"),
    ("The answer is: Natalia sold 72 clips in May.", "72", "phrase"),
    ("#### Natalia sold 72 clips", "72", "hash"),
    ("The answer is 1/2.\n\n**Answer:** $\\frac12$\n\n$\\boxed{0.5}$", "0.5", "boxed"),
    ("There are 12 eggs. He sells each for $2, so he makes $18.", "$18", "sentence"),
    ("We conclude that $f(x) = x^2$ for all $x$.", "$f(x) = x^2$", "sentence"),
    ("The solutions are x = 3 and x = -2.", "x = 3 and x = -2", "sentence"),
    (r"\boxed{42} Note: if we had used 5 boxes, the answer would be 35.", "42", "boxed"),
    ("答：42个", "42个", "phrase"),
    ("Final answer: 72 ✅", "72", "phrase"),
    ("Answer: June 5, 1990", "June 5, 1990", "phrase"),
    ("In total 48 + 24 = <<48+24=72>>72 clips.", "72 clips", "sentence"),
    ("Work:\n\\begin{align*}\nx &= 48+24 \\\\\n&= 72\n\\end{align*}", "72", "display"),
    # thought is not said
    ("<think>the answer is 3</think>The answer is 4.", "4", "phrase"),
    ("<think>a</think> <think>\\boxed{3}</think> \\boxed{4}", "4", "boxed"),
    ("The chance is 2/3.<|im_end|>\n<|im_start|>user\nThe answer is 5", "2/3", "sentence"),
]

NOT_FOUND = [
    "",
    " ",
    ".",
    ":",
    r"\boxed{}",
    "<answer></answer>",
    r"so the answer is \boxed{4",
    "<think>\\boxed{42} and so on",
    "The answer could be 2005, 2001, or 2000.",
    "It might be 41. Perhaps 42.",
    "The answer is not 41.",
    "Could the answer be 42? The answer is 42?",
    "The answer is 1. The answer is 2. The answer is 3.",
    "\n".join(f"The answer is {number}." for number in range(200)),
    "\n".join(f"#### {number}" for number in range(40)),
    "How many gallons will be left after 6 days?",
    "The reference answer is 42.",
    r"\boxed{42}. Scratch that, I was wrong.",
    "Many people would say 42, but I do not know.",
]


@pytest.mark.parametrize(("completion", "answer", "form"), FOUND)
def test_the_last_commitment_is_the_answer(completion: str, answer: str, form: str) -> None:
    found = final_answer(completion)
    assert found is not None
    assert (found.text, found.form) == (answer, form)
    assert answer.split()[-1].strip("\\%") in completion[slice(*found.span)]


@pytest.mark.parametrize("completion", NOT_FOUND)
def test_what_commits_to_nothing_has_no_answer(completion: str) -> None:
    assert final_answer(completion) is None


def test_a_trusted_text_is_read_whatever_follows() -> None:
    solution = (
        "Final answer: the final answer is $28$. Note: that is wrong. The correct approach is as follows:"
    )
    found = final_answer(solution, trusted=True)
    assert found is not None
    assert found.text == "$28$"


@pytest.mark.parametrize(
    "unit",
    [
        "a", "answer ", "answer is ", "the answer is 1. ", "$", "\\boxed{", "\\boxed{1} ", "{", "}", "<answer>",
        "<think>", "</think>", "#### 1\n", "#### ", "A: 1\n", " ", "\t", "*", "\n", "\\[", "\\]", "1,", "is ",
        "wait it's 7 ", "answer" + " " * 50, "x = ", "\\", "(", "Answer:\n", "so ", "$x$ ", "** ", ". ",
        "<|im_end|>", "\ud800", "no, ", "the ", "I ", "n't ", "a b", "$€", "-", "12", "12 ", "\\text{",
    ],
)  # fmt: skip
def test_a_megabyte_of_anything_takes_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    with linear():
        final_answer(text)
        final_answer("The answer is 4 " + text)
        final_answer(text + " is 4")
