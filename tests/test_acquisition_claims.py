"""Many processes that acquire for the same families: one at a time each, and a kill leaves nothing half done."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from rlar_graph.errors import RegistryError
from rlar_graph.registry import open_registry
from rlar_graph.registry.claims import new_owner
from rlar_graph.registry.store import Registry
from tests.patience import COMMAND_SECONDS, until

PROCESSES = 8
FAMILIES = 5
SECONDS = 2.0
CLAIM_SECONDS = 3.5
"""Long enough for a holder that has to wait for its turn on the processor."""

HAMMER = f"""
import os, random, sys, time
from pathlib import Path
from rlar_graph.registry import open_registry
from rlar_graph.registry.claims import new_owner

url, folder = sys.argv[1], Path(sys.argv[2])
owner, tries, wins, doubles = new_owner(), 0, 0, 0
with open_registry(url) as registry:
    print("ready", flush=True)
    sys.stdin.read(1)
    end = time.monotonic() + {SECONDS}
    while time.monotonic() < end:
        family = f"family-{{random.randrange({FAMILIES})}}"
        tries += 1
        if not registry.claim(family, owner, 30):
            continue
        wins += 1
        witness = folder / family
        try:
            witness.touch(exist_ok=False)  # the file system's own word on who is alone
            time.sleep(random.random() / 200)
            witness.unlink()
        except FileExistsError:
            doubles += 1
        registry.release(family, owner)
print(tries, wins, doubles)
"""

HOLDER = """
import sys, time
from rlar_graph.registry import open_registry

with open_registry(sys.argv[1]) as registry:
    assert registry.claim("f", "holder", float(sys.argv[2]))
    print("held", flush=True)
    if sys.argv[3] == "beat":
        for _ in range(40):
            time.sleep(0.1)
            assert registry.renew("f", "holder", float(sys.argv[2]))
        print("done", flush=True)
    time.sleep(60)
"""

ADOPTER = """
import sys
from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.registry import Attempt, FamilyRecord, Provenance, open_registry
from rlar_graph.rewards.base import ToolSpec

url, worker = sys.argv[1], sys.argv[2]
with open_registry(url) as registry:
    print("ready", flush=True)
    for turn in range(1_000_000):
        family, passed = f"family-{worker}-{turn}", turn % 3 > 0
        report = AdmissionReport("t", "verifier", "", False, {}, "", 0.0, (Check("contract", passed),))
        assert registry.claim(family, "me", 600)
        registry.adopt(
            ToolSpec(f"verifier-{turn % 2}", "verifier", "Made."),
            source=f"def score(): return {worker} + {turn}",
            provenance=Provenance("agent"),
            report=report,
            keys=[family],
            attempt=Attempt(family, "verifier", "admitted" if passed else "rejected", "tested", calls=3),
            owner="me",
            reason=family,
        )
        print(turn, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(process: subprocess.Popen[str]) -> list[str]:
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == -signal.SIGKILL
    return rest.split()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rlar.db'}"


def test_eight_processes_never_hold_one_claim_twice(url: str, tmp_path: Path) -> None:
    witnesses = tmp_path / "witnesses"
    witnesses.mkdir()
    hammers = [start(HAMMER, url, witnesses) for _ in range(PROCESSES)]
    assert [said(hammer) for hammer in hammers] == ["ready"] * PROCESSES
    for hammer in hammers:
        assert hammer.stdin is not None
        hammer.stdin.write("x")
        hammer.stdin.flush()
    figures = [list(map(int, hammer.communicate(timeout=COMMAND_SECONDS)[0].split())) for hammer in hammers]
    tries, wins, doubles = map(sum, zip(*figures, strict=True))
    assert doubles == 0
    assert wins > PROCESSES
    print(f"{PROCESSES} processes, {SECONDS} s: {tries} tries, {wins} claims, {doubles} doubled")  # noqa: T201
    assert tries > wins, "the processes did not get in each other's way: the test shows nothing"


def test_the_claim_of_a_killed_holder_runs_out(url: str) -> None:
    started = time.monotonic()
    holder = start(HOLDER, url, CLAIM_SECONDS, "idle")
    assert said(holder) == "held"
    with open_registry(url) as registry:
        assert not registry.claim("f", "other", 30)
        killed(holder)
        assert not registry.claim("f", "other", 30)
        assert registry.claimed_by("f") == "holder"
        until(lambda: registry.claim("f", "other", 30))
        assert time.monotonic() - started > CLAIM_SECONDS - 0.1
        assert registry.claimed_by("f") == "other"
        assert not registry.renew("f", "holder", 30)
        registry.release("f", "holder")
        assert registry.claimed_by("f") == "other"


def test_a_claim_that_is_renewed_does_not_run_out(url: str) -> None:
    holder = start(HOLDER, url, CLAIM_SECONDS, "beat")
    assert said(holder) == "held"
    with open_registry(url) as registry:
        beating = threading.Thread(target=said, args=(holder,))
        beating.start()
        tries = 0
        while beating.is_alive():
            assert not registry.claim("f", "other", 30)
            tries += 1
            time.sleep(0.02)
        assert tries > 5
    killed(holder)


def test_an_owner_may_claim_again_and_owners_differ(url: str) -> None:
    with open_registry(url) as registry:
        assert registry.claim("f", "a", 30)
        assert registry.claim("f", "a", 30)
        registry.release("f", "a")
        assert registry.claimed_by("f") is None
        assert not registry.renew("f", "a", 30)
    assert len({new_owner() for _ in range(100)}) == 100


def test_a_frozen_registry_lets_nobody_acquire(url: str) -> None:
    with open_registry(url, frozen=True) as registry:
        assert not registry.claim("f", "a", 30)


def test_a_kill_in_the_middle_of_an_adoption_leaves_nothing_half_admitted(url: str, tmp_path: Path) -> None:
    adopted = 0
    for number in range(8):
        victim = start(ADOPTER, url, number)
        assert said(victim) == "ready"
        adopted += number % 2 and bool(said(victim))
        time.sleep(0.003 + 0.037 * number % 0.2)
        adopted += len(killed(victim))
        with open_registry(url) as registry:
            whole(registry)
    assert adopted >= 4
    with sqlite3.connect(tmp_path / "rlar.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()


def whole(registry: Registry) -> None:
    """Every adoption is all there (version, report, state, binding, attempt, claim released) or not at all."""
    events: dict[str, Counter[str]] = {}
    for event in registry.history():
        events.setdefault(event.key or event.reason, Counter())[event.action] += 1
    versions = [version for tool in registry.tools() for version in tool.versions]
    bound = {key for tool in registry.tools() for key in tool.bindings}
    attempts = {attempt.family: attempt.outcome for attempt in registry.attempts()}
    assert len(attempts) == len(versions)
    admitted = {family for family, outcome in attempts.items() if outcome == "admitted"}
    assert bound == admitted
    assert {version.state for version in versions} <= {"active", "retired", "rejected"}
    assert sum(version.admitted is True for version in versions) == len(admitted)
    for family, outcome in attempts.items():
        assert registry.claimed_by(family) is None
        assert events[family]["registered"] == 1
        assert events[family]["promoted"] == (outcome == "admitted")
    assert not [family for family in events if family not in attempts]


def test_an_adoption_whose_claim_was_taken_over_changes_nothing(url: str) -> None:
    from rlar_graph.admission import AdmissionReport, Check
    from rlar_graph.registry import Provenance
    from rlar_graph.rewards.base import ToolSpec

    report = AdmissionReport("t", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))
    with open_registry(url) as registry:
        assert registry.claim("f", "second", 30)
        with pytest.raises(RegistryError, match="second acquires for it now"):
            registry.adopt(
                ToolSpec("t", "verifier", "Made."),
                source="x",
                provenance=Provenance("agent"),
                report=report,
                keys=["f"],
                owner="first",
            )
        assert registry.tools() == ()
