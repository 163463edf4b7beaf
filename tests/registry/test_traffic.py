"""Usage counters and sampled decisions: what is written after every batch."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import UnknownTool
from rlar_graph.registry import Decision, Provenance, Usage, open_registry, traffic
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import ToolSpec


def report() -> AdmissionReport:
    """The report of a tool that was admitted."""
    return AdmissionReport("maths", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))


def with_tools(registry: Registry) -> Registry:
    for name in ("maths", "code"):
        spec = ToolSpec(name, "verifier", "One.", content_hash=name)
        registry.register(spec, provenance=Provenance("builtin"), report=report(), activate=True)
    return registry


def test_usage_adds_up_by_version_and_day(registry: Registry) -> None:
    with_tools(registry)
    for _ in range(3):
        registry.record([Usage("maths", 1, 8, 2, 0, 0.5), Usage("code", 1, 4, 0, 1, 0.25)])
    registry.record([Usage("maths", 1, 1), Usage("maths", 1, 1)])
    code, maths = registry.usage()
    assert (maths.tool, maths.version, maths.day) == ("maths", 1, datetime.now(UTC).date())
    assert (maths.batches, maths.completions, maths.abstentions, maths.errors) == (5, 26, 6, 0)
    assert maths.seconds == pytest.approx(1.5)
    assert (code.tool, code.completions, code.errors) == ("code", 12, 3)
    assert registry.usage("code") == (code,)
    assert registry.usage("nowhere") == ()


def test_decisions_come_back_newest_first(registry: Registry) -> None:
    with_tools(registry)
    scored = Decision("math/number", "h1", "row 1", "source:gsm", "maths", 1, 0.5, None, "It is 4.")
    unserved = Decision("open/text", "h2", abstained="no tool", excerpt="Once upon a time")
    registry.record(decisions=[scored])
    registry.record(decisions=[unserved])
    assert registry.decisions() == (unserved, scored)
    assert registry.decisions("maths") == (scored,)
    assert registry.decisions(limit=1) == (unserved,)


def test_hostile_text_is_storable_and_bounded(registry: Registry) -> None:
    with_tools(registry)
    nasty = "a\x00b\ud800c\udfff'; DROP TABLE rlar_tools; --\u202e é"
    every = Decision(nasty, nasty, nasty, nasty, None, None, None, nasty, nasty + "x" * 2_000_000)
    registry.record(decisions=[every])
    (kept,) = registry.decisions()
    shown = "a\\x00b\\ud800c\\udfff'; DROP TABLE rlar_tools; --\u202e é"
    assert kept.signature == kept.prompt_hash == kept.rollout_id == kept.family == kept.abstained == shown
    assert kept.excerpt.startswith(shown)
    assert len(kept.excerpt) == 500
    registry.quarantine("maths", nasty, who=nasty)
    assert registry.history("maths")[-1].reason == shown


def test_an_unknown_version_writes_nothing_of_the_batch(registry: Registry) -> None:
    with_tools(registry)
    with pytest.raises(UnknownTool, match="version 2"):
        registry.record([Usage("code", 1, 4), Usage("maths", 2, 4)])
    with pytest.raises(UnknownTool):
        registry.record([Usage("code", 1, 4)], [Decision("s", "h", tool="nowhere", version=1, value=1.0)])
    assert registry.usage() == ()
    assert registry.decisions() == ()


def test_a_frozen_registry_still_counts(registry: Registry) -> None:
    with_tools(registry).freeze()
    registry.record([Usage("maths", 1, 8)], [Decision("s", "h", tool="maths", version=1, value=1.0)])
    assert registry.usage()[0].completions == 8
    assert len(registry.decisions()) == 1


def test_old_decisions_make_room(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DECISIONS_KEPT", 50)
    for start in range(0, 120, 30):
        registry.record(decisions=[Decision("s", f"h{number}") for number in range(start, start + 30)])
    kept = registry.decisions(limit=1_000)
    assert [decision.prompt_hash for decision in kept] == [f"h{number}" for number in range(119, 69, -1)]


def test_threads_of_one_registry_lose_nothing(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        with_tools(registry)

        def work() -> None:
            for _ in range(25):
                registry.record([Usage("maths", 1, 1), Usage("code", 1, 1)])
                registry.resolve(["nothing"])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [used.completions for used in registry.usage()] == [200, 200]


def test_a_batch_is_written_in_milliseconds(tmp_path: Path) -> None:
    with open_registry(f"sqlite:///{tmp_path / 'rlar.db'}") as registry:
        with_tools(registry)
        decisions = [Decision("s", "h", tool="maths", version=1, value=1.0, excerpt="x" * 500)] * 4
        seconds = []
        for _ in range(60):
            started = time.perf_counter()
            registry.record([Usage("maths", 1, 8), Usage("code", 1, 8)], decisions)
            seconds.append(time.perf_counter() - started)
        # The best fifth, and ten times what it takes: a millisecond is what benchmarks measure.
        assert sorted(seconds)[12] < 0.03
