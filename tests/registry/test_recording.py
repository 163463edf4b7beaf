"""What was scored is counted once, however its process ends, also where the registry cannot be written for a while."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.registry import Decision, Outcome, Provenance, Spend, Stamp, Usage, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec
from tests.patience import COMMAND_SECONDS, until

PASSED = AdmissionReport("maths", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))


def counted(registry: Registry) -> tuple[int, int, int, int]:
    """Return the completions of usage, outcomes and decisions, and the calls of a language model."""
    used = sum(each.completions for each in registry.usage())
    with registry._database.reading() as connection:
        outcomes = connection.exec_driver_sql(
            "SELECT COALESCE(SUM(completions), 0) FROM rlar_outcomes"
        ).scalar()
    return (
        used,
        int(outcomes or 0),
        len(registry.decisions(limit=10**6)),
        sum(s.calls for s in registry.spent()),
    )


def has_counted(registry: Registry, completions: int) -> bool:
    return counted(registry)[1] == completions


def maths(registry: Registry) -> None:
    spec = ToolSpec("maths", "verifier", "", content_hash="x")
    registry.register(spec, provenance=Provenance("builtin"), report=PASSED, activate=True)


def write(registry: Registry, stamp: Stamp | None) -> None:
    registry.record(
        [Usage("maths", 1, 3)],
        [Decision("s", "h", tool="maths", version=1)],
        [Outcome("s", "maths", None, 3)],
        [Spend("judge", 2, 1, 1, 0.5, 0.0)],
        stamp=stamp,
    )


def test_a_write_that_is_repeated_counts_once_and_the_next_one_counts(registry: Registry) -> None:
    maths(registry)
    for stamp in (Stamp("a", 1), Stamp("a", 1), Stamp("b", 1), Stamp("a", 2), Stamp("a", 2), Stamp("a", 1)):
        write(registry, stamp)
    assert counted(registry) == (9, 9, 3, 6)
    write(registry, None)
    assert counted(registry) == (12, 12, 4, 8)


def test_a_write_that_failed_may_be_repeated(registry: Registry) -> None:
    maths(registry)
    stamp = Stamp("a", 1)
    with pytest.raises(Exception, match="no version 7"):
        registry.record([Usage("maths", 1, 3), Usage("maths", 7, 1)], stamp=stamp)
    write(registry, stamp)
    assert counted(registry) == (3, 3, 1, 2)


def test_a_write_repeated_while_the_first_is_under_way_counts_once(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        maths(registry)
        with ThreadPoolExecutor(8) as threads:
            for number in range(1, 6):
                list(threads.map(lambda n: write(registry, Stamp("a", n)), [number] * 8))
        assert counted(registry) == (15, 15, 5, 10)


HEAD = """
import os, signal, sys, threading, time
import rlar_graph.library, rlar_graph.recorder
from rlar_graph import AgentReward, Rollout, Settings
rlar_graph.library.AWAY_SECONDS = rlar_graph.recorder.RETRY_SECONDS = 0.5
CHOICE = Rollout(
    "Which is even?\\nA. 3\\nB. 4\\nAnswer with the letter.",
    ("The answer is B.", "The answer is A."),
    reference="B",
    choices=(("A", "3"), ("B", "4")),
)
YES = Rollout("Is 4 even? Answer yes or no.", ("Yes.", "No."), reference="yes")
url = sys.argv[1]
reward = AgentReward(Settings.load(registry_url=url, decision_sample=1.0))

def values(rollout):
    return [score.value for score in reward.score([rollout])[0]]

def scored(times):
    for _ in range(times):
        assert values(CHOICE) == [1.0, 0.0]

def told(word):
    print(word, flush=True)
    sys.stdin.readline()
"""
ENDS = {
    "returns": "",
    "exits": "sys.exit(0)",
    "closes": "reward.close()",
    "is told to end": "told('scored'); time.sleep(3600)",
    "ends at once": "told('scored'); os._exit(0)",
}


def child(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + code, f"sqlite:///{folder / 'rlar.db'}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("end", ENDS)
def test_counts_go_on_over_restarts_however_a_process_ends(end: str, tmp_path: Path) -> None:
    for runs in (1, 2):
        process = child(f"scored(5)\n{ENDS[end]}", tmp_path)
        if "told" in ENDS[end]:
            assert line(process) == "scored"
            with open_registry(f"sqlite:///{tmp_path / 'rlar.db'}") as registry:
                # Nothing is scored any more, and what was is written all the same.
                until(partial(has_counted, registry, 10 * runs))
            go_on(process)
            if end == "is told to end":
                process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=COMMAND_SECONDS)
        assert process.returncode == (-signal.SIGTERM if end == "is told to end" else 0), errors
        with open_registry(f"sqlite:///{tmp_path / 'rlar.db'}") as registry:
            assert counted(registry) == (10 * runs, 10 * runs, 10 * runs, 0)


FORKING = """
scored(1)
reward.engine.recorder.flush()
scored(2)  # waits in the parent when it forks
children = []
for _ in range(3):
    with reward.engine.recorder._lock, reward.engine.recorder._writing:  # as a thread in the middle of it has them
        pid = os.fork()
    if pid == 0:
        scored(4)
        reward.engine.recorder.flush()
        scored(1)
        reward.close()
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 3
scored(2)
"""


def test_a_fork_in_the_middle_neither_doubles_nor_loses_a_row(tmp_path: Path) -> None:
    process = child(FORKING, tmp_path)
    _, errors = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0, errors
    with open_registry(f"sqlite:///{tmp_path / 'rlar.db'}") as registry:
        total = 2 * (1 + 2 + 3 * 5 + 2)
        assert counted(registry) == (total, total, total, 0)


BLOCKING = {
    "full": """
import resource
def block():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
def release():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
""",
    "a small disk": """
def block():
    with open("filling", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
def release():
    os.unlink("filling")
""",
    "read-only": """
import sqlalchemy as sa
blocked = False
def begin(connection):
    connection.connection.driver_connection.execute(f"PRAGMA query_only = {int(blocked)}")
sa.event.listen(sa.Engine, "engine_connect", begin)
def block():
    global blocked
    blocked = True
def release():
    global blocked
    blocked = False
""",
}
"""Ways in which a SQLite file cannot be written, while it can be read."""
UNWRITABLE = """
scored(1)
reward.engine.recorder.flush()
block()
rounds = 1
while reward.engine.recorder._doubtful is None:
    scored(1)
    rounds += 1
    time.sleep(0.01)
scored(20)
asked = 0
for _ in range(3):
    (row,) = reward.score([YES])
    assert [score.value for score in row] == [None, None]
    asked += 1
print(row[0].abstained)
scored(20)
release()
while values(YES) != [1.0, 0.0]:
    asked += 1
    time.sleep(0.1)
scored(1)
told(f"{2 * (rounds + 41)} {2 * (asked + 1)}")
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("way", BLOCKING)
def test_scoring_goes_on_where_nothing_can_be_written_and_all_is_written_later(
    way: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue("small_disk") if way == "a small disk" else tmp_path
    process = child(BLOCKING[way] + UNWRITABLE, folder)
    problem = "it cannot be written to" if way == "read-only" else "disk"
    said = line(process)
    assert said.startswith("no tool could be looked up: ") and problem in said
    chosen, asked = map(int, line(process).split())
    with open_registry(f"sqlite:///{folder / 'rlar.db'}") as registry:
        until(partial(has_counted, registry, chosen + asked))
        used = {each.tool: each.completions for each in registry.usage()}
        assert (used["choice"], used["short_answer"]) == (chosen, 2)
        assert len(registry.decisions(limit=10**6)) == chosen + asked
        assert registry.tool("short_answer").active is not None
    go_on(process)
    _, errors = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0, errors
    warnings = [each for each in errors.splitlines() if "what was scored" in each]
    assert "is written later (" in warnings[0] and problem in warnings[0]
    assert warnings[1:] == ["what was scored is written again"]
