"""Running tests and counting what passed.

Needs nothing but the standard library and its two neighbours, so that it can be sent to a remote machine.
"""

from __future__ import annotations

import builtins
import inspect
import sys
import types
import unittest
from collections.abc import Callable, Iterator
from typing import Any, cast

from rlar_graph.sandbox.checks import TALLY, Plan
from rlar_graph.sandbox.describe import describe
from rlar_graph.sandbox.objects import BadTests


class Tally:
    """Counts assertions; used as ``with tally:`` around each."""

    def __init__(self) -> None:
        self.passed = 0
        self.total = 0
        self.failure = ""

    def __enter__(self) -> None:
        self.total += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            self.passed += 1
            return False
        if not isinstance(error, Exception):
            return False  # the program ended, or the tests need what it cannot give: the run is over
        self.failure = self.failure or f"test {self.total}: {describe(error)}"
        return True


def run_plan(plan: Plan, tally: Tally, find: Callable[[str], Any], calls: Callable[[], int]) -> None:
    """Run tests.

    Args:
        plan: The tests.
        tally: Counts them.
        find: Gives the program's function of a name, or what stands for it.
        calls: Tells how often the program was called so far.

    Raises:
        BadTests: The tests broke before they called the program, or test nothing.
    """
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    scope = module.__dict__
    scope["__builtins__"] = dict(vars(builtins))
    scope[TALLY] = tally
    for name in plan.names:
        scope[name] = find(name)
    try:
        if plan.code is None:
            plan.code = compile(plan.tree, "tests.py", "exec", dont_inherit=True)
        exec(plan.code, scope)  # noqa: S102  tests are code
        if plan.check:
            target = find(plan.entry)
            cast(Any, scope[plan.check])(target)
        _run_test_functions(scope, tally)
    except Exception as error:
        if isinstance(error, BadTests):
            raise
        if calls() == 0:
            raise BadTests(f"the tests raised {describe(error)} before they called the program") from error
        # Outside an assertion of its own, an exception ends the run: what came after it was not passed.
        tally.total += 1
        tally.failure = tally.failure or describe(error)
    finally:
        scope.clear()
    if tally.total == 0:
        if calls() == 0:
            raise BadTests("the tests neither assert anything nor call the program")
        # Asserts that were never reached, as in a loop over an empty answer, are not asserts that held.
        tally.total, tally.passed = 1, int(not plan.asserts)
        tally.failure = "" if tally.passed else "no assertion was reached"


def _run_test_functions(scope: dict[str, Any], tally: Tally) -> None:
    for name, value in list(scope.items()):
        if isinstance(value, types.FunctionType) and name.startswith("test") and value.__module__ == "tests":
            _runnable(value, 0)
            with tally:
                value()
        elif (
            isinstance(value, type)
            and name.startswith("Test")
            and value.__module__ == "tests"
            and not issubclass(value, unittest.TestCase)
        ):
            _run_plain_class(value, tally)
        elif isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == "tests":
            value.setUpClass()
            for case in _cases_of(value):
                with tally:
                    case.debug()
            value.tearDownClass()


def _runnable(function: types.FunctionType, bound: int) -> None:
    """Refuse a test that only a test runner could run: left out, it would count as passed."""
    code = function.__code__
    needed = code.co_argcount - bound - len(function.__defaults__ or ())
    marks = getattr(function, "pytestmark", None)
    if needed > 0 or marks or code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR):
        raise BadTests(
            f"{function.__name__} needs a test runner: fixtures, parameters and coroutines are not run"
        )


def _run_plain_class(kind: type, tally: Tally) -> None:
    """Run the ``test_*`` methods of a class in pytest's way."""
    methods = [name for name in dir(kind) if name.startswith("test")]
    for name in methods:
        function = inspect.getattr_static(kind, name)
        if isinstance(function, types.FunctionType):
            _runnable(function, 1)
        with tally:
            instance = kind()
            if callable(setup := getattr(instance, "setup_method", None)):
                setup()
            getattr(instance, name)()


def _cases_of(kind: type[unittest.TestCase]) -> Iterator[unittest.TestCase]:
    names = list(unittest.defaultTestLoader.getTestCaseNames(kind))
    for name in names or ["runTest"] * hasattr(kind, "runTest"):
        yield kind(name)
