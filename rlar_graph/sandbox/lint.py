"""A static check for verifiers that run the completion they judge.

It is lint, not a wall: nothing in the sandbox rests on it. But a verifier that evaluates a completion lets the
completion write its own verdict, and no isolation can repair that.
"""

from __future__ import annotations

import ast
import re

_NAMES = frozenset({"exec", "eval", "compile", "__import__"})
_BUILTINS = frozenset({"builtins", "__builtins__"})
_MODULES = frozenset({"code", "codeop", "runpy"})


_WORDS = re.compile(r"exec|eval|compile|__import__|builtins|\bcode|runpy")
"""A source without these words needs no tree: building one costs a fresh process a quarter of a millisecond."""


def runs_code(text: str) -> str:
    """Say which part of a verifier runs text as code; empty where none does.

    Raises:
        SyntaxError: The verifier is not Python.
    """
    if not _WORDS.search(text):
        return ""
    for node in ast.walk(ast.parse(text)):
        name = _suspect(node)
        if name:
            line = getattr(node, "lineno", 0)
            return (
                f"line {line} uses {name}: a verifier that runs the completion lets it forge its verdict; "
                "call run_code(code, tests), which is there in every verifier, or Sandbox.run_tests"
            )
    return ""


def _suspect(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if name in _NAMES:
            return name
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in _BUILTINS and name in _NAMES:
            return f"{owner}.{name}"
        case ast.Import(names=names):
            return next((alias.name for alias in names if alias.name in _MODULES), "")
        case ast.ImportFrom(module=module, names=names) if module in _BUILTINS:
            return next((f"{module}.{alias.name}" for alias in names if alias.name in _NAMES), "")
        case ast.ImportFrom(module=module) if module in _MODULES:
            return module or ""
    return ""
