"""Holes that a second reading found: ways to buy an abstention, tests that were dropped, honest programs refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlar_graph.sandbox import Limits, Sandbox, open_sandbox

FLOODS_THE_GRADER = """
import os

def f(x):
    item = b"\\xc7\\x01\\x02\\x90"
    count = (7 << 20) // len(item)
    frame = b"\\x93\\x00" + b"\\xdd" + count.to_bytes(4, "big") + item * count + b"\\x90"
    frame = len(frame).to_bytes(4, "little") + frame
    for fd in range(3, 64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        view = memoryview(frame)
        try:
            while view:
                view = view[os.write(fd, view):]
        except OSError:
            pass
    os._exit(0)
"""
SETS_UP_A_CLASS = """
import unittest

class T(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.b = 5

    def test_b(self):
        self.assertEqual(f(self.b), 5)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


def test_a_program_cannot_buy_an_abstention_by_dying(sandbox: Sandbox) -> None:
    outcome = sandbox.run_tests(FLOODS_THE_GRADER, ["assert f(1) == 2"], limits=Limits(seconds=3))
    assert outcome.fault == "program"


def test_nor_by_an_endless_answer(sandbox: Sandbox) -> None:
    source = "def f(x): return range(10**18)"
    outcome = sandbox.run_tests(source, ["assert sum(f(1)) == 3"], limits=Limits(seconds=2))
    assert (outcome.status, outcome.fault) == ("timeout", "program")


def test_nor_by_an_iterator(sandbox: Sandbox) -> None:
    source = "def enc(x): return iter([1])\ndef dec(x): return 'bad'"
    assert sandbox.run_tests(source, ["assert dec(enc('a')) == 'a'"]).fault == "program"


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        (
            "import itertools\ndef f(x): return itertools.permutations(x)",
            ["assert len(list(f([1, 2, 3]))) == 6"],
        ),
        ("def f(x): x.append(9)", ["b = [3]", "f(x=b)", "assert b == [3, 9]"]),
        ("def f(x): return x", SETS_UP_A_CLASS),
        ("import sys\nprint(6, file=sys.__stdout__)", [["", "6"]]),
        ("import atexit\natexit.register(lambda: print(6))", [["", "6"]]),
        ("import sys\nprint(6)\nsys.stdout.close()", [["", "6"]]),
    ],
)
def test_honest_programs_pass(source: str, tests: object, sandbox: Sandbox) -> None:
    assert sandbox.run_tests(source, tests).value == 1.0


@pytest.mark.parametrize(
    "tests",
    [
        "class TestF:\n    def test_b(self):\n        assert f(1) == 2\n",
        "def test_b(x=5):\n    assert f(x) == 6\n",
        "import unittest\nclass T(unittest.TestCase):\n    def runTest(self):\n        self.assertEqual(f(1), 2)\n",
        "if __name__ == '__main__':\n    assert f(1) == 2\n",
        "for a, b in zip(f(1), [1, 2]):\n    assert a == b\n",
    ],
)
def test_no_test_is_dropped(tests: str, sandbox: Sandbox) -> None:
    outcome = sandbox.run_tests("def f(x): return []", tests)
    assert outcome.value != 1.0, outcome


@pytest.mark.parametrize(
    "tests",
    [
        "f(5) == 6",
        ["f(5) == 6", "print(f(5) == 6)"],
        "def check(candidate):\n    assert candidate(1) == 2\ncheck(f)\ncheck(g)\n",
    ],
)
def test_tests_that_cannot_fail_are_refused(tests: object, sandbox: Sandbox) -> None:
    outcome = sandbox.run_tests("def f(x): return x + 1\ndef g(x): return 0", tests)
    assert (outcome.status, outcome.fault) == ("refused", "sandbox")


@pytest.mark.parametrize(
    "limits",
    [
        Limits(seconds=float("inf")),
        Limits(seconds=1e7),
        Limits(memory_mb=1 << 40),
        Limits(seconds=float("nan")),
    ],
)
def test_limits_beyond_all_bounds_are_refused(limits: Limits, sandbox: Sandbox) -> None:
    assert sandbox.call("def f(): return 1", "f", {}, limits).status == "refused"
    assert sandbox.run_tests("def f(): return 1", ["assert f() == 1"], limits=limits).status == "refused"


def test_limits_that_allow_more_than_is_given_are_fine(sandbox: Sandbox) -> None:
    limits = Limits(60, 512, 64, 16, 1)
    assert sandbox.call("def f(): return 1", "f", {}, limits).value == 1.0
    assert sandbox.call("def f(): open('/tmp/x', 'w'); return 1", "f", {}, limits).status == "error"
