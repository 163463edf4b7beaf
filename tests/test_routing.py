"""Routing by evidence and answer type: one signature per row, and always a reason."""

from __future__ import annotations

import pytest

from rlar_graph.records import rollout_from
from rlar_graph.routing.options import read_options
from rlar_graph.routing.router import route
from rlar_graph.routing.signature import Signature

ADDS = "Write a function add(a, b) that adds two numbers."
COLOURS = "Which colour is warm?\n(A) red\n(B) blue\n(C) green"
PROSE = (
    "It is best to talk to the person in private and to say in a calm way what you saw and how it made you feel, "
    "and then to ask for their side of the story before you decide what to do."
)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"prompt": "What is 6 * 7?", "reference": "42"}, "math/number/reference/und"),
        ({"prompt": "How much?", "reference": "$1,234.50"}, "math/number/reference/und"),
        ({"prompt": "How much?", "reference": 42}, "math/number/reference/und"),
        ({"prompt": "How much?", "reference": "900,\\!000"}, "math/number/reference/und"),
        ({"prompt": "What share?", "reference": "\\frac{3}{8}"}, "math/number/reference/und"),
        ({"prompt": "What share?", "reference": "12.5\\%"}, "math/number/reference/und"),
        ({"prompt": "How far?", "reference": "12 miles"}, "math/number/reference/und"),
        ({"prompt": "Expand.", "reference": "x^2 + 2x + 1"}, "math/expression/reference/und"),
        ({"prompt": "Simplify.", "reference": "3\\sqrt{13}"}, "math/expression/reference/und"),
        ({"prompt": "Solve.", "reference": "(-\\infty, 3]"}, "math/expression/reference/und"),
        ({"prompt": "Solve.", "reference": "{1, 2, 3}"}, "math/expression/reference/und"),
        ({"prompt": "Solve.", "reference": "x = 5"}, "math/expression/reference/und"),
        ({"prompt": "Q", "reference": "We add.\n#### 42"}, "math/expression/reference/und"),
        (
            {"prompt": "Find the prime factors of 70.", "reference": "2 × 5 × 7"},
            "knowledge/string/reference/und",
        ),
        ({"prompt": COLOURS, "reference": "(A)"}, "knowledge/choice/reference/und"),
        ({"prompt": COLOURS, "reference": "red"}, "knowledge/choice/reference/und"),
        ({"prompt": "Q", "choices": ["12", "13"], "reference": "13"}, "knowledge/choice/reference/und"),
        ({"prompt": "Is it?", "reference": "yes"}, "knowledge/boolean/reference/und"),
        ({"prompt": "Is it?", "reference": True}, "knowledge/boolean/reference/und"),
        ({"prompt": "Who?", "reference": "Ada Lovelace"}, "knowledge/string/reference/und"),
        ({"prompt": "Who?", "answers": ["Ada", "Ada Lovelace"]}, "knowledge/string/reference/und"),
        ({"prompt": "Fill the grid.", "reference": "1 2\n2 1"}, "knowledge/string/reference/und"),
        ({"prompt": "When?", "reference": "00:34:28"}, "knowledge/string/reference/und"),
        ({"prompt": "Sort.", "reference": "ant, bee, cat"}, "knowledge/list/reference/und"),
        ({"prompt": "Sort.", "reference": ["ant", "bee"]}, "knowledge/list/reference/und"),
        ({"prompt": ADDS, "tests": ["assert add(1, 2) == 3"]}, "code/function/tests/python"),
        (
            {"prompt": ADDS, "tests": "def check(candidate): ...", "reference": "4"},
            "code/function/tests/python",
        ),
        ({"prompt": "Add.", "tests": [{"input": "1 2", "output": "3"}]}, "code/program/tests/python"),
        ({"prompt": "Add.", "tests": {"inputs": ["1"], "outputs": ["2"]}}, "code/program/tests/python"),
        ({"prompt": "Add.", "tests": {"inputs": [[1]], "fn_name": "f"}}, "code/function/tests/python"),
        (
            {"prompt": "Write.", "instruction_id_list": ["a:b"], "kwargs": [{}]},
            "instruction/text/constraints/und",
        ),
        ({"prompt": "Give JSON.", "schema": {"type": "object"}}, "structured/json/schema/und"),
        (
            {"prompt": "Conform to this JSON Schema.", "reference": '{"type": "object"}'},
            "structured/json/schema/und",
        ),
        (
            {"prompt": "Translate the following text into German.\n\nHi", "reference": "Hallo"},
            "translation/text/reference/de",
        ),
        ({"prompt": "When?", "reference": "1969-07-20"}, "knowledge/string/reference/und"),
        ({"prompt": "When?", "reference": "July 20, 1969"}, "knowledge/string/reference/und"),
        ({"prompt": "When?", "reference": "44 BC"}, "knowledge/string/reference/und"),
        ({"prompt": "Where?", "reference": "Paris, France"}, "knowledge/string/reference/und"),
        ({"prompt": "Which vitamin?", "reference": "D"}, "knowledge/string/reference/und"),
        ({"prompt": "Choose the best option.", "reference": "D"}, "knowledge/choice/reference/und"),
        ({"prompt": "How fast?", "reference": "9.8 m/s^2"}, "math/number/reference/und"),
        (
            {"prompt": "Translate the triangle by (3, 4).", "reference": "(4, 5)"},
            "math/expression/reference/und",
        ),
        ({"prompt": "Write a poem about the translation of old texts."}, "open/text/none/und"),
        ({"prompt": "Write a summary of your career."}, "open/text/none/und"),
        ({"prompt": "Write an email about the evening class."}, "open/text/none/und"),
        ({"prompt": "Write a story about a king in the Ruby palace."}, "open/text/none/und"),
        (
            {"prompt": "Translate this.\n\nHi", "lp": "en-fr", "reference": "Salut"},
            "translation/text/reference/fr",
        ),
        ({"prompt": "Translate into French: Hi"}, "translation/text/source/fr"),
        (
            {"prompt": "Summarize: ...", "reference": "A dog ran off in the park."},
            "summarization/text/reference/und",
        ),
        ({"prompt": "Summarize the article.\n\n" + PROSE * 2}, "summarization/text/source/und"),
        ({"prompt": "What should I do?", "reference": PROSE}, "open/text/reference/und"),
        ({"prompt": "Write a Python function that adds."}, "code/program/none/python"),
        ({"prompt": "Write a poem about rain."}, "open/text/none/und"),
        ({"prompt": "Write a poem.", "reference": "  "}, "open/text/none/und"),
    ],
)
def test_signature(record: dict[str, object], key: str) -> None:
    found = route(rollout_from(record))
    assert found.signature.key == key
    assert found.why
    assert "\n" not in found.why


def test_labels_of_the_data_set_are_not_looked_at() -> None:
    record = {
        "prompt": "Write a poem.",
        "task": "math",
        "source": "gsm8k",
        "dataset": "gsm8k",
        "subset": "code",
    }
    assert route(rollout_from(record)).signature.key == "open/text/none/und"


def test_keys_can_be_read_back() -> None:
    signature = Signature.parse("math/number/reference/und")
    assert signature.key == str(signature) == "math/number/reference/und"
    with pytest.raises(ValueError, match="physics"):
        Signature.parse("physics/number/reference/und")


@pytest.mark.parametrize(
    ("prompt", "labels"),
    [
        (COLOURS, "ABC"),
        ("Which?\nA. red\nB. blue", "AB"),
        ("Which?\nA) red\nB) blue\nC) green\nD) black", "ABCD"),
        ("Which? (A) red (B) blue (C) green", "ABC"),
        ("Example:\n(A) x\n(B) y\nAnswer: A\n\nWhich?\n(A) red\n(B) blue\n(C) green", "ABC"),
        ("Options:\n- (A) red\n- (B) blue", "AB"),
        ("A. Lovelace wrote it. Who was she?", ""),
        ("No options here.", ""),
    ],
)
def test_options_are_read_from_the_prompt(prompt: str, labels: str) -> None:
    assert "".join(label for label, _ in read_options(prompt)) == labels


def test_hostile_prompts_are_routed_in_time() -> None:
    for text in ("(A) " * 100_000, "$" * 200_000, "translate " * 50_000, "9" * 200_000, "((((" * 50_000):
        route(rollout_from({"prompt": text, "reference": text[:5_000]}))
