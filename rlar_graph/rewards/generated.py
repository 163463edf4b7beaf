"""A verifier that a language model wrote: source text of a ``score`` function, run only in the sandbox.

:func:`check_source` reads such a source as a syntax tree and says what is wrong with it in words that its writer can
act on. It is lint: what confines the code is the sandbox, and what makes it a verifier is the gate.
"""

from __future__ import annotations

import ast
import importlib
import types
from collections.abc import Callable, Iterator, Mapping, Sequence

from rlar_graph.rewards.base import ToolSpec
from rlar_graph.sandbox.base import Limits, Outcome, Sandbox
from rlar_graph.types import Rollout, Verdict, abstain

FUNCTION = "score"
PARAMETERS = ("prompt", "completion", "reference")
EVIDENCE = ("aliases", "tests", "entry_point", "schema", "choices", "language", "source")
"""Fields of a rollout that a verifier is given by keyword, where they hold anything."""

LIMITS = Limits(seconds=2.0, memory_mb=256)
"""What one call may use: a check of one completion is a matter of milliseconds."""

TRIAL_LIMITS = Limits(seconds=1.0, memory_mb=256)
"""What one call may use while the tool is on trial: less than later, so that a busy machine makes none abstain."""

MAX_CHARS = 8_000
MAX_TIMEOUTS = 4
FIRST_CHUNK, LARGEST_CHUNK = 8, 1_024

# No sympy: it evaluates the strings it is given, so that a completion could write its own verdict. No clock, no
# chance, no files: a verdict depends on what is judged and nothing else.
_ALLOWED = """__future__ ast base64 binascii bisect calendar cmath collections collections.abc copy csv dataclasses
datetime decimal difflib enum fractions functools hashlib heapq html ipaddress itertools json keyword math numbers
operator re statistics string textwrap typing unicodedata urllib.parse uuid xml.etree.ElementTree zlib"""
ALLOWED_IMPORTS = frozenset(_ALLOWED.split())
_BANNED_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("exec", "eval", "compile", "__import__"), "text of a completion must never run as code"),
    **dict.fromkeys(
        ("open", "input", "print", "breakpoint"), "a verifier reads its arguments and returns a number"
    ),
    **dict.fromkeys(
        ("globals", "locals", "vars", "dir", "getattr", "setattr", "delattr"), "write the name out"
    ),
    **dict.fromkeys(("exit", "quit", "help", "__builtins__", "builtins"), "it is not available"),
    **dict.fromkeys(("hash", "id"), "its value differs between processes"),
}
_BANNED_ATTRIBUTES: Mapping[str, str] = {
    **dict.fromkeys(("now", "today", "utcnow"), "the verdict must not depend on the clock"),
    **dict.fromkeys(
        ("f_back", "f_locals", "f_globals", "gi_frame", "cr_frame", "tb_frame", "tb_next", "uuid1", "uuid4"),
        "the verdict must depend on the arguments alone",
    ),
}
_BANNED_FUNCTIONS: Mapping[str, str] = {
    **dict.fromkeys(("attrgetter", "methodcaller", "Formatter"), "write the name out"),
    **dict.fromkeys(("get_type_hints", "ForwardRef"), "it runs text as code"),
    **dict.fromkeys(("lru_cache", "cache", "count", "cycle"), "a verdict must not depend on earlier calls"),
}
_HARMLESS_DUNDERS = frozenset({"__name__", "__init__"})


class GeneratedVerifier:
    """Scores each completion by one call of ``score(prompt, completion, reference, **evidence)`` in the sandbox.

    The function sees copies, in a process that holds nothing else. What it returns outside [0, 1], raises, or does
    not finish in time is an abstention with the reason. After :data:`MAX_TIMEOUTS` calls of a batch that hang, the
    rest of the batch abstains untried: the trainer must not wait hours for a broken verifier.

    Args:
        spec: What the tool says of itself.
        source: Python that defines ``score``.
        sandbox: Returns the open sandbox.
        limits: What one call may use.
        fresh: Run every call in a new process, which shows a verifier that keeps state between calls.
    """

    def __init__(
        self,
        spec: ToolSpec,
        source: str,
        sandbox: Callable[[], Sandbox],
        limits: Limits = LIMITS,
        *,
        fresh: bool = False,
    ) -> None:
        self.spec = spec
        self._source, self._sandbox, self._limits, self._fresh = source, sandbox, limits, fresh

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one verdict per completion; equal completions of a rollout are judged once."""
        calls = {
            (number, completion): _arguments(rollout, completion)
            for number, rollout in enumerate(rollouts)
            for completion in rollout.completions
        }
        verdicts = dict(zip(calls, map(verdict_of, self._run(list(calls.values()))), strict=True))
        return [
            [verdicts[number, completion] for completion in rollout.completions]
            for number, rollout in enumerate(rollouts)
        ]

    def _run(self, calls: list[Mapping[str, object]]) -> list[Outcome]:
        """Run the calls in growing chunks, and give up when too many hang."""
        outcomes: list[Outcome] = []
        size, sandbox = FIRST_CHUNK, self._sandbox()
        while len(outcomes) < len(calls):
            chunk = calls[len(outcomes) : len(outcomes) + size]
            outcomes += sandbox.call_batch(self._source, FUNCTION, chunk, self._limits, fresh=self._fresh)
            size = min(2 * size, LARGEST_CHUNK)
            hung = sum(outcome.status == "timeout" for outcome in outcomes)
            if hung >= MAX_TIMEOUTS:
                rest = Outcome(
                    "timeout", None, f"not tried: {hung} calls of this batch hung", fault="program"
                )
                outcomes += [rest] * (len(calls) - len(outcomes))
        return outcomes


def verdict_of(outcome: Outcome) -> Verdict:
    """Return the verdict that a call amounts to: its value in [0, 1], else an abstention with the reason."""
    if outcome.status != "ok" or outcome.value is None:
        return abstain(f"{outcome.status}: {outcome.detail or 'no reason given'}")
    if not 0.0 <= outcome.value <= 1.0:
        return abstain(f"invalid: returned {outcome.value:g}, and a score is in [0, 1]")
    return Verdict(outcome.value)


def _arguments(rollout: Rollout, completion: str) -> Mapping[str, object]:
    given: dict[str, object] = {
        "prompt": rollout.prompt,
        "completion": completion,
        "reference": rollout.reference,
    }
    for name in EVIDENCE:
        value = getattr(rollout, name)
        if value not in (None, ()):
            given[name] = value
    return given


def evidence_columns(rollouts: Sequence[Rollout]) -> tuple[str, ...]:
    """Return the names by which a verifier is given more than prompt, completion and reference."""
    return tuple(name for name in EVIDENCE if any(getattr(r, name) not in (None, ()) for r in rollouts))


def check_source(source: str) -> list[str]:
    """Return what is wrong with a source, one problem a line, in words for its writer; empty when nothing is.

    The source is parsed, never run.
    """
    if len(source) > MAX_CHARS:
        return [f"the code has {len(source):,} characters; write at most {MAX_CHARS:,}"]
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [f"line {error.lineno}: not valid Python: {error.msg}"]
    except (ValueError, RecursionError, MemoryError) as error:
        return [f"not valid Python: {type(error).__name__}"]
    problems = dict.fromkeys([*_signature_problems(tree), *_content_problems(tree)])
    return list(problems)


def _signature_problems(tree: ast.Module) -> Iterator[str]:
    wanted = f"def {FUNCTION}({', '.join(PARAMETERS)}, **evidence)"
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION]
    if not found:
        yield f"there is no function {FUNCTION}: write {wanted}"
        return
    arguments = found[-1].args
    names = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]
    missing = [name for name in PARAMETERS if name not in names]
    required = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    extra = [argument.arg for argument in required if argument.arg not in PARAMETERS]
    if missing or extra or arguments.kwarg is None or arguments.posonlyargs:
        yield f"line {found[-1].lineno}: {FUNCTION} has the wrong parameters: write {wanted}"
    if not any(isinstance(node, ast.Return) and node.value for node in ast.walk(found[-1])):
        yield f"{FUNCTION} returns nothing: return 1.0 for a right completion and 0.0 for a wrong one"


def _content_problems(tree: ast.Module) -> Iterator[str]:
    modules = _modules(tree)
    for node in ast.walk(tree):
        problem = _problem(node) or _smuggled(node, modules)
        if problem:
            yield f"line {getattr(node, 'lineno', 0)}: {problem}"


def _problem(node: ast.AST) -> str:
    match node:
        case ast.Import(names=names):
            return "; ".join(
                _import_problem(alias.name) for alias in names if alias.name not in ALLOWED_IMPORTS
            )
        case ast.ImportFrom(module=module, level=level) if level or module not in ALLOWED_IMPORTS:
            return _import_problem(module or ".")
        case ast.Name(id=name, ctx=ast.Load()) if name in _BANNED_NAMES:
            return f"do not use {name}: {_BANNED_NAMES[name]}"
        case ast.Attribute(attr=name) if name in _BANNED_ATTRIBUTES:
            return f"do not use .{name}: {_BANNED_ATTRIBUTES[name]}"
        case ast.Attribute(attr=name) if name.startswith("__") and name not in _HARMLESS_DUNDERS:
            return f"do not use .{name}: names with double underscores are not for verifiers"
        case ast.AsyncFunctionDef() | ast.Await() | ast.Global() | ast.Nonlocal():
            return "use plain functions without async, global or nonlocal"
    return ""


def _modules(tree: ast.Module) -> dict[str, str]:
    """Return the names that stand for imported modules."""
    return {
        alias.asname or alias.name.partition(".")[0]: alias.name
        if alias.asname
        else alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name in ALLOWED_IMPORTS
    }


def _smuggled(node: ast.AST, modules: Mapping[str, str]) -> str:
    """Return what is wrong with a name taken from an allowed module: most of them hold others that are not."""
    taken: list[tuple[str, str]] = []
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in modules:
            taken = [(modules[owner], name)]
        case ast.ImportFrom(module=str(module), names=names) if module in ALLOWED_IMPORTS:
            taken = [(module, alias.name) for alias in names]
        case ast.Constant(value=str(text)) if "__" in text and any(f"{mark}__" in text for mark in ".["):
            return "do not reach for names with double underscores through a format"
    for module, name in taken:
        if name in _BANNED_FUNCTIONS:
            return f"do not use {name}: {_BANNED_FUNCTIONS[name]}"
        found = getattr(importlib.import_module(module), name, None)
        full = f"{module}.{name}"
        known = full in ALLOWED_IMPORTS or any(each.startswith(f"{full}.") for each in ALLOWED_IMPORTS)
        if isinstance(found, types.ModuleType) and not known:
            return f"do not use {full}: {_import_problem(name)}"
    return ""


def _import_problem(module: str) -> str:
    return f"{module} cannot be imported; these can: {', '.join(sorted(ALLOWED_IMPORTS - {'__future__'}))}"
