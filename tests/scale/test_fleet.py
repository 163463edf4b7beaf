"""A batch over actors that die, hang and break: every job comes back once, the guilty ones without a result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from rlar_graph.cluster import Fleet, Lost, Pace, Part, spread
from rlar_graph.errors import ToolError
from tests.patience import COMMAND_SECONDS, PATIENCE
from tests.scale.conftest import TestCluster, wait_until

ray: Any = pytest.importorskip("ray")

PACE = Pace(first=4, most=50, seconds=0.05, patience=60.0)


class Worker:
    """An actor that squares numbers, and does what words tell it."""

    def hello(self) -> int:
        return os.getpid()

    def work(self, jobs: Sequence[object]) -> Part[object]:
        begun = time.monotonic()
        results = []
        for job in jobs:
            if job == "die":
                os._exit(1)
            if job == "hang":
                time.sleep(1000)
            if job == "break":
                raise ToolError("this actor is broken")
            if job == "fail":
                raise ValueError("this job cannot be done")
            assert isinstance(job, int)
            results.append(job * job)
        return Part(results, time.monotonic() - begun)


@pytest.fixture(scope="module")
def fleet(cluster: TestCluster) -> Iterator[Fleet]:
    cluster.keep(2)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    opened = Fleet(Worker, (), 2, cpus=0.5)
    opened.open()
    yield opened
    opened.close()


def work(fleet: Fleet, jobs: Sequence[object], pace: Pace = PACE) -> list[Any]:
    return spread(fleet, jobs, lambda handle, part: handle.work.remote(part), pace)


def test_only_the_jobs_that_are_to_blame_have_no_result(fleet: Fleet) -> None:
    jobs: list[object] = list(range(400))
    bad = {57: ("fail", "this job cannot be done"), 123: ("die", "3 Ray actors failed at it")}
    for place, (word, _) in bad.items():
        jobs[place] = word
    results = work(fleet, jobs)
    assert [results[n] for n in range(400) if n not in bad] == [n * n for n in range(400) if n not in bad]
    for place, (_, why) in bad.items():
        assert isinstance(results[place], Lost)
        assert why in results[place].why
    assert wait_until(lambda: len(fleet.ready()) == 2, 60)


@pytest.mark.parametrize(
    ("word", "why"), [("hang", "no answer within 1 s"), ("break", "this actor is broken")]
)
def test_an_actor_that_hangs_or_is_broken_is_replaced(fleet: Fleet, word: str, why: str) -> None:
    before = {member.told for member in fleet.ready()}
    (lost,) = work(
        fleet,
        [word],
        Pace(first=4, most=8, seconds=0.05, patience=1.0 if word == "hang" else PATIENCE, deaths=0),
    )
    assert isinstance(lost, Lost)
    assert why in lost.why
    assert work(fleet, list(range(50))) == [n * n for n in range(50)]
    assert wait_until(lambda: len({member.told for member in fleet.ready()} - before) == 1, 60)


STRANGER = """
import signal, sys, time
from rlar_graph.errors import SandboxUnavailable
from rlar_graph.sandbox import open_sandbox
try:
    open_sandbox(engine="ray", ray_address="127.0.0.1:9")
except SandboxUnavailable as error:
    assert "ray start --head" in str(error), error
else:
    raise AssertionError
signal.signal(signal.SIGTERM, lambda *_: None)
before = signal.getsignal(signal.SIGTERM)
sandbox = open_sandbox(1, engine="ray", ray_address=sys.argv[1], ray_cpus=0.0)
assert signal.getsignal(signal.SIGTERM) is before
assert sandbox.call("def f(x): return x", "f", {"x": 4}).value == 4.0
import ray
ray.shutdown()
outcome = sandbox.call("def f(x): return x", "f", {"x": 4})
assert (outcome.fault, outcome.value) == ("sandbox", None), outcome
assert "shut down" in outcome.detail, outcome
sandbox.close()
assert not ray.is_initialized()
print("done")
"""


def test_a_process_that_has_no_connection_makes_one_and_one_that_was_shut_down_stays_so(
    cluster: TestCluster,
) -> None:
    cluster.keep(1)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STRANGER, cluster.address],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    assert done.stdout.endswith("done\n"), done.stderr[-2000:]
