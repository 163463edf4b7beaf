"""Many processes on one registry: nothing is lost, and a kill at any moment leaves one that opens."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlar_graph.registry import Provenance, open_registry
from rlar_graph.rewards.base import ToolSpec
from tests.patience import COMMAND_SECONDS, PATIENCE

PROCESSES = 8
ROUNDS = 8
DELAYS = (0.1, 0.3, 0.0, 0.013, 0.029, 0.071, 0.151, 0.257)
"""Seconds until each kill: the first :data:`IMPORTING` from the start, the others from the first write."""
IMPORTING = 2

COMMON = """
import os, sys
from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import RegistryError
from rlar_graph.registry import Decision, Provenance, Usage, open_registry
from rlar_graph.rewards.base import ToolSpec

url, worker = sys.argv[1], sys.argv[2]
report = AdmissionReport("maths", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))

def spec(content):
    return ToolSpec("maths", "verifier", "Numbers.", content_hash=content)

def register(registry, content):
    return registry.register(
        spec(content), provenance=Provenance("agent"), report=report, activate=True, reason=content
    )
"""

WORKER = f"""{COMMON}
with open_registry(url) as registry:
    register(registry, "shared")
    for turn in range({ROUNDS}):
        register(registry, f"{{worker}}-{{turn}}")
        registry.record([Usage("maths", 1, 1, 0, 0, 1.0)], [Decision("s", worker, tool="maths", version=1)])
        registry.bind("source:all", "maths")
"""

MIGRANT = f"""{COMMON}
print("ready", flush=True)
sys.stdin.read(1)
with open_registry(url) as registry:
    register(registry, "shared")
"""

VICTIM = f"""{COMMON}
with open_registry(url) as registry:
    turn = 0
    while True:
        turn += 1
        version = register(registry, f"{{worker}}-{{turn}}")
        registry.bind(f"source:{{worker}}", "maths")
        registry.record([Usage("maths", version.number, 2)], [Decision("s", "h", tool="maths", version=1)] * 2)
        if turn % 3 == 0:
            registry.rollback("maths")
        print(version.number, flush=True)
"""


def start(code: str, url: str, worker: object, **pipes: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, url, str(worker)], text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def test_processes_that_read_modify_and_write_lose_nothing(shared_url: str) -> None:
    with open_registry(shared_url):
        pass
    workers = [start(WORKER, shared_url, number) for number in range(PROCESSES)]
    assert [worker.wait(timeout=COMMAND_SECONDS) for worker in workers] == [0] * PROCESSES
    total = PROCESSES * ROUNDS
    with open_registry(shared_url) as registry:
        versions = registry.tool("maths").versions
        assert [version.number for version in versions] == list(range(1, total + 2))
        assert {version.content_hash for version in versions} == {"shared"} | {
            f"{worker}-{turn}" for worker in range(PROCESSES) for turn in range(ROUNDS)
        }
        assert [version.state for version in versions].count("active") == 1
        (used,) = registry.usage()
        assert (used.completions, used.seconds) == (total, total)
        assert len(registry.decisions(limit=total + 1)) == total
        actions = [event.action for event in registry.history()]
        assert (actions.count("promoted"), actions.count("retired"), actions.count("bound")) == (
            total + 1,
            total,
            1,
        )


def test_processes_that_make_the_registry_at_once_all_find_it_made(shared_url: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    migrants = [start(MIGRANT, shared_url, number, **pipes) for number in range(PROCESSES)]
    for migrant in migrants:
        assert migrant.stdout is not None
        assert migrant.stdout.readline() == "ready\n"
    for migrant in migrants:
        migrant.communicate("x", timeout=COMMAND_SECONDS)
    assert [migrant.returncode for migrant in migrants] == [0] * PROCESSES
    with open_registry(shared_url) as registry:
        assert len(registry.tool("maths").versions) == 1


def test_a_kill_at_any_moment_leaves_a_registry_that_opens_and_holds_together(shared_url: str) -> None:
    acknowledged = 0
    for number, delay in enumerate(DELAYS):
        victim = start(VICTIM, shared_url, number, stdout=subprocess.PIPE)
        assert victim.stdout is not None
        first = victim.stdout.readline() if number >= IMPORTING else ""
        time.sleep(delay)
        victim.send_signal(signal.SIGKILL)
        said = (first + victim.stdout.read()).split()
        victim.stdout.close()
        assert victim.wait() == -signal.SIGKILL
        acknowledged = max([acknowledged, *map(int, said)])
        holds_together(shared_url, acknowledged)
    assert acknowledged > 5


def holds_together(url: str, acknowledged: int) -> None:
    with open_registry(url) as registry:
        tools = registry.tools()
        versions = tools[0].versions if tools else ()
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        assert len(versions) >= acknowledged
        # Half an admission would show as a version without a report, a candidate, or two that are active.
        assert all(version.admitted for version in versions)
        states = [version.state for version in versions]
        assert states.count("active") == (1 if versions else 0)
        assert "candidate" not in states
        for used in registry.usage():
            assert used.completions == 2 * used.batches
        assert len(registry.decisions(limit=10**6)) == 2 * sum(used.batches for used in registry.usage())
    if not url.startswith("sqlite"):
        return
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    raw.close()


FORKING = f"""{COMMON}
with open_registry(url) as registry:
    register(registry, "shared")
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(20):
                registry.record([Usage("maths", 1, 1)])
            os._exit(0)
        children.append(child)
    for _ in range(20):
        registry.record([Usage("maths", 1, 1)])
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    print(registry.usage()[0].completions)
"""


def test_forked_trainer_workers_write_over_connections_of_their_own(shared_url: str) -> None:
    done = start(FORKING, shared_url, 0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = done.communicate(timeout=COMMAND_SECONDS)
    assert (done.returncode, out.strip()) == (0, "100"), errors


def test_a_writer_waits_for_another_and_readers_do_not(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    spec = ToolSpec("maths", "verifier", "Numbers.", content_hash="x")
    with open_registry(f"sqlite:///{path}") as registry, ThreadPoolExecutor(1) as pool:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        write = pool.submit(registry.register, spec, provenance=Provenance("builtin"))
        assert registry.tools() == ()
        with pytest.raises(TimeoutError):
            write.result(timeout=0.3)
        holder.execute("ROLLBACK")
        holder.close()
        assert write.result(timeout=PATIENCE).number == 1


FILLING = f"""{COMMON}
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_registry(url) as registry:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    turn = 0
    try:
        while True:
            turn += 1
            registry.register(spec(""), provenance=Provenance("agent"), source=f"{{turn}}" * 10_000, report=report)
            print(turn, flush=True)
    except RegistryError as error:
        print(error, file=sys.stderr)
"""


def test_a_full_disk_is_an_error_that_loses_nothing_written_before(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    full = start(FILLING, f"sqlite:///{path}", 0, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = full.communicate(timeout=COMMAND_SECONDS)
    written = len(out.split())
    assert full.returncode == 0, errors
    assert str(path) in errors
    assert "disk" in errors
    with open_registry(f"sqlite:///{path}") as registry:
        versions = registry.tool("maths").versions
        assert len(versions) == written > 3
        assert registry.source("maths", written) == str(written) * 10_000
