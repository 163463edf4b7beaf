"""A registry opened to be looked at: nothing is made, migrated or written, and a run that writes is not disturbed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from typing_extensions import override

from rlar_graph.errors import MigrationError, RegistryError
from rlar_graph.registry.database import BUSY_SECONDS, Database
from rlar_graph.registry.migrations import MIGRATIONS, schema_version


class ReadOnlyDatabase(Database):
    """A database that cannot be written through.

    Args:
        url: As for :func:`~rlar_graph.registry.open_registry`.
    """

    @override
    def _switch_to_wal(self) -> None:
        """Leave the file as it is."""

    @override
    def _connectable(self) -> sa.Engine:
        if self.url.get_backend_name() == "postgresql":
            return super()._connectable()
        path = Path(self.url.database or "")
        # On a file system that cannot be written to, SQLite can only read what it is told will not change.
        fixed = "&immutable=1" if _is_archived(path) else ""
        address = f"sqlite:///file:{quote(str(path))}?mode=ro{fixed}&uri=true"
        return sa.create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})


@contextmanager
def look(url: str) -> Iterator[tuple[ReadOnlyDatabase, sa.Connection, int]]:
    """Open a registry and yield its database, one transaction that sees one state of it, and its schema's version.

    Raises:
        RegistryError: There is no registry at the URL, or it cannot be read.
        MigrationError: It was written by a newer version of this library.
    """
    database = ReadOnlyDatabase(_existing(url))
    try:
        with database.reading() as connection:
            version = schema_version(connection)
            if version == 0:
                raise RegistryError(f"{database.where} holds no registry: name the one your run writes")
            if version > MIGRATIONS[-1].number:
                raise MigrationError(
                    f"the registry {database.where} has schema version {version}, and this library knows up to "
                    f"{MIGRATIONS[-1].number}: upgrade rlar-graph"
                )
            yield database, connection, version
    finally:
        database.close()


def _existing(url: str) -> str:
    """Return the URL, unless it names a SQLite file that is not there: reading would otherwise make an error of it."""
    if not url.startswith("sqlite"):
        return url
    try:
        path = sa.make_url(url).database
    except sa.exc.ArgumentError:
        return url  # the database says what is wrong with it
    if path in (None, "", ":memory:"):
        raise RegistryError(
            "a registry in memory is gone with its process: name a file or a PostgreSQL server"
        )
    if not Path(path or "").is_file():
        raise RegistryError(
            f"there is no registry {Path(path or '').absolute()}: name the one your run writes, "
            "or score something first (`rlar score FILE`)"
        )
    return url


def _is_archived(path: Path) -> bool:
    """Say whether nobody here can write the file, and no log of changes lies beside it."""
    beside = path.with_name(f"{path.name}-wal")
    return not os.access(path.parent, os.W_OK) and not beside.exists()
