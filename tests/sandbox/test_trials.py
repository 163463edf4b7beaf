"""Programs against tests: every form of tests, whose fault a failure is, and what crosses between the processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlar_graph.sandbox import Limits, Sandbox, TestJob, open_sandbox
from rlar_graph.sandbox.checks import plan_tests
from rlar_graph.sandbox.forms import Malformed, read_tests
from rlar_graph.sandbox.objects import BadTests, NeedsObjects
from rlar_graph.sandbox.programs import same_output

INC = "def inc(x): return x + 1"
EVALPLUS = """
import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    return False

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert type(out) == type(exp)
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match, f"out: {out}, exp: {exp}"

def check(candidate):
    inputs = [[1], [2.5], [-3]]
    results = [2, 3.5, -2]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""
UNITTEST = """
import unittest
class TestInc(unittest.TestCase):
    def test_one(self):
        self.assertEqual(inc(1), 2)
    def test_error(self):
        with self.assertRaises(TypeError):
            inc("a")
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


@pytest.mark.parametrize(
    ("tests", "entry", "total"),
    [
        (
            "METADATA = {}\ndef check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 3\n",
            "inc",
            2,
        ),
        (
            "def check(candidate):\n    assert candidate(1) == 2\n    assert inc(2) == 3\n\ncheck(inc)\n",
            None,
            2,
        ),
        ("def check(f):\n    for a, b in [(1, 2), (5, 6)]:\n        assert f(a) == b\n", "inc", 2),
        ("def check(f):\n    assert f(1) == 2 if True else False\n    print('done')", "inc", 1),
        (EVALPLUS, "inc", 3),
        (UNITTEST, "inc", 2),
        ("def test_a():\n    assert inc(1) == 2\ndef test_b():\n    assert inc(0) == 1\n", "inc", 2),
        ("from solution import inc\nassert inc(1) == 2", None, 1),
        (["assert inc(1) == 2", "assert inc(2) == 3", "assert inc(3) == 4"], None, 3),
        (["import math", "assert math.isclose(inc(1), 2)", "assert not inc(-1)"], None, 2),
        ("assert inc(1) == 2\nassert inc(1) is not None and inc(1) != 3", None, 2),
        ("x = inc(1)\nassert x == 2", None, 1),
        ("assert [inc(n) for n in range(3)] == [1, 2, 3]", "inc", 1),
        (
            "try:\n    inc('a')\n    raised = False\nexcept TypeError:\n    raised = True\nassert raised",
            "inc",
            1,
        ),
        ({"inputs": [[1], [2]], "outputs": [2, 3]}, "inc", 2),
        ({"inputs": ["1", "2"], "outputs": ["2", "3"], "fn_name": "inc"}, None, 2),
        ('{"inputs": [[1], [2]], "outputs": [[2], [3]], "fn_name": "inc"}', None, 2),
        ([{"input": "1", "output": "2", "testtype": "functional"}], "inc", 1),
    ],
)
def test_forms(sandbox: Sandbox, tests: object, entry: str | None, total: int) -> None:
    right = sandbox.run_tests(INC, tests, entry, Limits(seconds=60))
    assert (right.status, right.value, right.passed, right.total) == ("ok", 1.0, total, total), right
    assert right.attested
    assert right.fault == ""
    wrong = sandbox.run_tests("def inc(x): return 17", tests, entry, Limits(seconds=60))
    assert wrong.status == "ok"
    assert wrong.value is not None
    assert wrong.value < 1
    assert wrong.fault == "program"


@pytest.mark.parametrize(
    "pairs",
    [
        [["1 2\n", "3\n"], ["5 6", "11"]],
        [("1 2", "3  \n\n"), ("5 6", "11")],
        [{"input": "1 2", "output": "3"}, {"input": "5 6", "output": "11"}],
        {"inputs": ["1 2", "5 6"], "outputs": ["3", "11"]},
        {"input": ["1 2", "5 6"], "output": ["3", "11"]},
    ],
)
@pytest.mark.parametrize(
    "program",
    [
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\na, b = map(int, sys.stdin.read().split())\nsys.stdout.write(str(a + b))",
        "import sys\na, b = map(int, sys.stdin.buffer.readline().split())\nprint(a + b, flush=True)\nsys.exit(0)",
        "import os\na, b = map(int, os.read(0, 99).split())\nos.write(1, b'%d' % (a + b))",
        "a, b = map(int, open(0).read().split())\nprint(a + b)\nexit()",
        "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()",
        "import sys\nfor line in sys.stdin:\n    print(sum(int(x) for x in line.split()))\nraise SystemExit",
        "import sys\ninput = sys.stdin.readline\nprint(sum(map(int, input().split())))",
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
        "print(sum(map(int, input().split())) + f(20000) * 0)",
    ],
)
def test_programs(sandbox: Sandbox, program: str, pairs: object) -> None:
    outcome = sandbox.run_tests(program, pairs)
    assert (outcome.status, outcome.value, outcome.passed, outcome.total) == ("ok", 1.0, 2, 2), outcome


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print(4)", "ok"),
        ("print(1/0)", "ok"),
        ("print(3); raise ValueError", "ok"),
        ("print(3); import sys; sys.exit(1)", "ok"),
        ("import os; os._exit(0)", "ok"),
        ("print(", "ok"),
        ("while True: pass", "timeout"),
        ("while True: print('x' * 100000)", "ok"),
        ("x = bytearray(1 << 40)", "memory"),
        ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", "ok"),
    ],
)
def test_wrong_programs(sandbox: Sandbox, program: str, status: str) -> None:
    limits = Limits(seconds=1 if status == "timeout" else 60)
    outcome = sandbox.run_tests(program, [["1 2", "3"], ["1 2", "3"]], limits=limits)
    assert outcome.status == status
    assert outcome.value in (0.0, None)
    assert (outcome.passed, outcome.total, outcome.fault) == (0, 2, "program")


def test_a_program_that_passes_some(sandbox: Sandbox) -> None:
    outcome = sandbox.run_tests("print(3)", [["1 2", "3"], ["5 6", "11"]])
    assert (outcome.value, outcome.passed, outcome.total) == (0.5, 1, 2)
    outcome = sandbox.run_tests("def f(x): return 1", ["assert f(0) == 1", "assert f(1) == 2"])
    assert (outcome.value, outcome.passed, outcome.total) == (0.5, 1, 2)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f(x) return x", "error"),
        ("import nothing_of_the_kind", "error"),
        ("raise SystemExit", "error"),
        ("x = bytearray(1 << 40)", "memory"),
        ("def f(x): return len(bytearray(1 << 40))", "memory"),
        ("import os; os._exit(0)", "crashed"),
        ("import os\ndef f(x): os._exit(0)", "crashed"),
        ("while True: pass", "timeout"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("def f(x): raise ValueError", "ok"),
        ("def g(x): return x", "ok"),
        ("f = 3", "ok"),
        ("def f(x): return lambda: x", "ok"),
        ("class Any:\n    def __eq__(s, o): return True\ndef f(x): return Any()", "ok"),
    ],
)
def test_a_failure_is_the_programs_fault(sandbox: Sandbox, program: str, status: str) -> None:
    limits = Limits(seconds=0.5 if status == "timeout" else 60)
    outcome = sandbox.run_tests(program, ["assert f(1) == 1", "assert f(2) == 2"], "f", limits)
    assert (outcome.status, outcome.fault, outcome.passed) == (status, "program", 0)
    assert outcome.value in (0.0, None)


@pytest.mark.parametrize(
    "tests",
    [
        "",
        "assert (",
        "raise KeyError",
        "import nothing_of_the_kind\nassert f(1) == 1",
        "1 + 1",
        [],
        [[1, 2, 3]],
        [["1", None]],
        {"inputs": ["1"], "outputs": []},
        {"inputs": ["1"]},
        {"inputs": "1", "outputs": 3},
        7,
        None,
        [{"in": 1}],
        "s = Stack()\ns.push(1)\nassert s.pop() == 1",
        "assert f(1).name == 'x'",
        "assert f(1)(2) == 3",
        "assert f(lambda x: x) == 1",
    ],
)
def test_a_fault_of_the_tests_is_not_the_programs(sandbox: Sandbox, tests: object) -> None:
    outcome = sandbox.run_tests("def f(x): return x", tests)
    assert (outcome.status, outcome.fault, outcome.value) == ("refused", "sandbox", None), outcome
    assert outcome.detail


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(): return (1, [2, {'a': (3,)}])", "f() == (1, [2, {'a': (3,)}])"),
        ("def f(): return [1, 2]", "f() != (1, 2)"),
        ("def f(): return {1, 2}", "f() == {2, 1}"),
        ("def f(): return frozenset([1])", "f() == frozenset([1])"),
        ("def f(): return 2 ** 100", "f() == 2 ** 100"),
        ("def f(): return 1j", "f() == 1j"),
        ("def f(): return b'a'", "f() == b'a'"),
        ("def f(): return '\\ud800'", "f() == '\\ud800'"),
        ("def f(): return float('nan')", "f() != f()"),
        ("def f(): return True", "f() is True"),
        ("def f(): return None", "f() is None"),
        ("def f(): return (n for n in (1, 2))", "list(f()) == [1, 2]"),
        ("def f(): return map(str, (1, 2))", "list(f()) == ['1', '2']"),
        ("def f(): return range(3)", "f() == range(3)"),
        ("def f(): return {1: 2}.keys()", "sorted(f()) == [1]"),
        ("from collections import Counter\ndef f(): return Counter('aab')", "f() == {'a': 2, 'b': 1}"),
        ("from collections import defaultdict\ndef f(): return defaultdict(int, a=1)", "f() == {'a': 1}"),
        ("from collections import deque\ndef f(): return deque([1])", "list(f()) == [1]"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x')\ndef f(): return P(1)", "f() == (1,)"),
        ("from decimal import Decimal\ndef f(): return Decimal('0.1')", "str(f()) == '0.1'"),
        ("from fractions import Fraction\ndef f(): return Fraction(1, 3)", "f() * 3 == 1"),
        ("from enum import IntEnum\nclass E(IntEnum):\n    A = 1\ndef f(): return E.A", "f() == 1"),
        ("import numpy as np\ndef f(): return np.float64(0.5)", "f() == 0.5"),
        ("import numpy as np\ndef f(): return np.int64(5)", "f() == 5"),
        ("def f(*a, **k): return [a, k]", "f(1, b=2) == [(1,), {'b': 2}]"),
        ("import datetime\ndef f(): return datetime.date(2024, 2, 29)", "f().isoformat() == '2024-02-29'"),
        (
            "import datetime as d\ndef f(): return d.datetime(2024, 1, 1, tzinfo=d.timezone.utc)",
            "str(f())[-3:] == ':00'",
        ),
        ("import datetime as d\ndef f(): return [d.time(1, 2), d.timedelta(1)]", "len(f()) == 2"),
        ("import numpy as np\ndef f(): return np.eye(2)", "(f() == [[1, 0], [0, 1]]).sum() == 4"),
        ("import numpy as np\ndef f(): return np.array([1, 2])", "f().tolist() == [1, 2]"),
    ],
)
def test_answers_cross_as_they_are(sandbox: Sandbox, program: str, test: str) -> None:
    outcome = sandbox.run_tests(program, [f"assert {test}"], "f", Limits(seconds=60))
    assert outcome.value == 1.0, outcome


def test_changes_to_arguments_are_seen(sandbox: Sandbox) -> None:
    program = "def f(a, b, c):\n    a.sort()\n    b['k'] = 1\n    c.add(9)"
    tests = (
        "a, b, c = [3, 1], {}, {1}\nf(a, b, c)\nassert a == [1, 3]\nassert b == {'k': 1}\nassert c == {1, 9}"
    )
    outcome = sandbox.run_tests(program, tests, "f")
    assert (outcome.value, outcome.total) == (1.0, 3)


@pytest.mark.parametrize("error", ["ValueError", "KeyError", "ZeroDivisionError", "TypeError", "IndexError"])
def test_exceptions_cross_by_name(sandbox: Sandbox, error: str) -> None:
    tests = f"def check(f):\n    try:\n        f()\n    except {error}:\n        pass\n    else:\n        assert 0\n"
    assert sandbox.run_tests(f"def f(): raise {error}('x')", tests, "f").value == 1.0
    own = f"class Mine({error}): pass\ndef f(): raise Mine('x')"
    assert sandbox.run_tests(own, tests, "f").value == 1.0
    assert sandbox.run_tests("def f(): return 1", tests, "f").value == 0.0


@pytest.mark.parametrize(
    "error", ["StopIteration", "AssertionError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"]
)
def test_exceptions_cannot_end_the_tests_early(sandbox: Sandbox, error: str) -> None:
    program = f"def f(x): raise {error}"
    for tests in (
        "assert all(map(f, [1, 2]))",
        "for x in map(f, [1, 2]):\n    assert x == 3\nassert f(1) == 2",
    ):
        outcome = sandbox.run_tests(program, tests, "f")
        assert outcome.value == 0.0
    swallowed = "try:\n    assert f(1) == 2\nexcept AssertionError:\n    pass\nassert f(1) == 2"
    assert sandbox.run_tests(program, swallowed, "f").value == 0.0


def test_classes_need_a_shared_process_and_say_so(sandbox: Sandbox) -> None:
    program = "class Stack:\n    def __init__(self): self.x = []\n    def push(self, v): self.x.append(v)"
    tests = "s = Stack()\ns.push(1)\nassert s.x == [1]"
    apart = sandbox.run_tests(program, tests)
    assert (apart.status, apart.fault) == ("refused", "sandbox")
    assert "same_process" in apart.detail
    together = sandbox.run_tests(program, tests, same_process=True)
    assert (together.value, together.attested) == (1.0, False)
    wrong = sandbox.run_tests(
        "class Stack:\n    x = []\n    def push(self, v): pass", tests, same_process=True
    )
    assert (wrong.value, wrong.attested, wrong.fault) == (0.0, False, "program")


def test_methods_of_a_solution_class(sandbox: Sandbox) -> None:
    program = "class Solution:\n    def twice(self, x): return 2 * x"
    for tests, entry in (
        ("def check(f):\n    assert f(2) == 4", "twice"),
        ("def check(f):\n    assert f(2) == 4\ncheck(Solution().twice)", None),
        ("assert Solution().twice(2) == 4", None),
        ({"inputs": ["2"], "outputs": ["4"], "fn_name": "twice"}, None),
    ):
        assert sandbox.run_tests(program, tests, entry).value == 1.0, (tests, entry)


def test_a_hang_keeps_what_passed(sandbox: Sandbox) -> None:
    program = "def f(x):\n    while x > 1: pass\n    return x"
    outcome = sandbox.run_tests(program, [f"assert f({n}) == {n}" for n in range(4)], "f", Limits(seconds=3))
    assert (outcome.status, outcome.value, outcome.passed) == ("timeout", None, 2)


def test_many_jobs_in_order(sandbox: Sandbox) -> None:
    jobs = [TestJob(f"def f(x): return x + {n % 3}", ["assert f(1) == 2"], "f") for n in range(30)]
    assert [outcome.value for outcome in sandbox.run_tests_batch(jobs)] == [
        float(n % 3 == 1) for n in range(30)
    ]


def test_tame_tests_are_known() -> None:
    assert plan_tests("assert f([1, 2]) == [2, 1]", "f").tame
    assert plan_tests("def check(c):\n    for a, b in zip([1], [2]):\n        assert c(a) == b", "f").tame
    for wild in (
        "import os\nassert f(1) == 1",
        "while f(1): assert f(2)",
        "assert f.__class__",
        "x = open('y')\nassert f(1)",
    ):
        assert not plan_tests(wild, "f").tame
    with pytest.raises(BadTests):
        plan_tests("assert (", "f")
    with pytest.raises(NeedsObjects):
        plan_tests("assert Thing(1) == Thing(1)", "")
    assert plan_tests("assert Find_Min(1) == 2", "").tame


def test_forms_are_told_apart() -> None:
    assert read_tests("assert f(1)", None).form == "text"
    assert read_tests([["1", "2"]], None).form == "pairs"
    assert read_tests([["1", "2"]], "f").form == "cases"
    with pytest.raises(Malformed, match="2 inputs but 1 outputs"):
        read_tests({"inputs": ["1", "2"], "outputs": ["1"]}, None)


def test_output_is_compared_up_to_trailing_space() -> None:
    assert same_output(b"a  \nb\n\n", b"a\nb")
    assert same_output(b"a\r\nb", b"a\nb\n")
    assert not same_output(b" a", b"a")
    assert not same_output(b"a b", b"a  b")
    assert not same_output(b"1.0", b"1")
