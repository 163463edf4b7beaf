"""Opening a registry: what a place may hold, and what is said where it cannot hold one."""

from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from rlar_graph.errors import MigrationError, RegistryError
from rlar_graph.registry import Provenance, migrations, open_registry, tables
from rlar_graph.registry.database import Database
from rlar_graph.registry.migrations import MIGRATIONS, Migration, migrate, schema_version
from rlar_graph.rewards.base import ToolSpec

SPEC = ToolSpec("maths", "verifier", "Compares numbers.", content_hash="x")
NEXT = MIGRATIONS[-1].number + 1


def test_importing_the_registry_does_not_import_sqlalchemy() -> None:
    code = "import sys, rlar_graph.registry; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_file_becomes_a_registry_in_wal_mode_with_foreign_keys(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    with open_registry(f"sqlite:///{path}") as registry:
        registry.register(SPEC, provenance=Provenance("builtin"))
        assert (tmp_path / "rlar.db-wal").exists()
        database = Database(f"sqlite:///{path}")
        with database.reading() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
            }
        assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30_000}
        with pytest.raises(RegistryError, match="FOREIGN KEY"), database.writing() as connection:
            connection.execute(
                tables.bindings.insert().values(key="k", tool_id=99, bound_at=datetime.now(UTC))
            )
        database.close()
    with open_registry(f"sqlite:///{path}") as registry:
        assert registry.tool("maths").versions[0].content_hash == "x"


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_registry("sqlite:///rlar.db") as registry:
        registry.register(SPEC, provenance=Provenance("builtin"))
        registry.close()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert registry.tool("maths").name == "maths"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_migrations_make_what_the_tables_say(shared_url: str) -> None:
    with open_registry(shared_url):
        pass
    database = Database(shared_url)
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        made = {name: inspector.get_columns(name) for name in inspector.get_table_names()}
        assert {name: {column["name"] for column in columns} for name, columns in made.items()} == {
            table.name: set(table.columns.keys()) for table in tables.metadata.sorted_tables
        }
        for table in tables.metadata.sorted_tables:
            required = {column["name"] for column in made[table.name] if not column["nullable"]}
            assert required >= {
                column.name for column in table.columns if not column.nullable and not column.primary_key
            }
            links = {tuple(key["constrained_columns"]) for key in inspector.get_foreign_keys(table.name)}
            assert links == {(key.parent.name,) for key in table.foreign_keys}
        assert schema_version(connection) == MIGRATIONS[-1].number
    database.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_a_newer_schema_is_left_alone(shared_url: str) -> None:
    with open_registry(shared_url):
        pass
    database = Database(shared_url)
    with database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO rlar_schema VALUES (999, '2030-01-01')")
    with pytest.raises(MigrationError, match=r"schema version 999.*upgrade rlar-graph"):
        open_registry(shared_url)
    database.close()


def test_an_older_schema_is_brought_up_to_date(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_registry(shared_url) as registry:
        registry.register(SPEC, provenance=Provenance("builtin"))
    following = Migration(NEXT, "more", ("CREATE TABLE rlar_more (id {id}, print {bytes})",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, following))
    with open_registry(shared_url) as registry:
        assert registry.tool("maths").name == "maths"
    database = Database(shared_url)
    with database.reading() as connection:
        assert schema_version(connection) == NEXT
        assert sa.inspect(connection).has_table("rlar_more")
    database.close()


def test_a_failed_migration_is_undone(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_registry(shared_url):
        pass
    broken = Migration(NEXT, "broken", ("CREATE TABLE rlar_halfway (id {id})", "CREATE NONSENSE"))
    database = Database(shared_url)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(MigrationError, match=rf"migration {NEXT} \(broken\).*undone"):
            migrate(database)
    with database.reading() as connection:
        assert schema_version(connection) == NEXT - 1
        assert not sa.inspect(connection).has_table("rlar_halfway")
    database.close()


def test_other_tables_in_the_same_file_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE tools (name TEXT)")
        other.execute("CREATE TABLE schema_version (version TEXT)")
    other.close()
    with open_registry(f"sqlite:///{path}") as registry:
        assert registry.tools() == ()


def ruined(path: Path) -> None:
    """Overwrite the middle of a real registry."""
    with open_registry(f"sqlite:///{path}") as registry:
        for number in range(50):
            spec = ToolSpec("maths", "verifier", "x" * 900, content_hash=str(number))
            registry.register(spec, provenance=Provenance("builtin"))
    for extra in ("-wal", "-shm"):
        Path(f"{path}{extra}").unlink(missing_ok=True)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("These are my notes.\n" * 500), "not a SQLite database"),
        (lambda path: path.write_bytes(bytes(range(256)) * 64), "not a SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 5000), "not a SQLite database"),
        (ruined, "it is damaged"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.parent.rmdir(), "there is no directory"),
        (lambda path: path.symlink_to("/proc/version"), "rlar.db"),
    ],
)
def test_a_place_that_cannot_hold_a_registry_is_named_with_what_to_do(
    tmp_path: Path, make: object, said: str
) -> None:
    path = tmp_path / "place" / "rlar.db"
    path.parent.mkdir()
    make(path)  # type: ignore[operator]
    with pytest.raises(RegistryError) as caught, open_registry(f"sqlite:///{path}") as registry:
        registry.tools()
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_database_whose_tables_were_dropped_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    with open_registry(f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as meddler:
        meddler.execute("DROP TABLE rlar_bindings")
    meddler.close()
    with (
        open_registry(f"sqlite:///{path}") as registry,
        pytest.raises(RegistryError, match="tables are damaged"),
    ):
        registry.active("key")


READ_ONLY = """
import os, sys
from rlar_graph.errors import RegistryError
from rlar_graph.registry import open_registry
import rlar_graph.registry.store
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    open_registry("sqlite:///" + sys.argv[1])
except RegistryError as error:
    print(error)
"""


@pytest.mark.parametrize(("exists", "mode"), [(False, 0o555), (True, 0o555), (False, 0o600), (True, 0o600)])
def test_a_directory_that_is_not_ours_is_named_with_what_to_do(
    tmp_path: Path, exists: bool, mode: int
) -> None:
    folder = tmp_path / "read only"
    folder.mkdir()
    path = folder / "rlar.db"
    if exists:
        with open_registry(f"sqlite:///{path}"):
            pass
        path.chmod(0o444)
    for above in (tmp_path, *list(tmp_path.parents)[:3]):
        if above.owner() == folder.owner() and str(above).startswith("/tmp/pytest"):  # noqa: S108
            above.chmod(0o755)
    folder.chmod(mode)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=False
        )
    finally:
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "directory" in done.stdout


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rlar.db", "write e.g. sqlite:///rlar.db"),
        ("", "write e.g."),
        ("mysql://host/name", "sqlite or postgresql"),
        ("sqlite+aiosqlite:///rlar.db", "sqlite or postgresql"),
        ("postgresql://u:p@host:port/name", "write e.g."),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        open_registry(url)


def test_an_error_does_not_show_a_password() -> None:
    url = "postgresql://user:s3cret@127.0.0.1:9/name?connect_timeout=2"
    with pytest.raises(RegistryError) as caught:
        open_registry(url)
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


def test_a_registry_in_memory_is_one_for_all_threads_and_gone_on_close() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with open_registry("sqlite://") as registry, ThreadPoolExecutor(4) as pool:
        registry.register(SPEC, provenance=Provenance("builtin"))
        assert list(pool.map(lambda _: len(registry.tools()), range(8))) == [1] * 8
    with open_registry("sqlite://") as registry:
        assert registry.tools() == ()


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="the driver is installed here")
def test_a_missing_postgresql_driver_says_what_to_install() -> None:
    with pytest.raises(RegistryError, match=r"pip install 'rlar-graph\[postgres\]'"):
        open_registry("postgresql://user@127.0.0.1/name")
