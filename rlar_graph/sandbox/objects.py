"""Tests that need more from a program than plain values: its classes, or functions it returns.

Told from the tests alone: if the program had a say, a wrong one could ask to be left ungraded.
"""

from __future__ import annotations

import ast
from collections import deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

_PLAIN_KINDS = (str, bytes, list, dict, set, tuple, int, float, complex, deque, Decimal, Fraction)
_DATE_KINDS = (date, datetime, time, timedelta)
_ARRAY_METHODS = frozenset(
    {"all", "any", "sum", "mean", "shape", "tolist", "dtype", "size", "ndim", "item", "flatten"}
)
_PLAIN_METHODS = _ARRAY_METHODS | {
    name for kind in (*_PLAIN_KINDS, *_DATE_KINDS) for name in dir(kind) if name[0] != "_"
}


class BadTests(Exception):
    """The tests themselves cannot be used; the message says why."""


class NeedsObjects(BadTests):
    """The tests use classes or callables of the program, which are not plain values."""


def refuse_objects(tree: ast.Module, names: set[str]) -> None:
    """Refuse tests that do more with the program's answers than plain values allow.

    Args:
        tree: The tests.
        names: What the tests take from the program.

    Raises:
        NeedsObjects: They do.
    """
    # A capital alone proves nothing: MBPP has functions called Find_Min_Length.
    classes = {name for name in names if name[:1].isupper() and "." not in name}
    answers, instances = _assigned(tree, names), _assigned(tree, classes)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Call() as inner) if _is_call_of(inner, names):
                raise NeedsObjects("the tests call what the program returned")
            case ast.Call(func=ast.Name(id=name)) if name in answers:
                raise NeedsObjects("the tests call what the program returned")
            case ast.Attribute(value=value, attr=attr):
                if _is_of(value, classes, instances) or (
                    attr not in _PLAIN_METHODS and _is_of(value, names, answers)
                ):
                    raise NeedsObjects(f"the tests use .{attr} of what the program returned")
            case ast.Compare(left=left, comparators=[right]):
                if _is_of(left, classes, instances) and _is_of(right, classes, instances):
                    raise NeedsObjects("the tests compare objects of the program's")
            case ast.Name(id=name, ctx=ast.Load()) if name in classes and id(node) not in called:
                raise NeedsObjects(f"the tests use {name}, a class of the program")


def _assigned(tree: ast.Module, names: set[str]) -> set[str]:
    """Variables that hold what a call of one of ``names`` returned."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_call_of(node.value, names)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_of(node: ast.AST, names: set[str], variables: set[str]) -> bool:
    return _is_call_of(node, names) or (isinstance(node, ast.Name) and node.id in variables)


def _is_call_of(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
