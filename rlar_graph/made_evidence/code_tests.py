"""Tests for code prompts without any: inputs on which independently written solutions agree about the output.

A model that writes input and output together is right about one time in eight; outputs on which independent solutions
agree are right nearly always. So a model is asked for inputs alone, the outputs come from running its solutions, and
a test that most solutions do not share is dropped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.made_evidence.made import MadeEvidence
from rlar_graph.made_evidence.outputs import MISSING, outputs_of
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.rewards.verifiers.code_block import find_program
from rlar_graph.sandbox.base import Limits, Sandbox, TestJob

SOLUTIONS, AGREEING = 4, 0.7
INPUTS, TESTS_NEEDED = 16, 4
DOCUMENTS = ("test_writer_solution", "test_writer_inputs")
PROGRAM = "solve"

_NAMED = re.compile(
    r"\bdef\s+(?P<defined>[A-Za-z_]\w*)\s*\(|\bfunction\s+(?:called|named)?\s*[`\"']?(?P<called>[A-Za-z_]\w*)[`\"']?\s*\("
    r"|\bfunction\s+(?:called|named)\s+[`\"']?(?P<named>[A-Za-z_]\w*)",
)
_STDIN = re.compile(
    r"\b(?:stdin|standard input|input format|first line of (?:the )?input|reads? .{0,40}\binput)\b", re.I
)


class Solution(BaseModel):
    """One independent solution."""

    code: str
    """Python that defines the function."""


class Inputs(BaseModel):
    """Inputs to try solutions on."""

    inputs: list[str]
    """Each the arguments of one call as a JSON array."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a prompt's code is called."""

    entry_point: str
    """Name of the function; :data:`PROGRAM` stands for a whole program that reads stdin."""
    is_program: bool
    """Whether tests are stdin and stdout pairs."""


def made_tests(
    prompts: Sequence[str], llm: LanguageModel | None, sandbox: Callable[[], Sandbox]
) -> list[MadeEvidence | LLMError | None]:
    """Return tests for each prompt; None where solutions do not agree or nothing says how they are called.

    Raises:
        SandboxError: The sandbox could not do its work.
    """
    return [None if llm is None else _made(prompt, llm, sandbox) for prompt in prompts]


def form_of(prompt: str) -> Form | None:
    """Return how the code that a prompt asks for is called; None where it does not say."""
    if _STDIN.search(prompt):
        return Form(PROGRAM, True)
    found = list(_NAMED.finditer(prompt))
    name = found[-1]["defined"] or found[-1]["called"] or found[-1]["named"] if found else ""
    return Form(name, False) if name else None


def _made(prompt: str, llm: LanguageModel, sandbox: Callable[[], Sandbox]) -> MadeEvidence | LLMError | None:
    form = form_of(prompt)
    if form is None:
        return None
    solution, inputs = (load_prompt(name).render(task=prompt, call=_how(form)) for name in DOCUMENTS)
    asked = llm.ask_many("probe_maker", [inputs], Inputs)[0]
    if isinstance(asked, LLMError):
        return asked
    replies = llm.sample("solver", solution, Solution, SOLUTIONS, seed=1)
    sources = [
        find_program(_fenced(reply.code), prompt, frozenset({form.entry_point}), frozenset()) or ""
        for reply in replies
        if isinstance(reply, Solution)
    ]
    if len(sources) < 2:
        return next(reply for reply in replies if isinstance(reply, LLMError))
    return _from_runs(form, sources, _arguments(asked.inputs, form), sandbox(), llm.model)


def _fenced(code: str) -> str:
    return code if "```" in code else f"```python\n{code}\n```"


def _how(form: Form) -> str:
    if form.is_program:
        return f"a function {PROGRAM}(text) that takes all of stdin as one text and returns all of stdout as one text"
    return f"the function {form.entry_point}, with the parameters that the task gives it"


def _arguments(inputs: Sequence[str], form: Form) -> list[str]:
    """Return the usable inputs as JSON arrays, no two alike."""
    found: dict[str, None] = {}
    for text in inputs[: 4 * INPUTS]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = [text] if form.is_program else None
        if form.is_program and not isinstance(value, list):
            value = [text]
        if isinstance(value, list) and (
            not form.is_program or (len(value) == 1 and isinstance(value[0], str))
        ):
            found[json.dumps(value)] = None
    return list(found)[:INPUTS]


def _from_runs(
    form: Form, sources: Sequence[str], inputs: Sequence[str], sandbox: Sandbox, model: str
) -> MadeEvidence | None:
    """Run every solution on every input and keep what they agree on; the tests must then hold for the solutions."""
    rows = [outputs_of(sandbox, source, form.entry_point, inputs) if source else [] for source in sources]
    kept: list[tuple[str, object]] = []
    votes: list[int] = []
    agreeing = set(range(len(sources)))
    for place, text in enumerate(inputs):
        given = [row[place] if row else MISSING for row in rows]
        value, voters = _most(given)
        if value is not MISSING and len(voters) >= max(2, math.ceil(AGREEING * SOLUTIONS)):
            kept.append((text, value))
            votes.append(len(voters))
            agreeing &= voters
    distinct = {repr(value) for _, value in kept}
    if len(kept) < TESTS_NEEDED or len(distinct) < 2 or len(agreeing) < 2:
        return None
    tests = _pairs(kept) if form.is_program else [_assertion(form.entry_point, *case) for case in kept]
    if not _hold(form, [sources[number] for number in sorted(agreeing)], tests, sandbox):
        return None
    payload: dict[str, object] = {"tests": tests, "language": "python"}
    if not form.is_program:
        payload["entry_point"] = form.entry_point
    return MadeEvidence("tests", payload, round(sum(votes) / len(votes) / SOLUTIONS, 3), model)


def _most(given: Sequence[object]) -> tuple[object, set[int]]:
    """Return the output that most solutions give, and which they are."""
    best: tuple[object, set[int]] = (MISSING, set())
    for value in given:
        voters = {
            number for number, other in enumerate(given) if value is not MISSING and _equal(value, other)
        }
        if len(voters) > len(best[1]):
            best = (value, voters)
    return best


def _equal(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return type(left) is type(right) and left == right


def _assertion(entry_point: str, arguments: str, value: object) -> str:
    call = f"{entry_point}({', '.join(map(repr, json.loads(arguments)))})"
    if isinstance(value, float):
        return f"assert abs({call} - {value!r}) <= 1e-06 * max(1.0, abs({value!r}))"
    return f"assert {call} == {value!r}"


def _pairs(kept: Sequence[tuple[str, object]]) -> list[Mapping[str, str]]:
    return [{"input": json.loads(text)[0], "output": str(value)} for text, value in kept]


def _hold(form: Form, sources: Sequence[str], tests: object, sandbox: Sandbox) -> bool:
    """Say whether the tests pass the solutions they came from, and fail a program that returns nothing."""
    stub = f"def {form.entry_point}(*arguments):\n    return None\n"
    tail = (
        f"\n\nimport sys\nresult = {PROGRAM}(sys.stdin.read())\nif result is not None:\n    print(result)\n"
    )
    programs = [f"{source}{tail}" if form.is_program else source for source in (*sources, stub)]
    outcomes = sandbox.run_tests_batch(
        [TestJob(program, tests, None) for program in programs], Limits(seconds=10.0)
    )
    passed = [outcome.status == "ok" and outcome.value == 1.0 for outcome in outcomes]
    return all(passed[:-1]) and not passed[-1]
