"""Every attack of ``attacks.py``, on every machine of ``conditions.py``."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import rlar_graph

_HERE = Path(__file__).parent
_ATTACKS = runpy.run_path(str(_HERE / "attacks.py"))
_MACHINES = runpy.run_path(str(_HERE / "conditions.py"))
_CONDITIONS = _MACHINES["CONDITIONS"]
_NAMES = [
    *(f"verifier {name}" for name in (*_ATTACKS["VERIFIERS"], *_ATTACKS["SPECIAL"])),
    *(f"program {name}" for name in _ATTACKS["PROGRAMS"]),
    *(f"honest {name}" for name in _ATTACKS["HONEST"]),
]
_LAYERS = {
    "container": {"landlock": True, "namespaces": False, "seccomp": True, "sealed": False},
    "user": {"landlock": True, "namespaces": False, "uid drop": False, "seccomp": True, "sealed": False},
    "sealed": {"landlock": False, "namespaces": False, "seccomp": True, "sealed": True},
    "sealed-user": {"landlock": False, "namespaces": False, "seccomp": True, "sealed": True},
}


@cache
def _run(condition: str) -> dict[str, dict[str, object]]:
    """All attacks under one condition, in a process of their own; run once per test session."""
    interpreter = _MACHINES["interpreter_for"](condition)
    if interpreter is None:
        pytest.skip("no Python on this machine can be executed by another user")
    command = [
        sys.executable,
        str(_HERE / "conditions.py"),
        condition,
        interpreter,
        str(_HERE / "attacks.py"),
    ]
    package = Path(rlar_graph.__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(package), *sys.path[1:]])}
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert found.returncode == 0, found.stderr[-2000:]
    results: dict[str, dict[str, object]] = json.loads(found.stdout)
    return results


@pytest.mark.parametrize("condition", _CONDITIONS)
def test_layers(condition: str) -> None:
    layers = _run(condition)["layers"]
    expected = _LAYERS.get(
        condition, {"seccomp": True, "no_new_privs": True, "rlimits": True, "capabilities": True}
    )
    assert {name: layers[name] for name in expected} == expected


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("condition", _CONDITIONS)
def test_contained(condition: str, name: str) -> None:
    assert _run(condition)["results"][name] == ""
