"""What Python text tells without being run: whether it parses, what it binds, what it lacks.

Programs come from completions and are hostile: nothing here executes, texts too long to be a hand-written
program are not parsed at all, and the parser's warnings are kept from the trainer's stderr.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Sequence

MAX_PARSED = 65_536
"""Characters beyond which text is not parsed; contest sites cap sources at 64 KB."""

PREFIX_TRIES = 16

_ESCAPE = re.compile(r"\\.")
_GLUED_KEYWORD = re.compile(r"(\b\d+)(?=(?:and|else|for|if|in|is|not|or)\b)")
_CODE_LINE = re.compile(
    r"^(?:(?:import|class|def|async[ \t]+def)[ \t]+\w|from[ \t]+[\w.]+[ \t]+import\b|@\w)", re.MULTILINE
)
_KNOWN = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}


def syntax_tree(source: str) -> ast.Module | None:
    """Return the syntax tree of a program, or None where it does not parse or is too long to try.

    Escapes in string literals are blanked first: the parser warns of odd ones, on stderr or, where warnings
    are errors, by failing. Positions stay true, the values of string constants do not.
    """
    if len(source) > MAX_PARSED:
        return None
    return _parse(source)[0]


def parsing_prefix(source: str) -> str | None:
    """Return the longest run of leading lines that parses, found by cutting at each syntax error in turn.

    Returns:
        The lines, or None where nothing but blank lines is left or the cuts run out.
    """
    if len(source) > MAX_PARSED:
        return None
    lines = source.split("\n")
    for _ in range(PREFIX_TRIES):
        text = "\n".join(lines)
        tree, line = _parse(text)
        if tree is not None:
            return text if tree.body else None
        lines = lines[: min(max(line - 1, 0), len(lines) - 1)]
        if not lines:
            return None
    return None


def _parse(source: str) -> tuple[ast.Module | None, int]:
    """Parse, and return the tree or the 1-based line where parsing failed."""
    blanked = _GLUED_KEYWORD.sub(r"\1 ", _ESCAPE.sub("__", source))
    try:
        return ast.parse(blanked), 0
    except SyntaxError as problem:
        return None, problem.lineno or 0
    except (ValueError, RecursionError, MemoryError):  # NUL, lone surrogate, nesting: the parser's own limits
        return None, 0


def code_region(text: str) -> str | None:
    """Return the text from its first line that only Python has (import, def, class, decorator), or None."""
    start = _CODE_LINE.search(text)
    return text[start.start() :] if start else None


def binds(source: str, names: Iterable[str]) -> bool:
    """Tell whether a program defines, assigns or imports one of the names at its top level."""
    alternatives = "|".join(re.escape(name) for name in names)
    if not alternatives:
        return False
    pattern = (
        rf"^(?:(?:async[ \t]+)?def|class)[ \t]+(?:{alternatives})\b"
        rf"|^(?:{alternatives})[ \t]*(?::[^=\n]*)?=(?!=)"
        rf"|^(?:from|import)[ \t].*\b(?:{alternatives})\b"
    )
    return re.search(pattern, source, re.MULTILINE) is not None


def supply(program: str, donors: Sequence[str], also: Collection[str] = ()) -> str:
    """Put in front of a program the imports and definitions it uses but lacks, taken from other sources.

    Args:
        program: Returned as it is where it does not parse or lacks nothing that the donors have.
        donors: Sources in order of preference, e.g. earlier code of the same completion, then the prompt's.
        also: Further names that will be asked of it, by its tests.
    """
    tree = syntax_tree(program)
    if tree is None:
        return program
    missing = (_names(tree, ast.Load) | set(also)) - _bound(tree) - _KNOWN
    if not missing:
        return program
    offers = [offer for donor in donors for offer in _definitions(donor)]
    taken: list[str] = []
    while missing:
        found = next((offer for offer in offers if offer[0] & missing), None)
        if found is None:
            break
        offers.remove(found)
        provided, needed, text = found
        taken.insert(0, text)
        missing = (missing | (needed - _KNOWN)) - provided
    lines = program.split("\n")
    head = max((node.end_lineno or 0 for node in tree.body if _is_future(node)), default=0)
    return "\n".join([*lines[:head], *taken, *lines[head:]])


def _is_future(node: ast.stmt) -> bool:
    """Tell a ``from __future__`` import, which must stay on top."""
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _definitions(source: str) -> list[tuple[set[str], set[str], str]]:
    """Return what each top-level import, function and class of a source provides, needs, and its lines."""
    tree = syntax_tree(source)
    if tree is None:
        return []
    lines = source.split("\n")
    offers = []
    for node in tree.body:
        if _is_future(node) or not isinstance(
            node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            continue
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        text = "\n".join(lines[start - 1 : node.end_lineno])
        whole = ast.Module([node], [])
        offers.append((_bound(whole), _names(whole, ast.Load), text))
    return offers


def _names(tree: ast.Module, context: type[ast.expr_context]) -> set[str]:
    """Return the names a tree reads (``ast.Load``) or writes (``ast.Store``) anywhere."""
    return {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }


def _bound(tree: ast.Module) -> set[str]:
    """Return every name a tree binds anywhere: assignments, arguments, imports, functions and classes."""
    bound = _names(tree, ast.Store)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound
