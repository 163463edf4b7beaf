"""The E2B engine with the real client against the stand-in."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlar_graph.errors import SandboxClosed, SandboxUnavailable
from rlar_graph.sandbox import Limits, TestJob

pytest.importorskip("e2b_code_interpreter")
from rlar_graph.sandbox.e2b import E2BSandbox
from tests.patience import prompt

_STAND_IN = runpy.run_path(str(Path(__file__).parent / "e2b_stand_in.py"))
_CHECK = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(5) == 6\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with _STAND_IN["stand_in"]() as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(server: Any) -> Iterator[E2BSandbox]:
    with E2BSandbox(2, api_key="key", api_url=server.url, sandbox_url=server.url) as opened:
        yield opened


def test_internet_is_off(server: Any, sandbox: E2BSandbox) -> None:
    created = server.created[0]
    assert created.get("allow_internet_access", created.get("allowInternetAccess")) is False


@pytest.mark.parametrize(
    ("body", "status", "value"),
    [
        ("return x / 4", "ok", 0.5),
        ("return True", "ok", 1.0),
        ("return 'x'", "invalid", None),
        ("return float('nan')", "invalid", None),
        ("return 10 ** 400", "invalid", None),
        ("raise KeyError", "error", None),
        ("return len(bytearray(1 << 36))", "memory", None),
        ("import os; os._exit(0)", "crashed", None),
        ("return eval('1')", "refused", None),
        ("print('x' * 10); return 1", "ok", 1.0),
    ],
)
def test_call(sandbox: E2BSandbox, body: str, status: str, value: float | None) -> None:
    outcome = sandbox.call(f"def f(x):\n    {body}", "f", {"x": 2})
    assert (outcome.status, outcome.value) == (status, value), outcome


def test_a_batch_keeps_its_order(sandbox: E2BSandbox) -> None:
    outcomes = sandbox.call_batch("def f(x): return x", "f", [{"x": n} for n in range(6)])
    assert [outcome.value for outcome in outcomes] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("body", ["while True: pass", "return sum(range(10**13))"])
def test_a_hanging_call_ends_in_time(server: Any, sandbox: E2BSandbox, body: str) -> None:
    with prompt():
        outcome = sandbox.call(f"def f():\n    {body}", "f", {}, Limits(seconds=0.5))
    assert outcome.status == "timeout"
    assert sandbox.call("def f(): return 1", "f", {}).value == 1.0


def test_every_context_is_removed(server: Any, sandbox: E2BSandbox) -> None:
    sandbox.call("def f(): return 1", "f", {})
    assert not server.contexts
    assert server.removed


def test_tests_share_a_context_and_say_so(sandbox: E2BSandbox) -> None:
    right = sandbox.run_tests("def f(n): return n + 1", _CHECK, "f")
    assert (right.status, right.value, right.passed, right.total, right.attested) == ("ok", 1.0, 2, 2, False)
    wrong = sandbox.run_tests("def f(n): return 2", _CHECK, "f")
    assert (wrong.value, wrong.fault, wrong.attested) == (0.5, "program", False)
    assert sandbox.run_tests("def f(n) return 2", _CHECK, "f").fault == "program"
    assert sandbox.run_tests("def f(n): return 2", "def check(", "f").fault == "sandbox"


def test_printed_output_is_compared_here(sandbox: E2BSandbox) -> None:
    pairs = [["1\n", "2"], ["4\n", "5\n"]]
    right = sandbox.run_tests("print(int(input()) + 1)", pairs)
    assert (right.value, right.attested, right.total) == (1.0, True, 2)
    assert sandbox.run_tests("print(2)", pairs).value == 0.5
    assert sandbox.run_tests("while True: pass", pairs, limits=Limits(seconds=0.4)).status == "timeout"


def test_many_jobs(sandbox: E2BSandbox) -> None:
    jobs = [TestJob(f"def f(n): return n + {n % 2}", _CHECK, "f") for n in range(4)]
    assert [outcome.value for outcome in sandbox.run_tests_batch(jobs)] == [0.0, 1.0, 0.0, 1.0]


def test_a_broken_service_is_not_the_programs_fault(server: Any, sandbox: E2BSandbox) -> None:
    server.is_broken = True
    try:
        outcome = sandbox.call("def f(): return 1", "f", {})
    finally:
        server.is_broken = False
    assert (outcome.status, outcome.fault, outcome.value) == ("crashed", "sandbox", None)


def test_a_machine_that_is_gone_is_replaced(server: Any, sandbox: E2BSandbox) -> None:
    before = len(server.created)
    server.is_gone = True
    assert sandbox.call("def f(): return 1", "f", {}).value == 1.0
    assert len(server.created) == before + 1


def test_refusal_and_close(server: Any) -> None:
    with pytest.raises(SandboxUnavailable):
        E2BSandbox(1, api_key="wrong", api_url=server.url, sandbox_url=server.url)
    opened = E2BSandbox(1, api_key="key", api_url=server.url, sandbox_url=server.url)
    assert opened.report().engine == "e2b"
    opened.close()
    opened.close()
    assert server.killed
    with pytest.raises(SandboxClosed):
        opened.call("def f(): return 1", "f", {})
