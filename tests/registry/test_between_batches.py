"""A change of tools takes effect with the next batch that is planned, never within one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.drift import DriftMonitor
from rlar_graph.engine import Engine
from rlar_graph.registry import Provenance, open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score

SUMS = [Rollout(f"What is {n} + 2?", (f"{n + 2}", "no", f"{n}"), reference=f"{n + 2}") for n in range(20)]


@pytest.fixture
def other(settings: Settings) -> Iterator[Registry]:
    """Another process's handle on the same registry."""
    with open_registry(settings.registry_url) as opened:
        yield opened


@pytest.fixture
def warm(settings: Settings) -> Iterator[Engine]:
    with Engine(settings) as engine:
        engine.score(engine.plan(SUMS))
        yield engine


def values(engine: Engine) -> list[list[float | None]]:
    return [[score.value for score in row] for row in engine.score(engine.plan(SUMS))]


def test_a_planned_batch_is_scored_as_planned_and_the_next_one_is_not(warm: Engine, other: Registry) -> None:
    plan = warm.plan(SUMS)
    other.quarantine("maths", "it drifted")
    scores = warm.score(plan)
    assert {(score.tool, score.version) for row in scores for score in row} == {("maths", 1)}
    assert [row[0].value for row in scores] == [1.0] * len(SUMS)
    after = warm.score(warm.plan(SUMS))
    assert {score.value for row in after for score in row} == {None}
    assert "maths v1 is quarantined" in (after[0][0].abstained or "")
    other.promote("maths", 1, reason="it was the data")
    assert values(warm)[0] == [1.0, 0.0, 0.0]


def test_no_rollout_is_split_by_changes_that_go_on_all_the_time(warm: Engine, other: Registry) -> None:
    done = threading.Event()

    def meddle() -> None:
        while not done.is_set():
            other.quarantine("maths", "off")
            other.promote("maths", 1, reason="on")

    meddler = threading.Thread(target=meddle)
    meddler.start()
    seen: set[str] = set()
    try:
        for _ in range(150):
            batch = values(warm)
            kinds = {"off" if row == [None] * 3 else "on" for row in batch}
            assert all(row in ([None] * 3, [1.0, 0.0, 0.0]) for row in batch)
            assert len(kinds) == 1
            seen |= kinds
    finally:
        done.set()
        meddler.join()
    assert seen == {"on", "off"}


def test_a_quarantine_by_drift_reaches_a_running_engine_with_its_next_batch(
    warm: Engine, other: Registry
) -> None:
    plan = warm.plan(SUMS)
    monitor = DriftMonitor(other)
    monitor.audit("maths", 1, [(0.0, 0.0), (1.0, 1.0)] * 150)
    monitor.flush()
    monitor.audit("maths", 1, [(1.0, 0.0), (1.0, 1.0)] * 150)
    (finding,) = monitor.findings()
    assert finding.action == "quarantine"
    assert warm.score(plan)[0][0].value == 1.0
    assert values(warm)[0] == [None] * 3


def test_a_frozen_engine_goes_on_with_what_it_had(warm: Engine, other: Registry) -> None:
    warm.library.freeze()
    other.quarantine("maths", "it drifted")
    assert values(warm)[0] == [1.0, 0.0, 0.0]


def test_versions_of_a_made_tool_change_between_batches_only(warm: Engine, other: Registry) -> None:
    other.adopt(made(1.0), **adoption(1.0))
    rollouts = [Rollout(f"Puzzle {n}", ("a", "b", "c"), data_source="puzzles") for n in range(5)]
    plan = warm.plan(rollouts)
    assert other.adopt(made(0.0), **adoption(0.0)).number == 2
    assert said(warm.score(plan)) == {(1, 1.0)}
    assert said(warm.score(warm.plan(rollouts))) == {(2, 0.0)}
    other.rollback("verifier-puzzles", reason="worse")
    assert said(warm.score(warm.plan(rollouts))) == {(1, 1.0)}


def said(scores: list[list[Score]]) -> set[tuple[int | None, float | None]]:
    return {(score.version, score.value) for row in scores for score in row}


def made(value: float) -> ToolSpec:
    return ToolSpec("verifier-puzzles", "verifier", f"Says {value}.")


def adoption(value: float) -> Any:
    return {
        "source": f"def score(prompt, completion, reference, **evidence):\n    return {value}\n",
        "provenance": Provenance("agent"),
        "report": AdmissionReport("t", "verifier", "", False, {}, "", 0.0, (Check("contract", True),)),
        "keys": ["source:puzzles"],
    }
