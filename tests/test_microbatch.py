"""Calls with one completion each become batches, and every caller gets its own scores."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlar_graph.errors import InputError, RegistryError
from rlar_graph.microbatch import Microbatch, Rows
from rlar_graph.types import Rollout, Score
from tests.patience import HANG_SECONDS, PATIENCE, prompt


class Echo:
    """Scores a completion by the number in it, and notes the size of each batch."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[int] = []
        self.seconds = seconds

    def __call__(self, rollouts: Sequence[Rollout]) -> Rows:
        """Score a batch."""
        self.batches.append(len(rollouts))
        time.sleep(self.seconds)
        if any(rollout.prompt == "broken registry" for rollout in rollouts):
            raise RegistryError("gone")
        if any(rollout.prompt == "unreadable" for rollout in rollouts):
            raise InputError("cannot be read")
        return [[Score(float(text)) for text in rollout.completions] for rollout in rollouts]


def test_calls_from_many_threads_share_batches_and_get_their_own_scores() -> None:
    echo = Echo(seconds=0.005)
    with Microbatch(echo, wait_seconds=0.05) as line, ThreadPoolExecutor(32) as pool:
        rows = list(pool.map(lambda n: line.score([Rollout("p", (str(n), str(n + 0.5)))]), range(640)))
    assert [[score.value for score in row] for (row,) in rows] == [[n, n + 0.5] for n in range(640)]
    assert sum(echo.batches) == 640
    assert len(echo.batches) < 640


def test_calls_from_an_event_loop_share_batches() -> None:
    echo = Echo()

    async def all_at_once(line: Microbatch) -> list[Rows]:
        return await asyncio.gather(*(line.ascore([Rollout("p", (str(n),))]) for n in range(300)))

    with Microbatch(echo, wait_seconds=0.05) as line:
        rows = asyncio.run(all_at_once(line))
    assert [row[0][0].value for row in rows] == list(range(300))
    assert len(echo.batches) <= 30


def test_a_full_batch_does_not_wait() -> None:
    with Microbatch(Echo(), wait_seconds=HANG_SECONDS, most=4) as line, prompt():
        line.score([Rollout("p", ("1", "2", "3", "4"))])


def test_a_call_larger_than_a_batch_is_not_split() -> None:
    echo = Echo()
    with Microbatch(echo, wait_seconds=0, most=2) as line:
        rows = line.score([Rollout("p", (str(n),)) for n in range(7)])
    assert [row[0].value for row in rows] == list(range(7))
    assert echo.batches == [7]


def test_a_slow_batch_does_not_hold_up_the_next() -> None:
    gate = threading.Event()

    def score(rollouts: Sequence[Rollout]) -> Rows:
        if rollouts[0].prompt == "slow":
            gate.wait(HANG_SECONDS)
        return [[Score(1.0)] for _ in rollouts]

    with Microbatch(score, wait_seconds=0) as line:
        slow = line.submit([Rollout("slow", ("x",))])
        while not slow.running():
            time.sleep(0.001)
        assert line.submit([Rollout("fast", ("x",))]).result(PATIENCE) == [[Score(1.0)]]
        assert not slow.done()
        gate.set()
        assert slow.result(PATIENCE) == [[Score(1.0)]]


def test_a_call_that_cannot_be_read_fails_alone() -> None:
    with Microbatch(Echo(), wait_seconds=0.2) as line:
        bad, good = line.submit([Rollout("unreadable", ("1",))]), line.submit([Rollout("p", ("2",))])
        with pytest.raises(InputError, match="cannot be read"):
            bad.result(PATIENCE)
        assert good.result(PATIENCE)[0][0].value == 2.0
        with pytest.raises(InputError, match="no completions"):
            line.score([Rollout("p")])


def test_an_engine_that_is_gone_fails_every_call_and_the_next_ones_are_served() -> None:
    with Microbatch(Echo(), wait_seconds=HANG_SECONDS, most=2) as line:
        calls = [line.submit([Rollout("broken registry", ("1",))]), line.submit([Rollout("p", ("2",))])]
        for call in calls:
            with pytest.raises(RegistryError):
                call.result(PATIENCE)
        assert line.score([Rollout("p", ("3", "4"))])[0][0].value == 3.0


def test_a_cancelled_call_is_never_scored() -> None:
    echo = Echo()
    with Microbatch(echo, wait_seconds=HANG_SECONDS, most=2) as line:
        line.submit([Rollout("p", ("1",))]).cancel()
        assert line.score([Rollout("p", ("2", "3"))])[0][0].value == 2.0
    assert echo.batches == [1]


def test_closing_serves_what_is_in_line_and_takes_nothing_more() -> None:
    line = Microbatch(Echo(), wait_seconds=HANG_SECONDS)
    waiting = line.submit([Rollout("p", ("1",))])
    line.close()
    line.close()
    assert waiting.result(0)[0][0].value == 1.0
    with pytest.raises(RuntimeError, match="closed"):
        line.score([Rollout("p", ("1",))])


def test_calls_of_different_steps_share_no_batch() -> None:
    seen: list[tuple[int | None, int]] = []

    def score(rollouts: Sequence[Rollout], step: int | None = None) -> Rows:
        seen.append((step, len(rollouts)))
        return [[Score(1.0)] for _ in rollouts]

    with Microbatch(score, wait_seconds=0.05) as line:
        waiting = [line.submit([Rollout("p", ("c",))], step=step) for step in (None, None, 3, 3, 4)]
        assert all(each.result(PATIENCE) == [[Score(1.0)]] for each in waiting)
    counts: Counter[int | None] = Counter()
    for step, size in seen:
        counts[step] += size
    assert counts == {None: 2, 3: 2, 4: 1}
