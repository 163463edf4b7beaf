"""Registries to test on: a SQLite file, SQLite in memory, and a PostgreSQL server.

The server is the one that ``RLAR_TEST_POSTGRES`` names, else one that the test run starts. Where neither is to be had,
what needs it is skipped and says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.registry import open_registry
from rlar_graph.registry.store import Registry
from tests.postgres_server import PostgresServer, ServerElsewhere, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL server of this test run."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed (extra postgres)")
    named = os.environ.get("RLAR_TEST_POSTGRES")
    if named:
        yield ServerElsewhere(named)
        return
    try:
        with running_server() as server:
            yield server
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "memory", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield "sqlite://"
    else:
        yield from _database(request, tmp_path)


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with open_registry(url) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry that several handles can open."""
    yield from _database(request, tmp_path)


def _database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'rlar.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as found:
        yield found
