"""The numbered migrations, and what applies them.

A migration is never edited once released: a change of the tables is a new migration with the next number,
plus the same change in :mod:`~rlar_graph.registry.tables` (a test compares the two).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from rlar_graph.errors import MigrationError
from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import schema


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    """1, 2, 3, ... without gaps."""
    why: str
    """What it brings, for people."""
    statements: tuple[str, ...]
    """SQL in order; ``{id}`` and ``{bytes}`` stand for what databases spell differently."""


FIRST = (
    "CREATE TABLE rlar_schema (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)",
    """CREATE TABLE rlar_tools (
        id {id},
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        created_at TEXT NOT NULL)""",
    "CREATE TABLE rlar_blobs (sha256 TEXT PRIMARY KEY, content {bytes} NOT NULL)",
    """CREATE TABLE rlar_versions (
        id {id},
        tool_id INTEGER NOT NULL REFERENCES rlar_tools (id),
        number INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('candidate', 'active', 'retired', 'quarantined', 'rejected')),
        content_hash TEXT NOT NULL,
        source_hash TEXT REFERENCES rlar_blobs (sha256),
        summary TEXT NOT NULL,
        graded BOOLEAN NOT NULL,
        provenance TEXT NOT NULL,
        created_at TEXT NOT NULL,
        UNIQUE (tool_id, number),
        UNIQUE (tool_id, content_hash))""",
    "CREATE UNIQUE INDEX rlar_one_active_version ON rlar_versions (tool_id) WHERE state = 'active'",
    """CREATE TABLE rlar_admissions (
        id {id},
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        admitted BOOLEAN NOT NULL,
        report TEXT NOT NULL,
        created_at TEXT NOT NULL)""",
    "CREATE INDEX rlar_admissions_by_version ON rlar_admissions (version_id)",
    """CREATE TABLE rlar_bindings (
        key TEXT PRIMARY KEY,
        tool_id INTEGER NOT NULL REFERENCES rlar_tools (id),
        bound_at TEXT NOT NULL)""",
    """CREATE TABLE rlar_events (
        id {id},
        at TEXT NOT NULL,
        tool_id INTEGER NOT NULL REFERENCES rlar_tools (id),
        version_id INTEGER REFERENCES rlar_versions (id),
        key TEXT,
        action TEXT NOT NULL,
        reason TEXT NOT NULL,
        who TEXT NOT NULL)""",
    "CREATE INDEX rlar_events_by_tool ON rlar_events (tool_id)",
    """CREATE TABLE rlar_usage (
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        day TEXT NOT NULL,
        batches BIGINT NOT NULL,
        completions BIGINT NOT NULL,
        abstentions BIGINT NOT NULL,
        errors BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (version_id, day))""",
    """CREATE TABLE rlar_decisions (
        id {id},
        at TEXT NOT NULL,
        signature TEXT NOT NULL,
        prompt_hash TEXT NOT NULL,
        rollout_id TEXT,
        family TEXT,
        version_id INTEGER REFERENCES rlar_versions (id),
        value DOUBLE PRECISION,
        abstained TEXT,
        excerpt TEXT NOT NULL)""",
)

SECOND = (
    """CREATE TABLE rlar_wanted (
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        key TEXT NOT NULL,
        PRIMARY KEY (version_id, key))""",
    """CREATE TABLE rlar_families (
        key TEXT PRIMARY KEY,
        signature TEXT NOT NULL,
        sketch TEXT NOT NULL,
        example TEXT NOT NULL,
        prompts BIGINT NOT NULL,
        created_at TEXT NOT NULL)""",
    """CREATE TABLE rlar_labels (
        id {id},
        prompt_hash TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('rule', 'user', 'llm')),
        text TEXT NOT NULL,
        target TEXT NOT NULL,
        UNIQUE (prompt_hash, source))""",
    """CREATE TABLE rlar_probes (
        id {id},
        family TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        body TEXT NOT NULL,
        deciding BOOLEAN NOT NULL,
        origin TEXT NOT NULL CHECK (origin IN ('data', 'llm', 'user', 'audit', 'hostile')),
        expect TEXT NOT NULL,
        at TEXT NOT NULL,
        UNIQUE (family, sha256))""",
    "CREATE TABLE rlar_claims (family TEXT PRIMARY KEY, owner TEXT NOT NULL, expires DOUBLE PRECISION NOT NULL)",
    """CREATE TABLE rlar_attempts (
        id {id},
        family TEXT NOT NULL,
        kind TEXT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('admitted', 'rejected', 'refused')),
        reason TEXT NOT NULL,
        calls BIGINT NOT NULL,
        tokens BIGINT NOT NULL,
        money DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        at TEXT NOT NULL)""",
    "CREATE INDEX rlar_attempts_by_family ON rlar_attempts (family)",
    """CREATE TABLE rlar_cache (
        id {id},
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        UNIQUE (kind, key))""",
    """CREATE TABLE rlar_spend (
        role TEXT NOT NULL,
        day TEXT NOT NULL,
        calls BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL,
        money DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (role, day))""",
    """CREATE TABLE rlar_observations (
        id {id},
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        rollouts BIGINT NOT NULL,
        completions BIGINT NOT NULL,
        abstained BIGINT NOT NULL,
        errors BIGINT NOT NULL,
        groups BIGINT NOT NULL,
        flat BIGINT NOT NULL,
        tops BIGINT NOT NULL,
        bottoms BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL)""",
    "CREATE INDEX rlar_observations_by_version ON rlar_observations (version_id, id)",
    """CREATE TABLE rlar_audits (
        id {id},
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        pairs BIGINT NOT NULL,
        train DOUBLE PRECISION NOT NULL,
        gap DOUBLE PRECISION NOT NULL,
        gap_squares DOUBLE PRECISION NOT NULL)""",
    "CREATE INDEX rlar_audits_by_version ON rlar_audits (version_id, id)",
    """CREATE TABLE rlar_findings (
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        monitor TEXT NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('reacquire', 'quarantine', 'watch')),
        reason TEXT NOT NULL,
        at TEXT NOT NULL,
        settled BOOLEAN NOT NULL,
        PRIMARY KEY (version_id, monitor))""",
)

THIRD = (
    """CREATE TABLE rlar_rewards (
        minute TEXT NOT NULL,
        version_id INTEGER NOT NULL REFERENCES rlar_versions (id),
        step BIGINT NOT NULL,
        completions BIGINT NOT NULL,
        abstentions BIGINT NOT NULL,
        total DOUBLE PRECISION NOT NULL,
        squares DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (minute, version_id, step))""",
    """CREATE TABLE rlar_outcomes (
        slot TEXT NOT NULL,
        signature TEXT NOT NULL,
        tool TEXT NOT NULL,
        reason TEXT NOT NULL,
        completions BIGINT NOT NULL,
        PRIMARY KEY (slot, signature, tool, reason))""",
)

FOURTH = ("CREATE TABLE rlar_writers (writer TEXT PRIMARY KEY, number BIGINT NOT NULL, at TEXT NOT NULL)",)

MIGRATIONS = (
    Migration(1, "tools, versions, admissions, bindings, events, usage and decisions", FIRST),
    Migration(2, "families, labels, probes, claims, attempts, cache, spend, drift", SECOND),
    Migration(3, "rewards by minute and step, outcomes by ten minutes and reason", THIRD),
    Migration(4, "what each writer of counters wrote last, so that nothing is counted twice", FOURTH),
)


def schema_version(connection: sa.Connection) -> int:
    """Return the number of the last migration applied, 0 for a database without our tables."""
    if not sa.inspect(connection).has_table(schema.name):
        return 0
    return connection.execute(sa.select(sa.func.max(schema.c.version))).scalar() or 0


def migrate(database: Database) -> None:
    """Bring the schema up to date; safe when many processes do it at once.

    Raises:
        MigrationError: The schema is newer than this library, or a migration failed and was undone.
    """
    with database.reading() as connection:
        found = schema_version(connection)
    if found < MIGRATIONS[-1].number:
        with database.writing() as connection:
            # Another process may have migrated while this one waited for the lock.
            found = schema_version(connection)
            for migration in MIGRATIONS[found:]:
                _apply(connection, migration, database)
    elif found > MIGRATIONS[-1].number:
        raise MigrationError(
            f"the registry {database.where} has schema version {found}, and this library knows up to "
            f"{MIGRATIONS[-1].number}: upgrade rlar-graph, or name another registry"
        )


def _apply(connection: sa.Connection, migration: Migration, database: Database) -> None:
    try:
        for statement in migration.statements:
            connection.exec_driver_sql(statement.format_map(database.spelling))
        connection.execute(schema.insert().values(version=migration.number, applied_at=datetime.now(UTC)))
    except sa.exc.SQLAlchemyError as error:
        raise MigrationError(
            f"migration {migration.number} ({migration.why}) of the registry {database.where} failed and was "
            f"undone: {error.args[0] if error.args else error}"
        ) from error
