"""Tests as text: read them as a syntax tree, find what they need, and make each assertion count by itself."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass, field
from types import CodeType

from rlar_graph.sandbox.objects import BadTests, refuse_objects

TALLY = "__rlar_tally__"
"""Name under which the tally is put into the tests' namespace."""

_PROGRAM_MODULES = frozenset(
    {"solution", "main", "candidate", "program", "submission", "your_module", "__main__"}
)
_TAME_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assert, ast.Assign, ast.AugAssign, ast.For, ast.If,
    ast.Expr, ast.Return, ast.Pass, ast.With, ast.withitem, ast.Name, ast.Constant, ast.Call, ast.keyword, ast.Compare,
    ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Subscript, ast.Slice,
    ast.Starred, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.JoinedStr,
    ast.FormattedValue, ast.Attribute, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.Break, ast.Continue, ast.Lambda,
)  # fmt: skip
_TAME_CALLS = frozenset(
    [
        "abs",
        "all",
        "any",
        "bool",
        "bytes",
        "chr",
        "complex",
        "dict",
        "divmod",
        "enumerate",
        "filter",
        "float",
        "frozenset",
        "hash",
        "int",
        "isinstance",
        "len",
        "list",
        "map",
        "max",
        "min",
        "ord",
        "pow",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
        "print",
        "Exception",
        "AssertionError",
        "True",
        "False",
        "None",
        "type",
    ]
)
_UNTAME_METHODS = frozenset({"format", "format_map"})


@dataclass
class Plan:
    """Tests ready to run."""

    tree: ast.Module
    """The tests, each separable assertion in a tally of its own."""
    check: str
    """The function to call with the program's; empty where the tests run by themselves."""
    entry: str
    """The program's function under test."""
    names: set[str] = field(default_factory=set)
    """Names the tests take from the program."""
    code: CodeType | None = None
    """The tree, compiled once for all programs of a rollout."""
    asserts: bool = False
    """Whether they hold an assert statement in a loop."""
    tame: bool = False
    """Whether the tests can do nothing but compute and compare, so that a grader may serve others after them."""


def plan_tests(text: str, entry: str, *, objects: bool = False) -> Plan:
    """Read tests.

    Args:
        text: Python with a ``check`` function, asserts, ``test_*`` functions or test cases.
        entry: Name of the function under test, or an empty string.
        objects: Allow what only works where program and tests share a process.

    Raises:
        BadTests: They cannot be read.
        NeedsObjects: They need more than plain values from the program.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadTests(f"the tests are not Python: {type(error).__name__}{line}") from error
    _refuse_silent(tree)
    check = _check_function(tree)
    if check and len({ast.unparse(node) for node in tree.body if _calls(node, check)}) > 1:
        raise BadTests(f"{check} is called for more than one function; hand over the tests of one at a time")
    entry = entry or _entry_in_call(tree, check)
    tree = ast.fix_missing_locations(_Methods().visit(tree))
    tree.body = [inner for node in tree.body for inner in _unguarded(node)]
    imported = _take_imports(tree)
    if check:
        tree.body = [node for node in tree.body if not _calls(node, check)]
    names = (_free_names(tree) | imported | ({entry} if entry else set())) - {TALLY}
    parameter = _parameter(tree, check)
    if not objects:
        refuse_objects(tree, names | ({parameter} if parameter else set()))
    tame = _is_tame(tree, names)
    _separate(tree, check, names | ({parameter} if parameter else set()))
    loops = (node for node in ast.walk(tree) if isinstance(node, ast.For))
    asserts = any(isinstance(inner, ast.Assert) for loop in loops for inner in ast.walk(loop))
    return Plan(ast.fix_missing_locations(tree), check, entry, names, asserts=asserts, tame=tame)


def _refuse_silent(tree: ast.Module) -> None:
    """Refuse tests in which nothing can fail: a program would pass them whatever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert | ast.Raise):
            return
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if any(word in name.lower() for word in ("assert", "fail", "raises", "exit", "testmod")):
            return
    raise BadTests("the tests assert nothing, so any program would pass them")


def _unguarded(node: ast.stmt) -> list[ast.stmt]:
    """What stands under ``if __name__ == "__main__"`` is run too, but for the test runners called there."""
    match node:
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]), body=body):
            return [inner for inner in body if not _is_runner(inner)]
    return [node]


def _is_runner(node: ast.stmt) -> bool:
    names = {"unittest", "pytest", "doctest", "sys"}
    return isinstance(node, ast.Import | ast.ImportFrom) or any(
        isinstance(inner, ast.Name) and inner.id in names for inner in ast.walk(node)
    )


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _check_function(tree: ast.Module) -> str:
    found = _functions(tree).get("check")
    return "check" if found is not None and len(found.args.args) - len(found.args.defaults) == 1 else ""


def _parameter(tree: ast.Module, check: str) -> str:
    found = _functions(tree).get(check)
    return found.args.args[0].arg if found is not None and found.args.args else ""


def _calls(node: ast.stmt, name: str) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=called))):
            return called == name
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return any(_calls(inner, name) for inner in node.body)
    return False


def _entry_in_call(tree: ast.Module, check: str) -> str:
    for node in tree.body:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id=called), args=[ast.Name(id=entry)])) if (
                called == check
            ):
                return entry
            case ast.Expr(value=ast.Call(func=ast.Name(id=called), args=[argument])) if called == check:
                return ast.unparse(argument)
    return ""


class _Methods(ast.NodeTransformer):
    """``Solution().name`` becomes one name, so that the instance itself need not cross."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Attribute(value=ast.Call(func=ast.Name(id=owner), args=[], keywords=[]), ctx=ast.Load()):
                if owner[:1].isupper():
                    return ast.copy_location(ast.Name(f"{owner}().{node.attr}", ast.Load()), node)
        return node


def _take_imports(tree: ast.Module) -> set[str]:
    """Imports of the program by the tests become names taken from it."""
    names: set[str] = set()
    kept: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in _PROGRAM_MODULES and node.level == 0:
            names |= {
                alias.name for alias in node.names if alias.name != "*" and alias.asname in (None, alias.name)
            }
        else:
            kept.append(node)
    tree.body = kept
    return names


def _free_names(tree: ast.Module) -> set[str]:
    loaded: set[str] = set()
    bound: set[str] = set(dir(builtins)) | {"__name__", "__file__", "__doc__"}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                loaded.add(name)
            case ast.Name(id=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.arg(arg=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
    return loaded - bound


def _is_tame(tree: ast.Module, names: set[str]) -> bool:
    defined = names | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            if any(alias.name != "math" or alias.asname for alias in node.names):
                return False
        elif isinstance(node, ast.alias):
            continue
        elif not isinstance(node, _TAME_NODES):
            return False
        elif isinstance(node, ast.Attribute):
            if not isinstance(node.ctx, ast.Load) or node.attr[0] == "_" or node.attr in _UNTAME_METHODS:
                return False
        elif isinstance(node, ast.Name) and not _is_tame_name(node, defined):
            return False
    return True


def _is_tame_name(node: ast.Name, defined: set[str]) -> bool:
    if not isinstance(node.ctx, ast.Load) or node.id in defined:
        return True
    return not node.id.startswith("__") and (not hasattr(builtins, node.id) or node.id in _TAME_CALLS)


def _separate(tree: ast.Module, check: str, names: set[str]) -> None:
    """Put each assertion of the module and of ``check`` into a tally of its own."""
    helpers = set(_functions(tree)) - {check}
    tree.body = _each(tree.body, helpers, names)
    found = _functions(tree).get(check)
    if found is not None:
        found.body = _each(found.body, helpers, names)


def _each(body: list[ast.stmt], helpers: set[str], names: set[str]) -> list[ast.stmt]:
    out: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.For | ast.If | ast.With):
            node.body = _each(node.body, helpers, names)
            if isinstance(node, ast.If):
                node.orelse = _each(node.orelse, helpers, names)
            out.append(node)
        elif isinstance(node, ast.Assert) or _is_assertion(node, helpers, names):
            tally = ast.withitem(ast.Name(TALLY, ast.Load()))
            out.append(ast.copy_location(ast.With([tally], [node]), node))
        else:
            out.append(node)
    return out


def _is_assertion(node: ast.stmt, helpers: set[str], names: set[str]) -> bool:
    """Whether a statement is a call that asserts, as EvalPlus's ``assertion(candidate(*inp), exp, atol)``."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call):
            if name in helpers:
                return any(isinstance(inner, ast.Name) and inner.id in names for inner in ast.walk(call))
    return False
