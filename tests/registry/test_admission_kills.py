"""A kill while a built-in is measured again leaves it rejected or in service, never half way."""

from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.engine import Engine
from rlar_graph.registry import Provenance, open_registry
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout

CHOICE = Rollout(
    "Which is even?\nA. 3\nB. 4\nAnswer with the letter.",
    ("The answer is B.", "The answer is A."),
    reference="B",
    choices=(("A", "3"), ("B", "4")),
)
MOST_COMMITS = 25

DYING = """
import os, pickle, signal, sys
import sqlalchemy as sa
from rlar_graph.engine import Engine
from rlar_graph.settings import Settings

asked = pickle.loads(bytes.fromhex(sys.argv[1]))

def plan(url, left):
    def count(_connection):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sa.event.listen(sa.Engine, "commit", count)
    with Engine(Settings.load(registry_url=url)) as engine:
        engine.plan([asked])

for number, url in enumerate(sys.argv[2:]):
    child = os.fork()
    if child == 0:
        plan(url, number)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Has one process per registry plan a rollout; the n-th dies before its n-th commit, all before it being done."""


def reject(url: str) -> None:
    """Make a registry in which the admission of the built-in failed at a bad moment."""
    with Engine(Settings.load(registry_url="sqlite://")) as engine:
        spec = engine.library.load("choice").spec
    failed = AdmissionReport("choice", "verifier", "", False, {}, "", 0.0, (Check("contract", False),))
    with open_registry(url) as registry:
        version = registry.register(spec, provenance=Provenance("builtin"), report=failed)
        assert version.state == "rejected"


def test_a_kill_at_any_commit_of_a_second_admission_strands_no_candidate(tmp_path: Path) -> None:
    reject(f"sqlite:///{tmp_path / 'rlar.db'}")
    paths = [shutil.copy(tmp_path / "rlar.db", tmp_path / f"{number}.db") for number in range(MOST_COMMITS)]
    urls = [f"sqlite:///{path}" for path in paths]
    asked = pickle.dumps(CHOICE).hex()
    done = subprocess.run(
        [sys.executable, "-c", DYING, asked, *urls], capture_output=True, text=True, check=True
    )
    ends = [int(each) for each in done.stdout.split()]
    killed = ends.index(0)
    assert ends[:killed] == [-signal.SIGKILL] * killed
    kept = set()
    for url in urls[: killed + 1]:
        with open_registry(url) as registry:
            kept.add(registry.tool("choice").versions[0].state)
        with Engine(Settings.load(registry_url=url)) as engine:
            ((right, wrong),) = engine.score(engine.plan([CHOICE]))
        assert (right.value, wrong.value) == (1.0, 0.0)
    assert kept == {"rejected", "active"}
