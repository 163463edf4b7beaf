"""The queries on what was rewarded when: sums by minute and trainer's step, and outcomes by ten minutes and reason.

Counters, not samples: a curve drawn from them holds every completion. What is older than :data:`DAYS_KEPT` is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.records import Outcome, Usage
from rlar_graph.registry.tables import outcomes, rewards, storable

DAYS_KEPT = 90
NO_STEP = -1
"""Stands for the step where the trainer names none; a key column cannot be null."""
SUMS = ("completions", "abstentions", "total", "squares")


def add_rewards(connection: sa.Connection, database: Database, batch: Sequence[tuple[int, Usage]]) -> None:
    """Add a batch of usage, given with the row ids of its versions, to the sums of this minute."""
    now = datetime.now(UTC)
    minute = f"{now:%Y-%m-%dT%H:%M}"
    sums: dict[tuple[int, int], list[float]] = {}
    for version, used in batch:
        key = (version, NO_STEP if used.step is None else used.step)
        added = (used.completions, used.abstentions, used.total, used.squares)
        sums[key] = [mine + more for mine, more in zip(sums.get(key, (0, 0, 0.0, 0.0)), added, strict=True)]
    rows: list[Mapping[str, object]] = [
        {
            "minute": minute,
            "version_id": version,
            "step": step,
            **dict(zip(SUMS, sums[version, step], strict=True)),
        }
        # In one order everywhere: two batches that lock the same rows in opposite orders would deadlock.
        for version, step in sorted(sums)
    ]
    _add(connection, database, rewards, ["minute", "version_id", "step"], SUMS, rows)
    oldest = f"{now - timedelta(days=DAYS_KEPT):%Y-%m-%dT%H:%M}"
    connection.execute(rewards.delete().where(rewards.c.minute < oldest))


def add_outcomes(connection: sa.Connection, database: Database, batch: Sequence[Outcome]) -> None:
    """Add outcomes to the counts of these ten minutes."""
    now = datetime.now(UTC)
    slot = f"{now:%Y-%m-%dT%H:%M}"[:-1] + "0"
    counts: dict[tuple[str, str, str], int] = {}
    for each in batch:
        key = (storable(each.signature), storable(each.tool or ""), storable(each.reason or ""))
        counts[key] = counts.get(key, 0) + each.completions
    rows: list[Mapping[str, object]] = [
        {"slot": slot, "signature": signature, "tool": tool, "reason": reason, "completions": count}
        for (signature, tool, reason), count in sorted(counts.items())
    ]
    _add(connection, database, outcomes, ["slot", "signature", "tool", "reason"], ("completions",), rows)
    oldest = f"{now - timedelta(days=DAYS_KEPT):%Y-%m-%dT%H:%M}"
    connection.execute(outcomes.delete().where(outcomes.c.slot < oldest))


def _add(
    connection: sa.Connection,
    database: Database,
    table: sa.Table,
    keys: Sequence[str],
    sums: Sequence[str],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Insert rows, or add their sums to those of the same keys."""
    insert = database.upsert(table)
    added = {name: table.c[name] + insert.excluded[name] for name in sums}
    connection.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=added), rows)
