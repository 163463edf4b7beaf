"""Tests as data: calls with arguments and the results they must give (the APPS and LiveCodeBench function form)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rlar_graph.sandbox.objects import BadTests
from rlar_graph.sandbox.tally import Tally


def run_cases(cases: Any, call: Callable[..., Any], tally: Tally) -> None:
    """Call the program once per case and compare.

    Args:
        cases: Pairs of input and output, each a value or its JSON text.
        call: The program's function, or its proxy.
        tally: Counts the cases.

    Raises:
        BadTests: A case is malformed.
    """
    for number, (given, expected) in enumerate(cases, 1):
        arguments, wanted = _arguments(given, number), _result(expected)
        with tally:
            answer = call(*arguments)
            if not matches(answer, wanted):
                raise AssertionError(f"case {number}: another result was expected")


def _arguments(given: Any, number: int) -> list[Any]:
    """Arguments as a list; text holds one JSON value per line."""
    if isinstance(given, str):
        try:
            return [json.loads(line) for line in given.split("\n") if line.strip()]
        except ValueError as error:
            raise BadTests(f"input {number} is neither a list of arguments nor lines of JSON") from error
    return list(given) if isinstance(given, list | tuple) else [given]


def _result(expected: Any) -> Any:
    if isinstance(expected, str):
        try:
            return json.loads(expected)
        except ValueError:
            return expected
    return expected


def matches(answer: Any, wanted: Any) -> bool:
    """Equality as those data sets mean it: tuples are lists, and a result may come wrapped in a list of one."""
    answer, wanted = _listed(answer), _listed(wanted)
    return bool(answer == wanted or (isinstance(wanted, list) and len(wanted) == 1 and answer == wanted[0]))


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _listed(item) for key, item in value.items()}
    return value
