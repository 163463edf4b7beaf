"""The documents are true: the README's code runs and prints what it says, and the commands named exist."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from rlar_graph.settings import Settings
from tests.patience import COMMAND_SECONDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\s+```output\n(.*?)```", README, re.DOTALL)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")])


def test_the_readme_has_examples() -> None:
    assert len(EXAMPLES) == README.count("```python") >= 2


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_examples_print_what_the_readme_says(code: str, printed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    assert done.stdout == printed, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    from typer.main import get_command

    from rlar_graph.cli.app import app

    group = get_command(app)
    known = getattr(group, "commands", {})
    for command, second in re.findall(r"`?rlar ([a-z]+)(?: ([a-z]+))?", document.read_text(encoding="utf-8")):
        if f"rlar {command}" in {"rlar toml"}:
            continue
        assert command in known, f"{document.name} speaks of `rlar {command}`"
        below = getattr(known[command], "commands", None)
        if below is not None and second:
            assert second in below, f"{document.name} speaks of `rlar {command} {second}`"


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_setting_is_listed_as_it_is_declared() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    lister = runpy.run_path(str(ROOT / "docs" / "list_settings.py"))
    listed = page.partition(lister["MARK"])[2].strip()
    assert listed == lister["sections"]().strip(), "`make drawing` writes it anew"
    assert [*re.findall(r"^\| `(\w+)` \|", listed, re.MULTILINE)] == [*Settings.model_fields]
