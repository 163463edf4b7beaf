"""Registries to test on: a SQLite file always, and PostgreSQL where RLAR_TEST_POSTGRES names a server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from rlar_graph.registry import open_registry
from rlar_graph.registry.store import Registry

SERVERS = ["postgresql"] if os.environ.get("RLAR_TEST_POSTGRES") else []


@pytest.fixture(params=["sqlite", "memory", *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rlar.db'}"
    elif request.param == "memory":
        yield "sqlite://"
    else:
        yield from postgres_database()


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with open_registry(url) as opened:
        yield opened


@pytest.fixture(params=["sqlite", *SERVERS])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A registry that several handles can open."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rlar.db'}"
    else:
        yield from postgres_database()


def postgres_database() -> Iterator[str]:
    """Make an empty database for one test, and drop it."""
    name = f"rlar_test_{uuid.uuid4().hex[:12]}"
    where = sa.make_url(os.environ["RLAR_TEST_POSTGRES"]).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(where, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield where.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
