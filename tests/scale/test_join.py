"""A cluster that is not there, or is there and says nothing, is told within a deadline: Ray itself tries on and on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.patience import PATIENCE
from tests.scale.conftest import TestCluster

pytest.importorskip("ray")

JOIN = """
import sys
from rlar_graph.cluster import connection
connection.ANSWER_SECONDS = float(sys.argv[2])
try:
    connection.join(sys.argv[1])
except ConnectionError as error:
    print(error)
else:
    print("joined")
"""


def join(address: str, seconds: float = 2 * PATIENCE, answer: float = 1.0, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JOIN, address, str(answer)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.stdout, done.stderr
    return done.stdout


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that is stopped: the kernel takes its connections, and nobody answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("before", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_given_up(silent: str, before: str) -> None:
    said = join(before + silent)
    assert "there is no Ray cluster" in said
    assert f"{before}{silent} does not answer" in said


def test_a_cluster_of_the_environment_that_does_not_answer_is_given_up(silent: str) -> None:
    assert f"{silent} does not answer" in join("auto", RAY_ADDRESS=silent)


def test_an_address_left_by_a_cluster_that_ended_is_named() -> None:
    said = join("auto", RAY_ADDRESS="127.0.0.1:9")
    assert "127.0.0.1:9: Connection refused" in said


def test_a_cluster_that_is_there_answers_the_greeting(cluster: TestCluster) -> None:
    assert join(cluster.address, answer=PATIENCE) == "joined\n"
