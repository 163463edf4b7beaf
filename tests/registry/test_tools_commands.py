"""``rlar tools`` on tools that an agent made: approval, reports of what was rejected, and a history with reasons."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.registry import Attempt, KeptProbe, Provenance, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec
from tests.patience import COMMAND_SECONDS

NAME, KEY = "verifier-countdown-1a2b3c4d", "source:countdown"
RATE = Check("true positives", False, figure=0.5, threshold=0.9)
COUNTS = {"good": 40, "bad": 40}
PASSED = AdmissionReport(NAME, "verifier", "", False, COUNTS, "", 0.0, (Check("contract", True),))
FAILED = AdmissionReport(NAME, "verifier", "", False, COUNTS, "", 0.0, (Check("contract", True), RATE))


def adopt(registry: Registry, source: str, report: AdmissionReport = PASSED, *, promote: bool = True) -> None:
    registry.adopt(
        ToolSpec(NAME, "verifier", "Checks sums.\x1b[2J"),
        source=source,
        provenance=Provenance("agent"),
        report=report,
        keys=[KEY],
        promote=promote,
        attempt=Attempt(KEY, "verifier", "admitted" if report.admitted else "rejected", source, calls=3),
        reason=f"for {KEY}: {report.summary}",
    )


def tools(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlar_graph.cli", "tools", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rlar.db'}"


def test_approve_promotes_the_newest_admitted_candidate_and_binds_its_keys(url: str, tmp_path: Path) -> None:
    with open_registry(url) as registry:
        adopt(registry, "one", promote=False)
        adopt(registry, "two", promote=False)
        adopt(registry, "three", FAILED)
        done = tools("approve", NAME, "--reason", "read it", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{NAME} v2 is active; it serves {KEY}\n")
        active = registry.active(KEY)
        assert active is not None
        assert active.number == 2
        assert "read it" in {event.reason for event in registry.history(NAME) if event.action == "promoted"}
        assert tools("approve", NAME, "1", cwd=tmp_path).returncode == 0
        rejected = tools("approve", NAME, "3", cwd=tmp_path)
        nothing = tools("approve", NAME, cwd=tmp_path)
        assert (rejected.returncode, nothing.returncode) == (1, 1)
        assert "was rejected by the gate" in rejected.stderr
        assert "waits for approval" in nothing.stderr


def test_show_prints_rejected_reports_and_outlines_the_others(url: str, tmp_path: Path) -> None:
    with open_registry(url) as registry:
        adopt(registry, "one", FAILED)
        adopt(registry, "two")
    shown = tools("show", NAME, cwd=tmp_path).stdout
    assert "v2 (verifier, active): Checks sums.\\x1b[2J" in shown
    assert "v1 rejected: failed true positives 0.5 (wanted 0.9) on 40 good, 40 bad probes" in shown
    first = tools("show", NAME, "--version", "1", cwd=tmp_path).stdout
    assert "REJECTED" in first
    assert "FAIL  true positives 0.5 (wanted 0.9)" in first
    assert "v2 active: passed 1 checks" in first


def test_history_says_why_each_change_happened(url: str, tmp_path: Path) -> None:
    with open_registry(url) as registry:
        adopt(registry, "one", FAILED)
        adopt(registry, "two")
        registry.found(NAME, 2, "abstention", "reacquire", "abstention 0.41 over 2,000 rollouts\x1b]0;")
        registry.found(NAME, 2, "audit gap", "quarantine", "audit gap 0.2 over 1,000 audited completions")
        registry.record_attempt(Attempt("source:other", "judge", "refused", "no endpoint"))
    said = tools("history", NAME, cwd=tmp_path).stdout
    order = [
        f"{KEY} attempted verifier, rejected: one (3 calls, 0 tokens, 0.0 s)",
        f"v1 rejected: for {KEY}: failed true positives 0.5",
        f"v2 promoted: for {KEY}: passed 1 checks",
        f"v2 bound {KEY}: for {KEY}",
        "v2 drift:reacquire: abstention 0.41 over 2,000 rollouts\\x1b]0; (drift)",
        "v2 quarantined: audit gap 0.2 over 1,000 audited completions (drift)",
    ]
    places = [said.find(line) for line in order]
    assert -1 not in places, said
    assert places == sorted(places)
    assert "no endpoint" not in said
    assert "no endpoint" in tools("history", cwd=tmp_path).stdout
    rows = [json.loads(line) for line in tools("history", "--json", cwd=tmp_path).stdout.splitlines()]
    assert {row["action"] for row in rows} >= {"registered", "attempted", "quarantined", "drift:reacquire"}


EVEN = """
def score(prompt, completion, reference, **evidence):
    return 1.0 if completion.strip() in ("0", "2", "4", "6", "8") else 0.0
"""


def even_probes() -> list[KeptProbe]:
    said = [("good", f"{' ' * (n // 5)}{n % 5 * 2}") for n in range(25)]
    said += [("bad", f"{' ' * (n // 5)}{n % 5 * 2 + 1}") for n in range(25)]
    said += [
        ("hostile", text)
        for text in ("", ".", "Solution:", "yes", "0 1 2", "I say 4", "4!", "#", "-", "two", "x" * 99)
    ]
    return [
        KeptProbe(
            json.dumps({"prompt": "Say an even digit.", "completion": text, "expect": expect}),
            True,
            "user",
            expect,
        )
        for expect, text in said
    ]


def test_another_team_runs_the_gate_again_and_approves(url: str, tmp_path: Path) -> None:
    with open_registry("sqlite://") as theirs:
        theirs.keep_probes(KEY, even_probes())
        adopt(theirs, EVEN)
        theirs.export(tmp_path / "tools.json")
    assert tools("import", "tools.json", cwd=tmp_path).returncode == 0
    assert tools("approve", NAME, cwd=tmp_path).returncode == 1, "nothing scores that was not measured here"
    done = tools("test", NAME, "--keep", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "25 good, 25 bad, 11 hostile" in done.stdout
    approved = tools("approve", NAME, cwd=tmp_path)
    assert approved.stdout == f"{NAME} v1 is active; it serves {KEY}\n"
    with open_registry(url) as registry:
        wrong = [
            KeptProbe(probe.body.replace('"good"', '"bad"'), True, "user", "bad")
            for probe in even_probes()[:8]
        ]
        body = [probe.body.replace("Say an even", "Now say an odd") for probe in wrong]
        registry.keep_probes(KEY, [KeptProbe(text, True, "audit", "bad") for text in body])
    failed = tools("test", NAME, "--keep", cwd=tmp_path)
    assert failed.returncode == 1
    assert "FAIL  true negatives" in failed.stdout
    assert tools("list", cwd=tmp_path).stdout.count("quarantined") == 1
    assert tools("test", NAME, "--version", "7", cwd=tmp_path).returncode == 1
