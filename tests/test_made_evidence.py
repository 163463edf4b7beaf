"""Made evidence: read by rule, extracted, solved and run; kept only where independent attempts agree."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel

from rlar_graph.made_evidence import MadeEvidence, make_evidence
from rlar_graph.made_evidence.code_tests import Inputs, Solution, form_of
from rlar_graph.made_evidence.constraint_rules import constraints_in
from rlar_graph.made_evidence.constraints import (
    PARAMETERS,
    Demand,
    Extraction,
    Parameter,
    is_usable,
    leaves_open,
)
from rlar_graph.made_evidence.outputs import MISSING, outputs_of
from rlar_graph.made_evidence.references import Attempt
from rlar_graph.resources import Resources
from rlar_graph.rewards.verifiers.code import CodeVerifier
from rlar_graph.rewards.verifiers.instructions import INSTRUCTION_IDS, InstructionVerifier
from rlar_graph.routing.router import route
from rlar_graph.sandbox import Sandbox, open_sandbox
from rlar_graph.settings import Settings
from rlar_graph.testing import Answer, ChatRequest, Script, ScriptedChatServer, failing
from rlar_graph.types import Rollout
from tests.patience import linear

READ: list[tuple[str, str, dict[str, object]]] = [
    (
        "Write a letter of at least 300 words.",
        "length_constraints:number_words",
        {"relation": "at least", "num_words": 300},
    ),
    (
        "Keep it under 50 words.",
        "length_constraints:number_words",
        {"relation": "less than", "num_words": 50},
    ),
    (
        "Use no more than twenty words.",
        "length_constraints:number_words",
        {"relation": "less than", "num_words": 21},
    ),
    (
        "Answer in 1,200+ words.",
        "length_constraints:number_words",
        {"relation": "at least", "num_words": 1200},
    ),
    (
        "Write more than 5 sentences.",
        "length_constraints:number_sentences",
        {"relation": "at least", "num_sentences": 6},
    ),
    (
        "Between 3 and 5 sentences, please.",
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 6},
    ),
    ("Reply without using any commas.", "punctuation:no_comma", {}),
    ("Your entire reply should be in lowercase letters.", "change_case:english_lowercase", {}),
    ("Everything must be written in capital letters.", "change_case:english_capital", {}),
    ("Give exactly 3 bullet points.", "detectable_format:number_bullet_lists", {"num_bullets": 3}),
    ("Wrap your entire answer in double quotation marks.", "startend:quotation", {}),
    ("Provide the answer in JSON.", "detectable_format:json_format", {}),
    ("Write 4 paragraphs separated by ***.", "length_constraints:number_paragraphs", {"num_paragraphs": 4}),
    (
        'Use the word "tide" at least 3 times.',
        "keywords:frequency",
        {"keyword": "tide", "relation": "at least", "frequency": 3},
    ),
    ('Include the keywords "salt" and "wind".', "keywords:existence", {"keywords": ["salt", "wind"]}),
    (
        "Do not use the words 'cold' or 'dark'.",
        "keywords:forbidden_words",
        {"forbidden_words": ["cold", "dark"]},
    ),
    (
        "The letter q should appear at least twice.",
        "keywords:letter_frequency",
        {"letter": "q", "let_relation": "at least", "let_frequency": 2},
    ),
    (
        'Finish with the exact phrase "See you at dawn."',
        "startend:end_checker",
        {"end_phrase": "See you at dawn."},
    ),
    (
        "At the end, add a postscript starting with P.S.",
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
    ),
    (
        "Highlight at least two sections in markdown.",
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
    ),
    (
        "Leave at least 3 placeholders in square brackets, such as [name].",
        "detectable_content:number_placeholders",
        {"num_placeholders": 3},
    ),
    (
        "Your whole response must be in Finnish, no other language is allowed.",
        "language:response_language",
        {"language": "fi"},
    ),
    ("Give it a title wrapped in double angular brackets.", "detectable_format:title", {}),
    ("Give two responses, separated by ******.", "combination:two_responses", {}),
    (
        "Write 5 paragraphs. The second paragraph must start with the word harbour.",
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 5, "nth_paragraph": 2, "first_word": "harbour"},
    ),
    (
        "Write 3 sections. Mark the beginning of each section with Section X.",
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 3},
    ),
    (
        "Use at least 4 words in all capital letters.",
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 4},
    ),
    (
        "Describe the sea. First repeat the request word for word without change.",
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Describe the sea."},
    ),
    (
        "Say 'My answer is yes.', 'My answer is no.' or 'My answer is maybe.'",
        "detectable_format:constrained_response",
        {},
    ),
]

LEFT_ALONE = [
    "Why do people use commas?",
    "Write a comma separated list, do not add anything.",
    "The word count of this essay is 300.",
    "Translate the sentence into French: I never use capital letters in my name.",
    "Each paragraph should have at least 3 sentences.",
    "He said that 12 words were missing.",
    "How many bullets does a revolver hold?",
    "",
]


@pytest.mark.parametrize(("prompt", "name", "kwargs"), READ, ids=lambda value: str(value)[:30])
def test_a_rule_reads_the_constraint_with_its_parameters(
    prompt: str, name: str, kwargs: Mapping[str, object]
) -> None:
    found = [constraint for constraint in constraints_in(prompt) if constraint.instruction_id == name]
    assert kwargs in [dict(constraint.kwargs) for constraint in found], constraints_in(prompt)
    assert all(is_usable(constraint) for constraint in found)


@pytest.mark.parametrize("prompt", LEFT_ALONE)
def test_no_rule_reads_what_is_not_demanded(prompt: str) -> None:
    assert constraints_in(prompt) == []


def test_rules_are_read_for_every_checker() -> None:
    assert {name for _, name, _ in READ} == set(INSTRUCTION_IDS) == set(PARAMETERS)


@pytest.mark.parametrize(
    "text",
    [
        "use the words " + " " * 1_000_000,
        "use the word " + '"a", ' * 200_000,
        "end with phrase " * 60_000,
        "do not use the words " + "a and " * 160_000,
        "at least 3 " * 90_000,
        "a-" * 500_000,
        "\n" * 1_000_000,
    ],
    ids=lambda text: text[:20],
)
def test_hostile_prompts_cost_no_time(text: str) -> None:
    with linear():
        constraints_in(text)


def test_rules_hold_on_published_labels(shared_data: Path) -> None:
    right = wrong = missed = 0
    with gzip.open(shared_data / "ifeval_responses.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            wanted = set(record["meta"]["instruction_id_list"])
            found = {constraint.instruction_id for constraint in constraints_in(record["prompt"])}
            right += len(wanted & found)
            wrong += len(found - wanted)
            missed += len(wanted - found)
    assert right / (right + wrong) >= 0.93
    assert right / (right + missed) >= 0.80


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


class Scripted:
    """Resources whose language model says what a script says."""

    def __init__(self, folder: Path, script: Script | None) -> None:
        self.server = ScriptedChatServer(script) if script is not None else None
        endpoint: dict[str, object] = {}
        if self.server is not None:
            endpoint = {"llm_base_url": self.server.base_url, "llm_model": "scripted"}
        self.resources = Resources(Settings.load(registry_url=f"sqlite:///{folder}/rlar.db", **endpoint))

    @property
    def requests(self) -> int:
        return len(self.server.requests) if self.server else 0

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *failure: object) -> None:
        self.resources.close()
        if self.server:
            self.server.close()


def by_seed(*replies: BaseModel) -> Callable[[ChatRequest], BaseModel]:
    """Return replies by the seed of the request, for requests at the same time come in any order."""
    return lambda request: replies[request.body["seed"] - 1]


def mark(rollout: Rollout, kind: str) -> Mapping[str, object]:
    made = cast(Mapping[str, Mapping[str, object]], rollout.metadata["made"])
    return made[kind]


def test_without_a_model_rules_alone_make_constraints(tmp_path: Path) -> None:
    asked = Rollout("Describe a storm in at least 40 words. Do not use any commas.")
    with Scripted(tmp_path, None) as world:
        (made,) = make_evidence([asked], world.resources)
    assert set(made.instruction_id_list) == {"length_constraints:number_words", "punctuation:no_comma"}
    assert mark(made, "constraints") == {"agreement": 1.0, "made_by": "rules"}
    assert str(route(made).signature.evidence) == "constraints"
    good, bad = "The wind rose and the sea turned grey. " * 6, "The wind rose, and the sea turned grey. " * 6
    (row,) = InstructionVerifier().score(
        [Rollout(made.prompt, (good, bad), instruction_id_list=made.instruction_id_list, kwargs=made.kwargs)]
    )
    assert [verdict.value for verdict in row] == [1.0, 0.0]


@pytest.mark.parametrize(
    "given",
    [
        Rollout("Use at least 40 words.", reference="42"),
        Rollout("Use at least 40 words.", tests=["assert f(1) == 2"]),
        Rollout("Use at least 40 words.", schema={"type": "object"}),
        Rollout("Use at least 40 words.", instruction_id_list=("punctuation:no_comma",), kwargs=({},)),
        Rollout("Use at least 40 words.", aliases=("x",)),
        Rollout("Use at least 40 words.", choices=(("A", "x"), ("B", "y"))),
    ],
    ids=lambda rollout: route(rollout).signature.key,
)
def test_made_evidence_never_outranks_given_evidence(tmp_path: Path, given: Rollout) -> None:
    with Scripted(tmp_path, "never asked") as world:
        assert make_evidence([given], world.resources) == [given]
        assert world.requests == 0


def extraction(*demands: tuple[str, str, dict[str, str]], others: tuple[str, ...] = ()) -> Extraction:
    return Extraction(
        demands=[
            Demand(
                quote=quote,
                checker=checker,
                parameters=[Parameter(name=name, value=value) for name, value in parameters.items()],
            )
            for quote, checker, parameters in demands
        ],
        others=list(others),
    )


LETTER = "Write to my aunt. Nowhere in the letter may the sign , occur. The tone must be warm."
NO_COMMA: tuple[str, str, dict[str, str]] = (
    "Nowhere in the letter may the sign , occur",
    "punctuation:no_comma",
    {},
)


def test_a_model_adds_what_attempts_agree_on_and_the_prompt_says(tmp_path: Path) -> None:
    invented: tuple[str, str, dict[str, str]] = ("Answer in JSON", "detectable_format:json_format", {})
    broken = (
        "The tone must be warm",
        "length_constraints:number_words",
        {"relation": "roughly", "num_words": "9"},
    )
    lonely = ("Write to my aunt", "keywords:existence", {"keywords": '["aunt"]'})
    replies = [
        extraction(NO_COMMA, invented, broken, lonely, others=("The tone is warm.", "It rhymes.")),
        extraction(NO_COMMA, invented, broken, others=("The tone of the letter is warm.",)),
        extraction(invented, broken, others=("Warm is what the tone is.",)),
    ]
    with Scripted(tmp_path, {"extractor": by_seed(*replies)}) as world:
        (made,) = make_evidence([Rollout(LETTER)], world.resources, ["constraints"])
        again = make_evidence([Rollout(LETTER), Rollout(LETTER)], world.resources, ["constraints"])
        assert world.requests == 3
    assert made.instruction_id_list == ("punctuation:no_comma",)
    assert mark(made, "constraints") == {
        "agreement": 0.667,
        "made_by": "scripted",
        "rubric": ["The tone is warm."],
    }
    assert again == [made, made]


def test_no_constraint_is_made_where_attempts_differ_and_that_is_remembered(tmp_path: Path) -> None:
    replies = [extraction(NO_COMMA), extraction(), extraction()]
    with Scripted(tmp_path, {"extractor": by_seed(*replies)}) as world:
        for _ in range(2):
            assert make_evidence([Rollout(LETTER)], world.resources, ["constraints"]) == [Rollout(LETTER)]
        assert world.requests == 3


def test_what_no_checker_covers_is_a_rubric_for_judges(tmp_path: Path) -> None:
    replies = [extraction(others=("The tone of the letter is warm.",))] * 3
    with Scripted(tmp_path, {"extractor": replies}) as world:
        (made,) = make_evidence([Rollout(LETTER)], world.resources, ["constraints"])
    assert made.instruction_id_list == () and made.kwargs == ()
    assert mark(made, "constraints")["rubric"] == ["The tone of the letter is warm."]
    assert str(route(made).signature.evidence) == "none"


def test_a_failing_model_leaves_rules_and_is_asked_again(tmp_path: Path) -> None:
    asked = Rollout("Use no commas. The tone must be warm.")
    calls: list[ChatRequest] = []

    def broken(request: ChatRequest) -> Answer:
        calls.append(request)
        return failing(400, "no")

    with Scripted(tmp_path, {"extractor": broken}) as world:
        (made,) = make_evidence([asked], world.resources, ["constraints"])
        assert made.instruction_id_list == ("punctuation:no_comma",)
        before = len(calls)
        make_evidence([asked], world.resources, ["constraints"])
        assert len(calls) > before


def test_a_prompt_that_rules_read_whole_is_asked_nothing() -> None:
    assert not leaves_open("Sing. Use no commas.", constraints_in("Sing. Use no commas."))
    assert leaves_open(LETTER, constraints_in(LETTER))


def attempt(answer: str, *, single: bool = True) -> Attempt:
    return Attempt(steps="worked out", single=single, answer=answer)


@pytest.mark.parametrize(
    ("attempts", "reference", "agreement"),
    [
        ([attempt("1/2"), attempt("0.5"), attempt("$\\frac{1}{2}$")], "1/2", 1.0),
        (
            [attempt("Paris"), attempt("paris."), attempt("Lyon"), attempt("Paris"), attempt("Paris")],
            "Paris",
            0.8,
        ),
        (
            [attempt("Paris"), attempt("Paris"), attempt("Lyon"), attempt("Nice"), attempt("Paris")],
            None,
            None,
        ),
        ([attempt("1"), attempt("2"), attempt("3")], None, None),
        ([attempt("red", single=False)] * 3, None, None),
        ([attempt("")] * 3, None, None),
    ],
    ids=["equal values", "four of five", "three of five", "none alike", "several are right", "no answer"],
)
def test_a_reference_is_what_solutions_agree_on(
    tmp_path: Path, attempts: list[Attempt], reference: str | None, agreement: float | None
) -> None:
    with Scripted(tmp_path, {"solver": by_seed(*attempts)}) as world:
        (made,) = make_evidence([Rollout("What is it?")], world.resources, ["references"])
        assert world.requests == len(attempts)
        assert make_evidence([Rollout("What is it?")], world.resources, ["references"]) == [made]
        assert world.requests == len(attempts)
    assert made.reference == reference
    if agreement:
        assert mark(made, "references") == {"agreement": agreement, "made_by": "scripted"}


MEDIAN = "Write a Python function called median3(a, b, c) that returns the middle one of three numbers."
INPUTS = Inputs(
    inputs=["[1, 2, 3]", "[3, 1, 2]", "[5, 5, 1]", "[-1, 0, -2]", "[0, 0, 0]", "not JSON", "[9, 7, 8]"]
)
SORTED = Solution(code="def median3(a, b, c):\n    return sorted([a, b, c])[1]")
SUMMED = Solution(code="def median3(a, b, c):\n    return a + b + c - max(a, b, c) - min(a, b, c)")
FENCED = Solution(
    code="Sure:\n```python\ndef median3(*xs):\n    xs = list(xs)\n    xs.sort()\n    return xs[1]\n```"
)
WRONG = Solution(code="def median3(a, b, c):\n    return b")
HANGING = Solution(code="def median3(a, b, c):\n    while True: pass")


def code_script(*solutions: Solution, inputs: Inputs = INPUTS) -> dict[str, object]:
    return {"probe_maker": [inputs], "solver": by_seed(*solutions)}


def test_tests_are_the_outputs_on_which_solutions_agree(tmp_path: Path) -> None:
    script = cast(Script, code_script(SORTED, SUMMED, FENCED, WRONG))
    with Scripted(tmp_path, script) as world:
        (made,) = make_evidence([Rollout(MEDIAN)], world.resources)
        assert world.requests == 5
        (row,) = CodeVerifier(world.resources.sandbox).score(
            [Rollout(made.prompt, (SORTED.code, WRONG.code), tests=made.tests, entry_point=made.entry_point)]
        )
        make_evidence([Rollout(MEDIAN)], world.resources)
        assert world.requests == 5
    assert "assert median3(3, 1, 2) == 2" in cast(list[str], made.tests)
    assert len(cast(list[str], made.tests)) == 6
    assert [verdict.value for verdict in row] == [1.0, 0.0]
    assert 0.75 <= cast(float, mark(made, "tests")["agreement"]) < 1.0
    assert route(made).signature.key == "code/function/tests/python"


@pytest.mark.parametrize(
    ("prompt", "solutions", "inputs"),
    [
        (MEDIAN, (SORTED, WRONG, WRONG, HANGING), INPUTS),
        (MEDIAN, (SORTED, SUMMED, FENCED, SORTED), Inputs(inputs=["[1, 2, 3]"])),
        (
            MEDIAN,
            (SORTED, SUMMED, FENCED, SORTED),
            Inputs(inputs=["[2, 2, 2]", "[1, 2, 3]", "[3, 2, 1]", "[2, 2, 3]"]),
        ),
    ],
    ids=["no majority", "too few inputs", "always the same output"],
)
def test_no_tests_where_solutions_do_not_settle_it(
    tmp_path: Path, prompt: str, solutions: tuple[Solution, ...], inputs: Inputs
) -> None:
    with Scripted(tmp_path, cast(Script, code_script(*solutions, inputs=inputs))) as world:
        assert make_evidence([Rollout(prompt)], world.resources, ["tests"]) == [Rollout(prompt)]


def test_a_program_is_tested_by_what_it_reads_and_prints(tmp_path: Path) -> None:
    prompt = "Write a Python program that reads numbers from standard input and prints their sum."
    summing = Solution(code="def solve(text):\n    return str(sum(map(int, text.split())))")
    looping = Solution(
        code="def solve(text):\n    n = 0\n    for word in text.split():\n        n += int(word)\n    return str(n)"
    )
    inputs = Inputs(inputs=['["1 2 3"]', '["-4"]', "5 6", '["10\\n20\\n"]', '["0"]'])
    with Scripted(
        tmp_path, cast(Script, code_script(summing, looping, summing, looping, inputs=inputs))
    ) as world:
        (made,) = make_evidence([Rollout(prompt)], world.resources, ["tests"])
        good = "```python\nimport sys\nprint(sum(int(word) for word in sys.stdin.read().split()))\n```"
        bad = "```python\nprint(6)\n```"
        (row,) = CodeVerifier(world.resources.sandbox).score([Rollout(prompt, (good, bad), tests=made.tests)])
    assert {"input": "1 2 3", "output": "6"} in cast(list[object], made.tests)
    assert [verdict.value for verdict in row] == [1.0, 0.0]


def test_code_whose_name_nobody_gives_has_no_tests(tmp_path: Path) -> None:
    prompt = "Write a Python function that reverses a list."
    assert form_of(prompt) is None
    with Scripted(tmp_path, "never asked") as world:
        assert make_evidence([Rollout(prompt)], world.resources, ["tests"]) == [Rollout(prompt)]
        assert world.requests == 0


def test_outputs_come_out_whole_and_only_as_literals(sandbox: Sandbox) -> None:
    source = (
        "import random\nclass Odd: pass\n"
        "def f(x):\n"
        "    if x == 'raise': raise ValueError\n"
        "    if x == 'object': return Odd()\n"
        "    if x == 'long': return 'x' * 5000\n"
        "    if x == 'chance': return random.random()\n"
        "    return {'text': 'naïve \\u2603', 'list': [1, 2.5, None, True], 'x': x}\n"
    )
    given = outputs_of(sandbox, source, "f", ['["raise"]', '["object"]', '["long"]', '["ok"]', "[1, 2]"])
    assert given[:3] == [MISSING, MISSING, MISSING] and given[4] is MISSING
    assert given[3] == {"text": "naïve ☃", "list": [1, 2.5, None, True], "x": "ok"}


def test_what_is_cached_reads_back_the_same() -> None:
    made = MadeEvidence("references", {"reference": "☃ \ud800"}, 0.8, "m")
    assert MadeEvidence.from_json(made.to_json()) == made
