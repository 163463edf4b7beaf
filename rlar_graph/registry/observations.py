"""The queries on what drift monitors saw and found: counters over a sliding window, audits, findings."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC, datetime

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import audits, bindings, findings, observations, tools, versions
from rlar_graph.registry.workshop_records import Audit, DriftAction, Observation, Reacquisition

OBSERVATIONS_KEPT = 2_000
AUDITS_KEPT = 2_000
COUNTERS = tuple(field.name for field in fields(Observation))
SUMS = tuple(field.name for field in fields(Audit))


def add(connection: sa.Connection, version: int, seen: Observation) -> None:
    """Add an observation of a version, given by row id, and drop its oldest beyond the bound."""
    connection.execute(observations.insert().values(version_id=version, **asdict(seen)))
    oldest = (
        sa.select(observations.c.id)
        .where(observations.c.version_id == version)
        .order_by(observations.c.id.desc())
        .offset(OBSERVATIONS_KEPT)
        .limit(1)
    )
    edge = connection.execute(oldest).scalar()
    if edge is not None:
        gone = sa.and_(observations.c.version_id == version, observations.c.id <= edge)
        connection.execute(observations.delete().where(gone))


def window(connection: sa.Connection, version: int, rollouts: int) -> Observation:
    """Return the sum of a version's latest observations that together hold so many rollouts, or of all."""
    query = sa.select(observations).where(observations.c.version_id == version)
    total = Observation()
    for row in connection.execute(query.order_by(observations.c.id.desc())):
        total += Observation(*(getattr(row, name) for name in COUNTERS))
        if total.rollouts >= rollouts:
            break
    return total


def add_audit(connection: sa.Connection, version: int, seen: Audit) -> None:
    """Add an audit of a version; the earliest ones are its baseline and are never dropped."""
    connection.execute(audits.insert().values(version_id=version, **asdict(seen)))
    mine = sa.select(audits.c.id).where(audits.c.version_id == version)
    first = connection.execute(mine.order_by(audits.c.id).offset(AUDITS_KEPT // 2).limit(1)).scalar()
    last = connection.execute(mine.order_by(audits.c.id.desc()).offset(AUDITS_KEPT // 2).limit(1)).scalar()
    if first is not None and last is not None and first < last:
        middle = sa.and_(audits.c.version_id == version, audits.c.id > first, audits.c.id <= last)
        connection.execute(audits.delete().where(middle))


def audited(connection: sa.Connection, version: int) -> tuple[Audit, ...]:
    """Return the audits of a version, oldest first."""
    query = sa.select(audits).where(audits.c.version_id == version).order_by(audits.c.id)
    return tuple(Audit(*(getattr(row, name) for name in SUMS)) for row in connection.execute(query))


def find(
    connection: sa.Connection,
    database: Database,
    version: int,
    monitor: str,
    action: DriftAction,
    reason: str,
) -> bool:
    """Keep a finding; False if this monitor has found this version before."""
    row = {
        "version_id": version,
        "monitor": monitor,
        "action": action,
        "reason": reason,
        "at": datetime.now(UTC),
        "settled": False,
    }
    insert = database.upsert(findings).values(row).on_conflict_do_nothing().returning(findings.c.monitor)
    return connection.execute(insert).first() is not None


def reacquisitions(connection: sa.Connection) -> tuple[Reacquisition, ...]:
    """Return the active versions that are to be replaced and have not been tried since, oldest first."""
    query = (
        sa.select(findings, versions.c.number, versions.c.tool_id, tools.c.name)
        .join(versions, versions.c.id == findings.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .where(findings.c.action == "reacquire", ~findings.c.settled, versions.c.state == "active")
        .order_by(findings.c.at)
    )
    return tuple(
        Reacquisition(row.name, row.number, _keys(connection, row.tool_id), row.monitor, row.reason, row.at)
        for row in connection.execute(query).all()
    )


def settle(connection: sa.Connection, key: str) -> None:
    """Note that the tool behind a key has been tried to be replaced: it is not marked for it any more."""
    of_tool = (
        sa.select(versions.c.id)
        .join(bindings, bindings.c.tool_id == versions.c.tool_id)
        .where(bindings.c.key == key)
    )
    connection.execute(findings.update().where(findings.c.version_id.in_(of_tool)).values(settled=True))


def _keys(connection: sa.Connection, tool: int) -> tuple[str, ...]:
    query = sa.select(bindings.c.key).where(bindings.c.tool_id == tool).order_by(bindings.c.key)
    return tuple(connection.execute(query).scalars())
