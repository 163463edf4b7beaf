"""A verifier from a model: what its source may contain, and how its calls become verdicts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.generated import MAX_CHARS, GeneratedVerifier, check_source
from rlar_graph.sandbox import Limits, Sandbox, open_sandbox
from rlar_graph.types import Rollout
from tests.patience import prompt

SPEC = ToolSpec("verifier-test-00000000", "verifier", "a test's verifier")
HEAD = "def score(prompt, completion, reference, **evidence):\n    "


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


def verifier(
    source: str, sandbox: Sandbox, seconds: float = 60.0, *, fresh: bool = False
) -> GeneratedVerifier:
    return GeneratedVerifier(
        SPEC, source, lambda: sandbox, Limits(seconds=seconds, memory_mb=256), fresh=fresh
    )


GOOD_SOURCES = [
    HEAD + "return 1.0 if completion == prompt else 0.0",
    "import re, json\nfrom datetime import date\n"
    + HEAD
    + "return float(re.compile('a').search(completion) is not None)",
    "import ast\n" + HEAD + "return float(ast.literal_eval(completion) == 1)",
    "class Board:\n    def __init__(self, n):\n        self.n = n\n" + HEAD + "return float(Board(1).n)",
    "def score(prompt, completion, reference=None, **evidence):\n    return 1.0",
    "def score(prompt, completion, *, reference, **evidence):\n    return 1.0",
]


@pytest.mark.parametrize("source", GOOD_SOURCES)
def test_honest_sources_have_no_problem(source: str) -> None:
    assert check_source(source) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n" + HEAD + "return float(os.getpid() > 0)", "os cannot be imported"),
        ("import socket\n" + HEAD + "return 1.0", "socket cannot be imported"),
        ("from urllib.request import urlopen\n" + HEAD + "return 1.0", "urllib.request cannot be imported"),
        (
            "import sympy\n" + HEAD + "return float(sympy.sympify(completion) == 1)",
            "sympy cannot be imported",
        ),
        ("from . import secrets\n" + HEAD + "return 1.0", "cannot be imported"),
        ("import random\n" + HEAD + "return random.random()", "random cannot be imported"),
        (HEAD + "return float(eval(completion))", "do not use eval"),
        (HEAD + "exec(completion)\n    return 1.0", "do not use exec"),
        (HEAD + "run = compile(completion, '', 'eval')\n    return 1.0", "do not use compile"),
        (HEAD + "return float(__import__('os').getpid())", "do not use __import__"),
        (HEAD + "return float(len(open('/etc/passwd').read()))", "do not use open"),
        (HEAD + "return float(getattr(prompt, 'x', 1))", "do not use getattr"),
        (HEAD + "return float(len(().__class__.__bases__))", "do not use .__class__"),
        (HEAD + "return float((i for i in ()).gi_frame.f_back is None)", "do not use .gi_frame"),
        (HEAD + "return float(hash(completion) % 2)", "differs between processes"),
        (
            "from datetime import date\n" + HEAD + "return float(date.today().year > 2000)",
            "must not depend on the clock",
        ),
        (
            "def check(prompt, completion, reference, **evidence):\n    return 1.0",
            "there is no function score",
        ),
        ("def score(completion, reference):\n    return 1.0", "wrong parameters"),
        ("def score(prompt, completion, reference):\n    return 1.0", "wrong parameters"),
        ("def score(prompt, completion, reference, size, **evidence):\n    return 1.0", "wrong parameters"),
        (HEAD + "pass", "returns nothing"),
        (HEAD + "return 1.0 +", "not valid Python"),
        (HEAD + "return '\0'", "not valid Python"),
        (HEAD + "return 1.0 #" + "x" * MAX_CHARS, "write at most"),
        (HEAD + "return " + "-" * 7_000 + "1", "not valid Python"),
        (
            "n = 0\ndef score(prompt, completion, reference, **evidence):\n    global n\n    return 1.0",
            "global",
        ),
    ],
)
def test_problems_are_named_for_the_writer(source: str, said: str) -> None:
    problems = check_source(source)
    assert problems and said in " ".join(problems)


def test_checking_never_runs_the_source() -> None:
    assert check_source("raise SystemExit('run')\n" + HEAD + "return 1.0") == []


def test_evidence_is_handed_over_by_name_and_only_where_there_is_some(sandbox: Sandbox) -> None:
    source = (
        HEAD
        + "return float(sorted(evidence) == reference and completion == evidence.get('language', 'none'))"
    )
    told = Rollout("p", ("fr", "de"), reference=["choices", "language"], choices=(("A", "x"),), language="fr")
    bare = Rollout("p", ("none",), reference=[])
    tool = verifier(source, sandbox)
    assert [[v.value for v in row] for row in tool.score([told, bare])] == [[1.0, 0.0], [1.0]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 2.0", "invalid"),
        ("return -0.5", "invalid"),
        ("return float('nan')", "invalid"),
        ("return 'yes'", "invalid"),
        ("return None", "invalid"),
        ("raise ValueError('no number')", "error: ValueError: no number"),
        ("while True: pass", "timeout"),
        ("x = 'a' * (1 << 33)\n    return 1.0", "memory"),
        ("return 1.0 if completion.nothing else 0.0", "error: AttributeError"),
    ],
)
def test_whatever_is_no_score_abstains_with_the_reason(body: str, said: str, sandbox: Sandbox) -> None:
    ((verdict,),) = verifier(HEAD + body, sandbox, 0.5 if said == "timeout" else 60.0).score(
        [Rollout("p", ("c",))]
    )
    assert verdict.value is None
    assert verdict.abstained and said in verdict.abstained


def test_one_bad_completion_spoils_no_other(sandbox: Sandbox) -> None:
    source = HEAD + "return float(int(completion) == 1)"
    ((one, broken, two),) = verifier(source, sandbox).score([Rollout("p", ("1", "x", "2"))])
    assert (one.value, broken.value, two.value) == (1.0, None, 0.0)


def test_equal_completions_of_a_rollout_get_equal_verdicts(sandbox: Sandbox) -> None:
    source = "calls = []\n" + HEAD + "calls.append(1)\n    return float(len(calls) % 2)"
    ((first, second),) = verifier(source, sandbox).score([Rollout("p", ("c", "c"))])
    assert first == second


def test_fresh_calls_share_no_state(sandbox: Sandbox) -> None:
    source = "calls = []\n" + HEAD + "calls.append(1)\n    return 1.0 / len(calls)"
    rollouts = [Rollout("p", tuple("abcd"))]
    kept = [verdict.value for verdict in verifier(source, sandbox).score(rollouts)[0]]
    apart = [verdict.value for verdict in verifier(source, sandbox, fresh=True).score(rollouts)[0]]
    assert len(set(kept)) > 1
    assert apart == [1.0] * 4


def test_a_verifier_that_hangs_is_given_up(sandbox: Sandbox) -> None:
    rollouts = [Rollout("p", tuple(f"{n}" for n in range(5_000)))]
    with prompt():  # and not 5,000 times 0.1 s
        (row,) = verifier(HEAD + "while True: pass", sandbox, 0.1).score(rollouts)
    assert all(verdict.value is None for verdict in row)
    assert row[-1].abstained and "not tried" in row[-1].abstained


def test_a_verifier_sees_neither_files_nor_network_nor_the_trainer(sandbox: Sandbox) -> None:
    # The static check would refuse these; here they meet the sandbox, which is the wall.
    for body in (
        "import socket; socket.create_connection(('127.0.0.1', 9), 1); return 1.0",
        "return float(len(open('/etc/passwd').read()) > 0)",
        "import os; return float(os.fork() >= 0)",
        "import os; return float('HOME' in os.environ)",
    ):
        ((verdict,),) = verifier(HEAD + body, sandbox, 1.0).score([Rollout("p", ("c",))])
        assert verdict.value in (None, 0.0), body


def test_a_megabyte_of_completion_is_judged(sandbox: Sandbox) -> None:
    ((verdict,),) = verifier(HEAD + "return float(len(completion) == 1000000)", sandbox).score(
        [Rollout("p", ("\ud800" + "x" * 999_999,))]
    )
    assert verdict.value == 1.0
