"""The queries on what passes through the tools: usage counters and sampled decisions.

They are written after every scored batch, so they are few and cheap: additions only, no lock of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.records import DailyUsage, Decision, Usage
from rlar_graph.registry.tables import decisions, storable, tools, usage, versions

DECISIONS_KEPT = 100_000
EXCERPT_CHARS = 500
COUNTERS = ("batches", "completions", "abstentions", "errors", "seconds")


def count(
    connection: sa.Connection, database: Database, batch: Sequence[tuple[int, Usage]], day: date
) -> None:
    """Add a batch of usage, given with the row ids of its versions, to the day's counters."""
    rows = [
        {
            "version_id": version,
            "day": day.isoformat(),
            "batches": 1,
            "completions": used.completions,
            "abstentions": used.abstentions,
            "errors": used.errors,
            "seconds": used.seconds,
        }
        # In one order everywhere: two batches that lock the same counters in opposite orders would deadlock.
        for version, used in sorted(batch, key=lambda pair: pair[0])
    ]
    insert = database.upsert(usage)
    sums = {name: usage.c[name] + insert.excluded[name] for name in COUNTERS}
    connection.execute(insert.on_conflict_do_update(index_elements=["version_id", "day"], set_=sums), rows)


def keep(connection: sa.Connection, batch: Sequence[tuple[int | None, Decision]]) -> None:
    """Keep decisions, given with the row ids of their versions, and drop the oldest beyond the bound."""
    now = datetime.now(UTC)
    rows = [
        {
            "at": now,
            "signature": decision.signature,
            "prompt_hash": decision.prompt_hash,
            "rollout_id": decision.rollout_id,
            "family": decision.family,
            "version_id": version,
            "value": decision.value,
            "abstained": decision.abstained,
            "excerpt": storable(decision.excerpt[:EXCERPT_CHARS])[:EXCERPT_CHARS],
        }
        for version, decision in batch
    ]
    connection.execute(decisions.insert(), rows)
    newest = connection.execute(sa.select(sa.func.max(decisions.c.id))).scalar_one()
    connection.execute(decisions.delete().where(decisions.c.id <= newest - DECISIONS_KEPT))


def daily_usage(connection: sa.Connection, name: str | None) -> tuple[DailyUsage, ...]:
    """Return the counters of one tool, or of all, by tool, version and day."""
    query = (
        sa.select(usage, tools.c.name, versions.c.number)
        .join(versions, versions.c.id == usage.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .order_by(tools.c.name, versions.c.number, usage.c.day)
    )
    if name is not None:
        query = query.where(tools.c.name == name)
    return tuple(
        DailyUsage(
            row.name, row.number, date.fromisoformat(row.day), *(getattr(row, each) for each in COUNTERS)
        )
        for row in connection.execute(query)
    )


def latest_decisions(connection: sa.Connection, name: str | None, limit: int) -> tuple[Decision, ...]:
    """Return the latest kept decisions of one tool, or of all, newest first."""
    query = (
        sa.select(decisions, tools.c.name, versions.c.number)
        .outerjoin(versions, versions.c.id == decisions.c.version_id)
        .outerjoin(tools, tools.c.id == versions.c.tool_id)
        .order_by(decisions.c.id.desc())
        .limit(limit)
    )
    if name is not None:
        query = query.where(tools.c.name == name)
    return tuple(map(decision_of, connection.execute(query)))


def decision_of(row: sa.Row[Any]) -> Decision:
    """Return a kept decision from its row, with the tool's ``name`` and the version's ``number`` beside it."""
    return Decision(
        signature=row.signature,
        prompt_hash=row.prompt_hash,
        rollout_id=row.rollout_id,
        family=row.family,
        tool=row.name,
        version=row.number,
        value=row.value,
        abstained=row.abstained,
        excerpt=row.excerpt,
    )
