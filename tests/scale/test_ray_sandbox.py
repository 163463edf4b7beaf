"""The Ray engine on a cluster of two nodes: the contract, and what happens when nodes die in mid-batch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rlar_graph import AgentReward, Rollout, Settings, __version__
from rlar_graph.errors import SandboxClosed, SandboxError, SandboxUnavailable
from rlar_graph.sandbox import Limits, Sandbox, TestJob, open_sandbox
from tests.patience import PATIENCE, prompt
from tests.scale.conftest import SECRET, TestCluster, wait_until

ray: Any = pytest.importorskip("ray")
ray_pool: Any = pytest.importorskip("rlar_graph.sandbox.ray_pool")

IDENTITY = "def f(x): return x"
SLOW = "import time\ndef f(x):\n    time.sleep(0.01)\n    return x"


@pytest.fixture(scope="module")
def sandbox(cluster: TestCluster) -> Iterator[Sandbox]:
    cluster.keep(2)
    with open_sandbox(workers=2, engine="ray", ray_cpus=0.5) as opened:
        assert wait_until(lambda: is_complete(opened), 60)
        yield opened


def is_complete(sandbox: Sandbox) -> bool:
    return sandbox.report().layers[0].note == "2 of 2 actors, on 2 nodes"


def values(sandbox: Sandbox, source: str, count: int) -> list[float | None]:
    return [each.value for each in sandbox.call_batch(source, "f", [{"x": x} for x in range(count)])]


def test_results_come_in_order_with_their_faults(sandbox: Sandbox) -> None:
    source = "def f(x):\n    if x % 100 == 7: raise ValueError(x)\n    return x"
    outcomes = sandbox.call_batch(source, "f", [{"x": x} for x in range(5000)])
    assert [each.value for each in outcomes] == [None if x % 100 == 7 else x for x in range(5000)]
    assert {(each.status, each.fault) for each in outcomes if each.value is None} == {("error", "program")}
    assert sandbox.call_batch(IDENTITY, "f", []) == []
    assert sandbox.call(IDENTITY, "f", {"x": 3}, fresh=True).value == 3.0
    assert sandbox.call(IDENTITY, "f", {"x": 3}, Limits(seconds=-1)).status == "refused"


def test_programs_are_graded_in_order_and_attested(sandbox: Sandbox) -> None:
    jobs = [TestJob(f"def inc(x): return x + {n % 3}", ["assert inc(1) == 2"]) for n in range(90)]
    outcomes = sandbox.run_tests_batch(jobs)
    assert [each.value for each in outcomes] == [float(n % 3 == 1) for n in range(90)]
    assert all(each.attested and each.total == 1 for each in outcomes)
    shared = sandbox.run_tests("class A: pass", "assert A()", same_process=True)
    assert (shared.value, shared.attested) == (1.0, False)


def test_the_report_says_what_confines_code_on_every_node(sandbox: Sandbox) -> None:
    report = sandbox.report()
    assert (report.engine, report.confined, report.escaped) == ("ray", True, ())
    assert report.summary.startswith("ray: ray+")
    assert {layer.name for layer in report.layers if layer.active} >= {"seccomp", "rlimits"}


def test_slow_calls_hold_up_nobody_and_are_stopped_in_time(sandbox: Sandbox) -> None:
    source = "def f(x):\n    while x in (10, 11, 12, 13): pass\n    return x"
    with prompt():
        outcomes = sandbox.call_batch(source, "f", [{"x": x} for x in range(400)], Limits(seconds=3.0))
    assert [each.value for each in outcomes] == [None if 10 <= x < 14 else x for x in range(400)]
    assert {outcomes[x].status for x in range(10, 14)} == {"timeout"}


def test_what_cannot_be_sent_is_refused_alone(sandbox: Sandbox) -> None:
    arguments = [1, threading.Lock(), 2, object(), "x" * (33 << 20), 3]
    outcomes = sandbox.call_batch(IDENTITY, "f", [{"x": each} for each in arguments])
    assert [each.status for each in outcomes] == ["ok", "refused", "ok", "refused", "refused", "ok"]
    assert {each.fault for each in outcomes if each.status == "refused"} == {"sandbox"}


def test_threads_share_the_actors(sandbox: Sandbox) -> None:
    def work(factor: int) -> bool:
        source = f"def f(x): return x * {factor}"
        return values(sandbox, source, 700) == [x * factor for x in range(700)]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(1, 5)))


READS_SECRETS = """
import os
def f():
    found = str(dict(os.environ))
    for path in ("/proc/self/environ", f"/proc/{os.getppid()}/environ", "/proc/1/environ"):
        try:
            with open(path) as file:
                found += file.read()
        except OSError:
            pass
    return float("SECRET" in found or len(found) > 400)
""".replace("SECRET", SECRET)


def test_what_the_trainer_gives_its_job_does_not_reach_the_code_on_a_node(sandbox: Sandbox) -> None:
    there = ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get("TRAINER_API_KEY")).remote())
    assert there == SECRET
    assert sandbox.call(READS_SECRETS, "f", {}).value == 0.0
    assert sandbox.run_tests(READS_SECRETS, ["assert f() == 0.0"]).value == 1.0


def test_another_version_on_a_node_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match=f"has rlar-graph {__version__} and the trainer 0.0.0"):
        ray_pool.Station("0.0.0", 1)


def test_code_is_scored_on_the_cluster(two_nodes: TestCluster, tmp_path: Path) -> None:
    tests = ("assert double(2) == 4", "assert double(-3) == -6")
    right, wrong = (f"```python\ndef double(x):\n    return {what}\n```" for what in ("2 * x", "x + 2"))
    url = f"sqlite:///{tmp_path}/rlar.db"
    settings = Settings.load(registry_url=url, sandbox="ray", workers=1, ray_cpus=0.0)
    with AgentReward(settings) as reward:
        (row,) = reward.score([Rollout("Write double(x).", (right, wrong), tests=tests)])
        assert [score.value for score in row] == [1.0, 0.0]
    assert ray.is_initialized()


def test_a_closed_sandbox_ends_its_batch_and_its_actors_only(cluster: TestCluster) -> None:
    cluster.keep(1)
    opened = ray_pool.RaySandbox(1, cpus=0.0)
    (member,) = opened._fleet.ready()
    with ThreadPoolExecutor(1) as threads:
        batch = threads.submit(values, opened, SLOW, 5000)
        time.sleep(0.5)
        opened.close()
        with pytest.raises(SandboxError):
            batch.result(timeout=PATIENCE)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(member.handle.hello.remote(), timeout=PATIENCE)
    assert ray.is_initialized()


def test_a_node_killed_in_mid_batch_loses_and_doubles_nothing(
    sandbox: Sandbox, two_nodes: TestCluster
) -> None:
    assert wait_until(lambda: is_complete(sandbox), 60)
    jobs = [TestJob(f"def inc(x): return x + {n % 3}", ["assert inc(1) == 2"]) for n in range(600)]
    with ThreadPoolExecutor(2) as threads:
        calls = threads.submit(values, sandbox, SLOW, 1500)
        programs = threads.submit(sandbox.run_tests_batch, jobs)
        time.sleep(0.7)
        assert not (calls.done() or programs.done())
        two_nodes.kill_one()
        assert calls.result() == list(range(1500))
        assert [each.value for each in programs.result()] == [float(n % 3 == 1) for n in range(600)]


def test_a_cluster_without_nodes_gives_reasons_and_one_that_comes_back_results(cluster: TestCluster) -> None:
    cluster.keep(1)
    with ray_pool.RaySandbox(1, cpus=0.5, start_seconds=8.0) as opened:
        assert values(opened, IDENTITY, 10) == list(range(10))
        while cluster.kill_one():
            pass
        with prompt(100):  # and not 300 times the time that a start may take
            outcomes = opened.call_batch(SLOW, "f", [{"x": x} for x in range(300)])
            assert {each.fault for each in outcomes if each.value is None} == {"sandbox"}
            assert {each.detail for each in outcomes if each.value is None}
            assert opened.call(IDENTITY, "f", {"x": 1}).fault == "sandbox"
        with prompt(6):  # and not the time that a start may take once more
            assert opened.call(IDENTITY, "f", {"x": 1}).fault == "sandbox"
        cluster.keep(1)
        assert wait_until(lambda: opened.call(IDENTITY, "f", {"x": 1}).value == 1.0, 60)
    with pytest.raises(SandboxClosed):
        opened.call(IDENTITY, "f", {"x": 1})
