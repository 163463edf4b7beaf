"""A Ray cluster of several nodes on this machine, each with a raylet, workers and an object store of its own."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.patience import PATIENCE

STORE_BYTES = 80 << 20
NOTICES = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_timeout_ms": 2_000,
           "health_check_failure_threshold": 2}  # fmt: skip
"""So that the death of a node is noticed in a second or two, and not in half a minute."""
SECRET = "s3cret-of-the-driver"


class TestCluster:
    """Nodes to add and to kill; the head has no CPUs, so that every actor is on another node."""

    __test__ = False  # pytest must not collect it

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        self._ray = ray
        self._killed: list[Any] = []
        self._cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
                "_system_config": NOTICES,
            },
        )

    @property
    def address(self) -> str:
        """Where it can be joined."""
        return str(self._cluster.address)

    def add(self, cpus: int = 2) -> Any:
        """Add a node."""
        return self._cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)

    def kill_one(self) -> bool:
        """Kill the raylet of a node: its workers end with it, and nobody is told. False if there is none."""
        nodes = [node for node in self._cluster.worker_nodes if node.any_processes_alive()]
        if not nodes:
            return False
        (raylet,) = nodes[0].all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        raylet.process.wait()
        self._cluster.worker_nodes.discard(nodes[0])
        self._killed.append(nodes[0])
        return True

    def keep(self, count: int) -> None:
        """Have so many nodes beside the head, and no dead one that is still thought alive."""
        for _ in range(count - len(self._cluster.worker_nodes)):
            self.add()
        there = len(self._cluster.worker_nodes) + 1
        assert wait_until(lambda: sum(node["Alive"] for node in self._ray.nodes()) == there, 60)

    def close(self) -> None:
        """End every node."""
        self._ray.shutdown()
        for node in self._killed:
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def cluster() -> Iterator[TestCluster]:
    """A cluster that this process has joined, as a trainer would have; every node knows a secret."""
    ray = pytest.importorskip("ray")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # Ray's own, of its plans for later versions
        patch.setenv("TRAINER_API_KEY", SECRET)
        found = TestCluster()
        ray.init(address=found.address, log_to_driver=False, configure_logging=False)
        try:
            yield found
        finally:
            found.close()


@pytest.fixture
def two_nodes(cluster: TestCluster) -> TestCluster:
    """The cluster with two nodes of two CPUs, whatever tests before have killed."""
    cluster.keep(2)
    return cluster


def wait_until(claim: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Say whether a claim becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if claim():
            return True
        time.sleep(0.05)
    return bool(claim())
