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
from tests.patience import COMMAND_SECONDS

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
def _run() -> dict[str, subprocess.Popen[str]]:
    """All attacks under every condition, each in a process of its own: they wait for hangs at the same time."""
    package = Path(rlar_graph.__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(package), *sys.path[1:]])}
    interpreters = {condition: _MACHINES["interpreter_for"](condition) for condition in _CONDITIONS}
    imposed = [sys.executable, str(_HERE / "conditions.py")]
    return {
        condition: subprocess.Popen(
            [*imposed, condition, interpreter, str(_HERE / "attacks.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for condition, interpreter in interpreters.items()
        if interpreter is not None
    }


@cache
def _results(condition: str) -> dict[str, dict[str, object]]:
    """What came of one condition."""
    if condition not in _run():
        pytest.skip("no Python on this machine can be executed by another user")
    said, complaints = _run()[condition].communicate(timeout=COMMAND_SECONDS)
    assert _run()[condition].returncode == 0, complaints[-2000:]
    results: dict[str, dict[str, object]] = json.loads(said)
    return results


@pytest.mark.parametrize("condition", _CONDITIONS)
def test_layers(condition: str) -> None:
    layers = _results(condition)["layers"]
    expected = _LAYERS.get(
        condition, {"seccomp": True, "no_new_privs": True, "rlimits": True, "capabilities": True}
    )
    assert {name: layers[name] for name in expected} == expected


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("condition", _CONDITIONS)
def test_contained(condition: str, name: str) -> None:
    assert _results(condition)["results"][name] == ""
