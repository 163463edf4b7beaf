"""Every import points down, every package is listed, and importing the library costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "environment"),
    ("types", "settings", "jsonl", "deadline", "hardware", "cluster", "graph_schemas"),
    ("records", "state", "prompts", "llm", "registry", "sandbox", "routing", "hub"),
    ("audit_gap",),
    ("resources", "drift", "batch"),
    ("rewards",),
    ("agreement", "probes"),
    ("admission", "made_evidence", "probe_making"),
    ("toolmaking",),
    ("library", "planning"),
    ("scoring",),
    ("waiting",),
    ("recorder",),
    ("engine",),
    ("nodes", "process_engine"),
    ("graph", "evaluation"),
    ("acquisition", "microbatch"),
    ("auditing",),
    ("reward",),
    ("machine",),
    ("adapters", "testing"),
    ("server",),
    ("report",),
    ("cli",),
)
"""Bottom to top. A room may import from the floors below it and from itself, never from its neighbours."""

FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def _files() -> list[Path]:
    folders = [ROOT / "rlar_graph", ROOT / "nodes", ROOT / "prompts"]
    seen = {path.resolve() for folder in folders for path in folder.rglob("*.py")}
    return sorted(seen)


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] != "rlar_graph" else parts[1]


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the rooms a file imports from, ``TYPE_CHECKING`` and function-local imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "rlar_graph":
                names = [f"rlar_graph.{alias.name}" for alias in node.names if alias.name != "__version__"]
            else:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("rlar_graph."):
                yield name.split(".")[1], node.lineno  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = _room(path)
    if room == "__init__":
        return
    assert room in FLOOR_OF, f"{room} has no floor yet: add it to FLOORS"
    for imported, line in _imports(path):
        below = FLOOR_OF[imported] < FLOOR_OF[room]
        assert imported == room or below, f"{path.name}:{line}: {room} may not import {imported}"


def test_every_package_is_listed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in ("rlar_graph", "nodes", "prompts")
        for path in (ROOT / folder).rglob("__init__.py")
        if "nodes" not in path.relative_to(ROOT).parts[1:]
        and "prompts" not in path.relative_to(ROOT).parts[1:]
    }
    mapped = {name if name.startswith("rlar_graph") else f"rlar_graph.{name}" for name in found}
    assert set(listed) == mapped


def test_inner_links_lead_to_the_folders_on_top() -> None:
    for name in ("nodes", "prompts"):
        link = ROOT / "rlar_graph" / name
        if link.is_symlink():  # a checkout without symbolic links has small text files here
            assert link.resolve() == ROOT / name


HEAVY = (
    "torch",
    "transformers",
    "langgraph",
    "langchain_openai",
    "openai",
    "sqlalchemy",
    "pydantic",
    "sympy",
    "rich",
)


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("rlar_graph", HEAVY),
        ("rlar_graph.cli.app", ("torch", "transformers", "langgraph", "openai", "sqlalchemy", "sympy")),
        ("rlar_graph.reward", ("torch", "transformers", "langgraph", "langchain_openai", "openai", "sympy")),
    ],
)
def test_importing_is_cheap(module: str, banned: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[name for name in {banned!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_folders_have_one_import_name() -> None:
    code = (
        "import sys, rlar_graph.nodes, rlar_graph.prompts; assert not {'nodes', 'prompts'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_names_a_path_of_a_machine() -> None:
    for path in _files():
        text = path.read_text(encoding="utf-8")
        assert "/work/" not in text and "/root/" not in text, path
