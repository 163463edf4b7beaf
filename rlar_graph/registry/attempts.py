"""The queries on attempts at getting a tool, and on what language models have cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import attempts, spend
from rlar_graph.registry.workshop_records import Attempt, AttemptOutcome, Spend

FIELDS = ("family", "kind", "outcome", "reason", "calls", "tokens", "money", "seconds", "at")
AMOUNTS = ("calls", "prompt_tokens", "completion_tokens", "seconds", "money")


def add(connection: sa.Connection, attempt: Attempt) -> None:
    """Add an attempt; the family's last one again, in all but its time, only gets the new time.

    So a step that is run again after a kill, or a refusal met at every batch, leaves one row.
    """
    row = {name: getattr(attempt, name) for name in FIELDS}
    last = _latest(connection, attempt.family)
    if last is not None and all(getattr(last, name) == row[name] for name in FIELDS[:-1]):
        connection.execute(attempts.update().where(attempts.c.id == last.id).values(at=attempt.at))
        return
    connection.execute(attempts.insert(), row)


def _latest(connection: sa.Connection, family: str) -> sa.Row[tuple[object, ...]] | None:
    query = sa.select(attempts).where(attempts.c.family == family).order_by(attempts.c.id.desc())
    return connection.execute(query.limit(1)).first()


def of_family(connection: sa.Connection, family: str | None) -> tuple[Attempt, ...]:
    """Return the attempts for one family, or for all, oldest first."""
    query = sa.select(attempts).order_by(attempts.c.id)
    if family is not None:
        query = query.where(attempts.c.family == family)
    return tuple(map(attempt_of, connection.execute(query)))


def attempt_of(row: sa.Row[Any]) -> Attempt:
    """Return an attempt from its row."""
    return Attempt(
        family=row.family,
        kind=row.kind,
        outcome=cast(AttemptOutcome, row.outcome),
        reason=row.reason,
        calls=row.calls,
        tokens=row.tokens,
        money=row.money,
        seconds=row.seconds,
        at=row.at,
    )


def add_spend(connection: sa.Connection, database: Database, batch: Sequence[Spend]) -> None:
    """Add to the day's sums of each role."""
    day = datetime.now(UTC).date().isoformat()
    # In one order everywhere: two batches that lock the same roles in opposite orders would deadlock.
    rows = [asdict(each) | {"day": day} for each in sorted(batch, key=lambda each: each.role)]
    insert = database.upsert(spend)
    sums = {name: spend.c[name] + insert.excluded[name] for name in AMOUNTS}
    connection.execute(insert.on_conflict_do_update(index_elements=["role", "day"], set_=sums), rows)


def spent(connection: sa.Connection) -> tuple[Spend, ...]:
    """Return what each role has used since the registry was made, by role."""
    sums = [sa.func.sum(spend.c[name]).label(name) for name in AMOUNTS]
    query = sa.select(spend.c.role, *sums).group_by(spend.c.role).order_by(spend.c.role)
    return tuple(
        Spend(
            row.role,
            int(row.calls),
            int(row.prompt_tokens),
            int(row.completion_tokens),
            row.seconds,
            row.money,
        )
        for row in connection.execute(query)
    )
