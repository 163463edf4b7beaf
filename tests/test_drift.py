"""Drift monitors on simulated streams: quiet on healthy ones for long, and quick on every kind of drift."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.drift import DriftMonitor, Finding, at_least
from rlar_graph.library import Loaded
from rlar_graph.registry import Audit, Author, Observation, Provenance, observations, open_registry
from rlar_graph.registry.database import Database
from rlar_graph.registry.observations import AUDITS_KEPT, OBSERVATIONS_KEPT
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.routing.router import route
from rlar_graph.scoring import Planned, score_planned
from rlar_graph.types import Rollout, Score, ToolKind, Verdict

PASSED = AdmissionReport("t", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))
GROUP = 8

Say = Callable[[random.Random, int], float | None]
"""What a simulated tool says of one completion: (chance, number of the rollout) -> value."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_registry(f"sqlite:///{tmp_path / 'rlar.db'}") as opened:
        yield opened


def adopt(
    registry: Registry, *, kind: ToolKind = "verifier", author: Author = "agent", source: str = "1"
) -> int:
    return registry.adopt(
        ToolSpec("t", kind, "Made."),
        source=source,
        provenance=Provenance(author),
        report=PASSED,
        keys=["family:1"],
        reason=source,
    ).number


def rows(say: Say, rollouts: int, *, seconds: float = 0.001, start: int = 0) -> list[list[Score]]:
    chance = random.Random(start + 7)  # noqa: S311
    found = []
    for number in range(start, start + rollouts):
        values = [say(chance, number) for _ in range(GROUP)]
        reason = "no answer"
        found.append([Score(v, abstained=None if v is not None else reason, seconds=seconds) for v in values])
    return found


def by_difficulty(chance: random.Random, number: int) -> float | None:
    """A verifier on a mixed set: each prompt has its own share of right answers, many of them 0 or 1."""
    share = (0.0, 1.0, 0.0, 1.0, 0.9, 0.5, 0.1, 1.0)[number % 8]
    return None if chance.random() < 0.03 else float(chance.random() < share)


def mostly_mastered(chance: random.Random, number: int) -> float | None:
    """A policy near the end of its training: 93 % of the groups are all right."""
    return 1.0 if number % 100 < 93 else float(chance.random() < 0.6)


def graded(chance: random.Random, number: int) -> float | None:
    return min(1.0, max(0.0, chance.gauss(0.6, 0.15)))


def clustered_abstentions(chance: random.Random, number: int) -> float | None:
    """One prompt in six cannot be judged at all: bursts, and still within bounds."""
    return None if number % 6 == 0 else float(chance.random() < 0.5)


HEALTHY: list[Say] = [by_difficulty, mostly_mastered, graded, clustered_abstentions]


@pytest.mark.parametrize("say", HEALTHY)
def test_a_healthy_stream_of_ten_thousand_rollouts_is_left_alone(registry: Registry, say: Say) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    for batch in range(100):
        monitor.observe("t", 1, rows(say, 100, start=batch * 100))
        assert monitor.findings() == ()
    assert registry.observed("t", 1, 10**6).rollouts == 10_000
    assert registry.reacquisitions() == ()
    assert [event.action for event in registry.history()] == ["registered", "admitted", "promoted", "bound"]


DRIFTS: dict[str, Say] = {
    "abstention": lambda chance, number: None if chance.random() < 0.45 else float(chance.random() < 0.5),
    "no variance": lambda chance, number: 0.5,
    "saturation": lambda chance, number: float(chance.random() < 0.997),
}


@pytest.mark.parametrize("monitor_name", DRIFTS)
def test_a_drift_after_a_healthy_time_is_found_within_a_window(registry: Registry, monitor_name: str) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(by_difficulty, 2_000))
    assert monitor.findings() == ()
    took = 0
    found: tuple[Finding, ...] = ()
    while not found and took < 2_500:
        monitor.observe("t", 1, rows(DRIFTS[monitor_name], 100, start=5_000 + took))
        took += 100
        found = monitor.findings()
    assert monitor_name in {finding.monitor for finding in found}
    assert 200 <= took <= 2_400
    first = found[0]
    assert (first.tool, first.version, first.action) == ("t", 1, "reacquire")
    assert first.figure > first.threshold
    (marked,) = {each.tool: each for each in registry.reacquisitions()}.values()
    assert (marked.version, marked.keys) == (1, ("family:1",))
    assert marked.reason == registry.history("t")[-1].reason
    assert registry.active("family:1") is not None, "it goes on scoring until something better is there"


def test_all_zeros_is_saturation_too(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(lambda chance, number: 0.0, 1_000))
    assert {finding.monitor for finding in monitor.findings()} == {"no variance", "saturation"}


def test_a_few_rollouts_prove_nothing(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(lambda chance, number: None, 199))
    assert monitor.findings() == ()
    monitor.observe("t", 1, rows(lambda chance, number: None, 1))
    assert [finding.monitor for finding in monitor.findings()] == ["abstention"]


class Breaking:
    """A tool that breaks on one rollout in ten, run by the real scorer."""

    spec = ToolSpec("t", "verifier", "Breaks.")

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        if any(rollout.prompt.endswith("0") for rollout in rollouts):
            raise ValueError("boom")
        return [[Verdict(n % 2) for n in range(len(rollout.completions))] for rollout in rollouts]


def test_a_tool_that_breaks_is_found_by_what_the_scorer_says_of_it(registry: Registry) -> None:
    adopt(registry)
    loaded = Loaded(Breaking(), "t", 1)
    rollouts = [Rollout(f"p{number}", ("a", "b")) for number in range(400)]
    scores, _ = score_planned([Planned(rollout, route(rollout), loaded) for rollout in rollouts], 100)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, scores)
    (finding,) = monitor.findings()
    assert finding.monitor == "errors"
    assert 0.04 < finding.figure < 0.1
    assert registry.observed("t", 1, 10).errors == 80


def test_a_slow_tool_is_watched_and_a_slow_judge_is_not_slow(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(by_difficulty, 300, seconds=3.0))
    (finding,) = monitor.findings()
    assert (finding.monitor, finding.action) == ("latency", "watch")
    assert registry.history("t")[-1].action == "drift:watch"
    assert registry.reacquisitions() == ()
    registry.adopt(
        ToolSpec("j", "judge", "Made."), source="1", provenance=Provenance("agent"), report=PASSED, keys=[]
    )
    monitor.observe("j", 1, rows(by_difficulty, 300, seconds=3.0))
    assert [finding.tool for finding in monitor.findings()] == ["t"]


def test_a_built_in_tool_is_watched_not_rewritten(registry: Registry) -> None:
    adopt(registry, author="builtin")
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(lambda chance, number: None, 500))
    assert [finding.action for finding in monitor.findings()] == ["watch"]
    assert registry.reacquisitions() == ()


def audits(train: float, audit: float, pairs: int, seed: int) -> list[tuple[float, float]]:
    """Binary values with these means; where both can agree they do so four times in five."""
    chance = random.Random(seed)  # noqa: S311
    found = []
    for _ in range(pairs):
        common = chance.random()
        other = common if chance.random() < 0.8 else chance.random()
        found.append((float(common < train), float(other < audit)))
    return found


def test_a_policy_that_learns_and_an_audit_that_agrees_are_left_alone(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    for step in range(200):
        mean = 0.2 + 0.6 * step / 200
        monitor.audit("t", 1, audits(mean, mean, 50, step))
        assert monitor.findings() == ()


def test_a_gap_that_was_there_from_the_beginning_is_no_drift(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    for step in range(60):
        monitor.audit("t", 1, audits(0.6, 0.4, 50, step))
        assert monitor.findings() == ()


def test_a_policy_that_gets_worse_by_both_counts_is_no_drift(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    for step in range(60):
        monitor.audit("t", 1, audits(0.8 - 0.005 * step, 0.8 - 0.01 * step, 50, step))
        assert monitor.findings() == ()


def test_reward_that_rises_while_the_audit_stays_flat_is_quarantined_by_itself(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    for step in range(200):
        mean = min(0.95, 0.3 + 0.65 * step / 100)
        monitor.audit("t", 1, audits(mean, 0.3, 50, step))
        found = monitor.findings()
        if found:
            break
    ((monitor_name, action),) = [(finding.monitor, finding.action) for finding in found]
    assert (monitor_name, action) == ("audit gap", "quarantine")
    assert step < 60
    assert registry.active("family:1") is None
    assert registry.tool("t").versions[0].state == "quarantined"
    last = registry.history("t")[-1]
    assert (last.action, last.who) == ("quarantined", "drift")
    assert last.reason == found[0].reason
    assert "audited completions" in last.reason
    assert monitor.findings() == ()


def test_what_is_written_again_after_a_quarantine_stays_there(registry: Registry) -> None:
    adopt(registry)
    registry.quarantine("t", "hacked", who="drift")
    assert adopt(registry) == 1
    assert registry.tool("t").versions[0].state == "quarantined"
    assert registry.active("family:1") is None
    assert adopt(registry, source="2") == 2
    assert registry.active("family:1") is not None


def test_a_version_is_marked_once_and_its_successor_starts_afresh(registry: Registry) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(lambda chance, number: None, 500))
    assert monitor.findings() == monitor.findings()
    assert [event.action for event in registry.history()].count("drift:reacquire") == 1
    assert len(registry.reacquisitions()) == 1
    adopt(registry, source="2")
    assert registry.reacquisitions() == ()
    assert monitor.findings() == ()


def test_the_processes_watch_together(registry: Registry) -> None:
    adopt(registry)
    monitors = [DriftMonitor(registry) for _ in range(4)]
    for monitor in monitors:
        monitor.observe("t", 1, rows(lambda chance, number: None, 60))
        monitor.flush()
    assert [finding.window for finding in monitors[0].findings()] == [240]


def test_a_frozen_registry_is_watched_and_not_changed(registry: Registry) -> None:
    adopt(registry)
    registry.freeze()
    monitor = DriftMonitor(registry)
    monitor.observe("t", 1, rows(lambda chance, number: None, 500))
    before = registry.revision()
    assert [finding.monitor for finding in monitor.findings()] == ["abstention"]
    assert registry.revision() == before


def test_a_batch_is_counted_by_the_versions_that_scored_it(registry: Registry) -> None:
    adopt(registry)
    adopt(registry, source="2")
    monitor = DriftMonitor(registry)
    one, two, nobody = (
        Score(1.0, tool="t", version=1),
        Score(0.0, tool="t", version=2),
        Score(None, abstained="-"),
    )
    monitor.observe_batch([[one, one], [two], [nobody, nobody], [two, two], []])
    assert monitor.look() == ()
    assert registry.observed("t", 1, 10) == Observation(1, 2, groups=1, flat=1, tops=2)
    assert registry.observed("t", 2, 10) == Observation(2, 3, groups=1, flat=1, bottoms=3)


def test_a_process_looks_now_and_then_at_the_versions_it_uses(registry: Registry) -> None:
    adopt(registry)
    other = registry.adopt(
        ToolSpec("u", "verifier", "Made."), source="1", provenance=Provenance("agent"), report=PASSED, keys=[]
    )
    broken = rows(lambda chance, number: None, 300)
    elsewhere = DriftMonitor(registry)
    elsewhere.observe(other.tool, 1, broken)
    assert elsewhere.look() == (), "not before its time"
    monitor = DriftMonitor(registry, seconds=0.0)
    monitor.observe("t", 1, broken)
    assert [finding.tool for finding in monitor.look()] == ["t"]
    assert sorted(finding.tool for finding in monitor.findings()) == ["t", "u"]


def test_observing_writes_nothing_until_it_is_flushed(registry: Registry, tmp_path: Path) -> None:
    adopt(registry)
    monitor = DriftMonitor(registry)
    with closing(sqlite3.connect(tmp_path / "rlar.db")) as watching:

        def writes() -> int:
            return int(watching.execute("PRAGMA data_version").fetchone()[0])

        before = writes()
        monitor.observe("t", 1, rows(by_difficulty, 1_000))
        assert writes() == before
        monitor.flush()
        assert writes() != before


@pytest.mark.parametrize(
    ("hits", "of", "sample", "low", "high"),
    [(0, 0, 0, 0, 0), (0, 100, 100, 0, 0), (100, 100, 100, 0.8, 0.9), (500, 1000, 1000, 0.43, 0.45)],
)
def test_a_share_counts_by_its_lower_bound(hits: int, of: int, sample: int, low: float, high: float) -> None:
    assert low <= at_least(hits, of, sample) <= high + 1e-9


def test_old_observations_make_room_and_the_first_audits_stay(registry: Registry, tmp_path: Path) -> None:
    version = adopt(registry)
    database = Database(f"sqlite:///{tmp_path / 'rlar.db'}")
    with database.writing() as connection:
        for number in range(OBSERVATIONS_KEPT + 10):
            observations.add(connection, version, Observation(rollouts=1, completions=number))
        for number in range(AUDITS_KEPT + 10):
            observations.add_audit(connection, version, Audit(1, number))
    database.close()
    assert registry.observed("t", 1, 10**9).rollouts == OBSERVATIONS_KEPT
    assert registry.observed("t", 1, 1).completions == OBSERVATIONS_KEPT + 9
    kept = [int(audit.train) for audit in registry.audited("t", 1)]
    assert len(kept) <= AUDITS_KEPT + 1
    assert kept[: AUDITS_KEPT // 2] == list(range(AUDITS_KEPT // 2))
    assert kept[-1] == AUDITS_KEPT + 9
