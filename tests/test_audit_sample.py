"""Which rollouts are audited: the same on every machine, some of every tool, and no more than is paid for."""

from __future__ import annotations

import pytest

from rlar_graph.auditing.sample import BASELINE_PICKS, FLOOR, RESERVED, Sample
from rlar_graph.library import Loaded
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.routing.router import route
from rlar_graph.scoring import Planned
from rlar_graph.types import Rollout, Score, Verdict

BATCH = 500


class Silent:
    """A tool that is never asked."""

    spec = ToolSpec("t", "verifier", "Is never asked.")

    def score(self, rollouts: object) -> list[list[Verdict]]:
        raise AssertionError


def batch(
    tool: str = "t", count: int = BATCH, first: int = 0, *, value: float | None = 1.0
) -> tuple[list[Planned], list[list[Score]]]:
    """Return a batch that one version of a tool scored, of one completion each."""
    loaded = Loaded(Silent(), tool, 1)
    rollouts = [Rollout(f"Prompt {number}", ("a",)) for number in range(first, first + count)]
    plan = [Planned(rollout, route(rollout), loaded) for rollout in rollouts]
    return plan, [[Score(value, tool=tool, version=1)] for _ in rollouts]


def settled(share: float, most: int = 1_000_000, *tools: str) -> Sample:
    """Return a sample that has the baselines of its tools."""
    sample = Sample(share, most)
    for tool in tools or ("t",):
        sample.settle((tool, 1))
    return sample


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_the_share_is_kept_over_steps(share: float) -> None:
    sample = settled(share)
    picked = sum(len(sample.pick(*batch(), step)) for step in range(40))
    assert 0.8 * share < (picked - FLOOR) / (40 * BATCH) < 1.2 * share


def test_every_machine_picks_the_same_and_every_step_something_else() -> None:
    here, there = settled(0.2), settled(0.2)
    first, other = [[sample.pick(*batch(), step) for step in range(3)] for sample in (here, there)]
    assert first == other
    assert len({tuple(places) for places in first}) == 3


def test_without_a_step_the_calls_are_counted() -> None:
    sample = settled(0.2)
    assert sample.pick(*batch(), None) != sample.pick(*batch(), None)


def test_completions_of_a_prompt_that_come_apart_are_picked_together() -> None:
    sample = settled(0.2)
    sample.pick(*batch(count=FLOOR), 1)
    assert sample.pick(*batch(), 7) == sample.pick(*batch(), 7)


def test_each_tool_gets_its_floor_each_minute() -> None:
    now = [0.0]
    sample = Sample(0.0, 1_000_000, lambda: now[0])
    for tool in "tu":
        sample.settle((tool, 1))
    for minute in range(3):
        now[0] = 61.0 * minute
        for tool in "tu":
            assert sample.pick(*batch(tool), 1) == [*range(FLOOR)]
            assert sample.pick(*batch(tool), 2) == []


def test_a_minute_costs_no_more_than_was_said_and_leaves_room_for_rare_tools() -> None:
    now = [0.0]
    sample = Sample(1.0, 40, lambda: now[0])
    assert len(sample.pick(*batch(), 1)) == 40 - 40 // RESERVED
    assert sample.pick(*batch(), 2) == []
    assert len(sample.pick(*batch("rare"), 2)) == FLOOR
    names = [f"tool {number}" for number in range(20)]
    assert sum(len(sample.pick(*batch(name), 3)) for name in names) == 40 // RESERVED - FLOOR
    now[0] = 60.0
    assert len(sample.pick(*batch(), 4)) == 40 - 40 // RESERVED


def test_one_rollout_a_minute_is_one() -> None:
    sample = Sample(1.0, 1)
    assert [sample.pick(*batch(), step) for step in range(2)] == [[0], []]


def test_all_is_picked_until_there_is_a_baseline_or_no_hope_of_one() -> None:
    sample = Sample(0.0, 1_000_000)
    assert len(sample.pick(*batch(count=50), 1)) == 50
    sample.settle(("t", 1))
    assert sample.pick(*batch(count=50, first=50), 1) == []
    hopeless = Sample(0.0, 1_000_000)
    assert len(hopeless.pick(*batch(count=2 * BASELINE_PICKS), 1)) == BASELINE_PICKS


def test_what_nobody_scored_is_not_picked() -> None:
    sample = Sample(1.0, 1_000_000)
    assert sample.pick(*batch(value=None), 1) == []
    plan, scores = batch(count=1)
    unserved = Planned(plan[0].rollout, plan[0].route, "no tool")
    assert sample.pick([unserved], scores, 1) == []


def test_any_prompt_can_be_hashed() -> None:
    sample = settled(0.5)
    plan, scores = batch(count=3)
    odd = Rollout("\ud800 lone", ("a",))
    plan[2] = Planned(odd, route(odd), plan[0].tool)
    assert set(sample.pick(plan, scores, 1)) <= {0, 1, 2}
