"""docs/sandbox.md tells the truth: its example runs as printed, and each promise names a test that exists."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

from rlar_graph.sandbox import open_sandbox

_HERE = Path(__file__).parent
_TEXT = (_HERE.parents[1] / "docs" / "sandbox.md").read_text()


def test_the_example_prints_what_the_page_says() -> None:
    blocks = re.findall(r"```(python|text)\n(.*?)```", _TEXT, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "text", "python"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks[0][1], {})  # noqa: S102  the page's own example
    assert printed.getvalue() == blocks[1][1]


def test_the_verifier_with_run_code_works() -> None:
    source = re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL)[1]
    with open_sandbox(workers=1) as sandbox:
        assert sandbox.call(source, "score", {"completion": "def double(x): return 2 * x"}).value == 1.0


def test_each_promise_names_a_test() -> None:
    attacks = runpy.run_path(str(_HERE / "attacks.py"))
    known = {f"verifier {name}" for name in (*attacks["VERIFIERS"], *attacks["SPECIAL"])}
    known |= {f"program {name}" for name in attacks["PROGRAMS"]}
    for file in _HERE.glob("test_*.py"):
        known |= {
            f"{file.name}::{name}" for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
        }
    section = _TEXT.partition("## What is contained")[2].partition("\n## ")[0]
    rows = [
        line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| a program")
    ]
    assert len(rows) > 40
    for row in rows:
        named = re.search(r"`([^`]+)` \|$", row)
        assert named, row
        assert named[1] in known, row
