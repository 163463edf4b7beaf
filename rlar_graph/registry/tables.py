"""The tables as SQLAlchemy sees them; :mod:`~rlar_graph.registry.migrations` is what creates them.

Only portable types. Everything that is text goes through :class:`StorableText`, because completions, model
names and error messages may hold what a database refuses: lone surrogates (SQLite's driver), NUL (PostgreSQL).
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

metadata = sa.MetaData()


def storable(text: str) -> str:
    """Return the text with lone surrogates and NULs spelt out, so that every database takes it."""
    text = text.replace("\x00", "\\x00")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class StorableText(sa.types.TypeDecorator[str]):
    """Text that is made storable on its way in."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Spell out what the database would refuse."""
        return None if value is None else storable(value)


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time, as ISO 8601 text in UTC: sortable, portable and readable in any database shell."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        """Write ISO text, always with microseconds so that text order is time order."""
        return None if value is None else value.isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        """Read ISO text."""
        return None if value is None else datetime.fromisoformat(value)


def _key(target: str, *, nullable: bool = False) -> sa.Column[int]:
    """A column that refers to another table's id."""
    return sa.Column(f"{target}_id", sa.ForeignKey(f"rlar_{target}s.id"), nullable=nullable)


schema = sa.Table(
    "rlar_schema",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("applied_at", Moment, nullable=False),
)

tools = sa.Table(
    "rlar_tools",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", StorableText, nullable=False, unique=True),
    sa.Column("kind", StorableText, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

blobs = sa.Table(
    "rlar_blobs",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

versions = sa.Table(
    "rlar_versions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _key("tool"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", StorableText, nullable=False),
    sa.Column("content_hash", StorableText, nullable=False),
    sa.Column("source_hash", sa.ForeignKey("rlar_blobs.sha256")),
    sa.Column("summary", StorableText, nullable=False),
    sa.Column("graded", sa.Boolean, nullable=False),
    sa.Column("provenance", StorableText, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

admissions = sa.Table(
    "rlar_admissions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _key("version"),
    sa.Column("admitted", sa.Boolean, nullable=False),
    sa.Column("report", StorableText, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

bindings = sa.Table(
    "rlar_bindings",
    metadata,
    sa.Column("key", StorableText, primary_key=True),
    _key("tool"),
    sa.Column("bound_at", Moment, nullable=False),
)

events = sa.Table(
    "rlar_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    _key("tool"),
    _key("version", nullable=True),
    sa.Column("key", StorableText),
    sa.Column("action", StorableText, nullable=False),
    sa.Column("reason", StorableText, nullable=False),
    sa.Column("who", StorableText, nullable=False),
)

usage = sa.Table(
    "rlar_usage",
    metadata,
    sa.Column("version_id", sa.ForeignKey("rlar_versions.id"), primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("batches", sa.BigInteger, nullable=False),
    sa.Column("completions", sa.BigInteger, nullable=False),
    sa.Column("abstentions", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
)

rewards = sa.Table(
    "rlar_rewards",
    metadata,
    sa.Column("minute", sa.Text, primary_key=True),
    sa.Column("version_id", sa.ForeignKey("rlar_versions.id"), primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True),
    sa.Column("completions", sa.BigInteger, nullable=False),
    sa.Column("abstentions", sa.BigInteger, nullable=False),
    sa.Column("total", sa.Double, nullable=False),
    sa.Column("squares", sa.Double, nullable=False),
)

writers = sa.Table(
    "rlar_writers",
    metadata,
    sa.Column("writer", StorableText, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

outcomes = sa.Table(
    "rlar_outcomes",
    metadata,
    sa.Column("slot", sa.Text, primary_key=True),
    sa.Column("signature", StorableText, primary_key=True),
    sa.Column("tool", StorableText, primary_key=True),
    sa.Column("reason", StorableText, primary_key=True),
    sa.Column("completions", sa.BigInteger, nullable=False),
)

decisions = sa.Table(
    "rlar_decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("signature", StorableText, nullable=False),
    sa.Column("prompt_hash", StorableText, nullable=False),
    sa.Column("rollout_id", StorableText),
    sa.Column("family", StorableText),
    _key("version", nullable=True),
    sa.Column("value", sa.Double),
    sa.Column("abstained", StorableText),
    sa.Column("excerpt", StorableText, nullable=False),
)

wanted = sa.Table(
    "rlar_wanted",
    metadata,
    sa.Column("version_id", sa.ForeignKey("rlar_versions.id"), primary_key=True),
    sa.Column("key", StorableText, primary_key=True),
)

families = sa.Table(
    "rlar_families",
    metadata,
    sa.Column("key", StorableText, primary_key=True),
    sa.Column("signature", StorableText, nullable=False),
    sa.Column("sketch", StorableText, nullable=False),
    sa.Column("example", StorableText, nullable=False),
    sa.Column("prompts", sa.BigInteger, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

labels = sa.Table(
    "rlar_labels",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("prompt_hash", StorableText, nullable=False),
    sa.Column("source", StorableText, nullable=False),
    sa.Column("text", StorableText, nullable=False),
    sa.Column("target", StorableText, nullable=False),
)

probes = sa.Table(
    "rlar_probes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("family", StorableText, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("body", StorableText, nullable=False),
    sa.Column("deciding", sa.Boolean, nullable=False),
    sa.Column("origin", StorableText, nullable=False),
    sa.Column("expect", StorableText, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

claims = sa.Table(
    "rlar_claims",
    metadata,
    sa.Column("family", StorableText, primary_key=True),
    sa.Column("owner", StorableText, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
)

attempts = sa.Table(
    "rlar_attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("family", StorableText, nullable=False),
    sa.Column("kind", StorableText, nullable=False),
    sa.Column("outcome", StorableText, nullable=False),
    sa.Column("reason", StorableText, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("money", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

cache = sa.Table(
    "rlar_cache",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", StorableText, nullable=False),
    sa.Column("key", StorableText, nullable=False),
    sa.Column("value", StorableText, nullable=False),
)

spend = sa.Table(
    "rlar_spend",
    metadata,
    sa.Column("role", StorableText, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("money", sa.Double, nullable=False),
)

observations = sa.Table(
    "rlar_observations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _key("version"),
    sa.Column("rollouts", sa.BigInteger, nullable=False),
    sa.Column("completions", sa.BigInteger, nullable=False),
    sa.Column("abstained", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("groups", sa.BigInteger, nullable=False),
    sa.Column("flat", sa.BigInteger, nullable=False),
    sa.Column("tops", sa.BigInteger, nullable=False),
    sa.Column("bottoms", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
)

audits = sa.Table(
    "rlar_audits",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _key("version"),
    sa.Column("pairs", sa.BigInteger, nullable=False),
    sa.Column("train", sa.Double, nullable=False),
    sa.Column("gap", sa.Double, nullable=False),
    sa.Column("gap_squares", sa.Double, nullable=False),
)

findings = sa.Table(
    "rlar_findings",
    metadata,
    sa.Column("version_id", sa.ForeignKey("rlar_versions.id"), primary_key=True),
    sa.Column("monitor", StorableText, primary_key=True),
    sa.Column("action", StorableText, nullable=False),
    sa.Column("reason", StorableText, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
)
