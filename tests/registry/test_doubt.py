"""A PostgreSQL connection that breaks between a commit and its answer: what was scored is counted once all the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from rlar_graph import AgentReward, Rollout, Settings
from rlar_graph.errors import RegistryError
from rlar_graph.registry import open_registry
from tests.postgres_server import PostgresServer, ServerElsewhere

CHOICE = Rollout(
    "Which is even?\nA. 3\nB. 4\nAnswer with the letter.",
    ("The answer is B.", "The answer is A."),
    reference="B",
    choices=(("A", "3"), ("B", "4")),
)


COMMIT = b"COMMIT\x00"
"""The command, on the wire; "READ COMMITTED" is another one."""


class Wire:
    """Passes bytes between clients and a server; armed, it lets a commit through and cuts the answer off.

    Args:
        server: Path of the server's socket.
    """

    def __init__(self, server: Path) -> None:
        self._server = str(server)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.armed = threading.Event()
        self.cut = 0
        self._open = [self._listening]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                self._open += [client, server]
                server.connect(self._server)
                doomed = threading.Event()
                for ends in ((client, server, doomed, True), (server, client, doomed, False)):
                    self._threads.append(threading.Thread(target=self._pass, args=ends, daemon=True))
                    self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket, doomed: threading.Event, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and COMMIT in data and self.armed.is_set():
                    self.armed.clear()
                    doomed.set()
                if not asks and doomed.is_set():
                    self.cut += 1  # the server has committed, and its client will not know
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wired(postgres: PostgresServer) -> Iterator[tuple[Wire, str, str]]:
    if isinstance(postgres, ServerElsewhere):
        pytest.skip("the server's socket is not ours to stand in front of")
    with postgres.database() as url:
        wire = Wire(postgres.folder / ".s.PGSQL.5432")
        through = sa.make_url(url).set(host="127.0.0.1", port=wire.port, query={"sslmode": "disable"})
        yield wire, through.render_as_string(hide_password=False), url
        wire.close()


def test_an_answer_that_is_lost_doubles_nothing(wired: tuple[Wire, str, str]) -> None:
    wire, url, direct = wired
    rounds = 4
    with AgentReward(Settings.load(registry_url=url, decision_sample=1.0)) as reward:
        reward.score([CHOICE])
        reward.engine.recorder.flush()
        for _ in range(rounds):
            reward.score([CHOICE])
            wire.armed.set()
            with suppress(RegistryError):  # a thread may have met it before
                reward.engine.recorder.flush()
            reward.score([CHOICE])
            reward.engine.recorder.flush()
    assert wire.cut == rounds
    with open_registry(direct) as registry:
        (used,) = registry.usage()
        decisions = len(registry.decisions(limit=10**6))
        with registry._database.reading() as connection:
            outcomes = connection.exec_driver_sql("SELECT SUM(completions) FROM rlar_outcomes").scalar()
    total = 2 * (1 + 2 * rounds)
    assert (used.completions, outcomes, decisions) == (total, total, total)
