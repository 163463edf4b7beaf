"""What `langgraph dockerfile` makes of langgraph.json, as far as it can be checked without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NAMED = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The generated file."""
    folder = tmp_path_factory.mktemp("image") / "project"
    folder.mkdir()
    for name in ("langgraph.json", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    command = [str(Path(sys.executable).parent / "langgraph"), "dockerfile", "Dockerfile"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "Dockerfile").read_text(encoding="utf-8")


def test_it_installs_the_project_and_what_the_routes_need(dockerfile: str) -> None:
    assert dockerfile.startswith(f"FROM langchain/langgraph-api:{NAMED['python_version']}\n")
    assert "ADD . /deps/project" in dockerfile
    assert re.search(r"uv pip install .*-c /api/constraints.txt -e \.\)", dockerfile)
    extra = [name for name in NAMED["dependencies"] if name != "."]
    assert re.search(rf"uv pip install .* {' '.join(map(re.escape, extra))}$", dockerfile, re.MULTILINE)
    assert not re.search("[<>|;&$]", " ".join(extra)), "they go into a shell unquoted"


def variables(dockerfile: str) -> dict[str, dict[str, Any]]:
    """Return the environment it sets."""
    return {name: json.loads(value) for name, value in re.findall(r"^ENV (\w+)='(.*)'$", dockerfile, re.M)}


def test_it_serves_the_graph_and_the_routes(dockerfile: str) -> None:
    found = variables(dockerfile)
    assert found == {"LANGSERVE_GRAPHS": NAMED["graphs"], "LANGGRAPH_HTTP": NAMED["http"]}
    assert found["LANGSERVE_GRAPHS"]["rlar"] == "rlar_graph.graph:graph"


def installed_with(names: list[str]) -> set[str]:
    """Return the distributions that come with some, without their extras' neighbours: what pip would install."""
    found: set[str] = set()
    open_ = [Requirement(name) for name in names]
    while open_:
        wanted = open_.pop()
        name = canonicalize_name(wanted.name)
        key = f"{name}{sorted(wanted.extras)}"
        if key in found:
            continue
        found |= {key, name}
        for text in metadata.requires(name) or []:
            further = Requirement(text)
            extras = wanted.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                open_.append(further)
    return found


def test_what_it_installs_is_all_that_graph_and_routes_import(dockerfile: str) -> None:
    found = variables(dockerfile)
    places = [*found["LANGSERVE_GRAPHS"].values(), found["LANGGRAPH_HTTP"]["app"]]
    modules = [place.partition(":")[0] for place in places]
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    installed = installed_with(
        [*(name for name in NAMED["dependencies"] if name != "."), "rlar-graph", "langgraph-api"]
    )
    owners = metadata.packages_distributions()
    missing = {
        name: owners[name]
        for name in loaded.split()
        if name in owners and not {canonicalize_name(owner) for owner in owners[name]} & installed
    }
    assert missing == {}


@pytest.mark.parametrize("secret", [".env", "rlar.toml", "rlar.db*"])
def test_secrets_and_registries_stay_out_of_the_image(secret: str) -> None:
    assert secret in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
