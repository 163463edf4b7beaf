"""The queries of a report: sums over everything a registry keeps, each bounded in rows whatever the registry holds.

They only read. The caller owns the connection; ``since`` leaves out what was before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from rlar_graph.registry.records import Event
from rlar_graph.registry.series import NO_STEP
from rlar_graph.registry.summary_records import Extent, OutcomeSum, RewardSum, Sampled, UsageSum
from rlar_graph.registry.tables import (
    admissions,
    decisions,
    events,
    outcomes,
    rewards,
    tools,
    usage,
    versions,
)
from rlar_graph.registry.traffic import decision_of

POINTS = 60
"""Buckets that a curve comes in at most, before it is drawn."""
RESOLUTIONS = ((timedelta(hours=6), 16), (timedelta(days=3), 15), (timedelta(days=30), 13))
"""Up to which span of time counts are read by the minute, by ten minutes and by the hour; beyond it by the day."""
STATE_CHANGES = ("registered", "imported", "admitted", "rejected", "promoted", "retired", "quarantined")
RECENT_DECISIONS = 20_000
"""How far back the latest decisions of each tool are looked for."""


def extent(connection: sa.Connection, since: str) -> Extent | None:
    """Return how far the rewards reach, or None where there are none."""
    steps = sa.case((rewards.c.step != NO_STEP, rewards.c.step))
    query = sa.select(
        sa.func.min(rewards.c.minute), sa.func.max(rewards.c.minute), sa.func.min(steps), sa.func.max(steps)
    ).where(rewards.c.minute >= since)
    first, last, first_step, last_step = connection.execute(query).one()
    return None if first is None else Extent(first, last, first_step, last_step)


def rewards_by_step(connection: sa.Connection, reach: Extent, since: str) -> tuple[RewardSum, ...]:
    """Return the rewards of each version by stretches of the trainer's steps; what has no step is left out."""
    if reach.first_step is None or reach.last_step is None:
        return ()
    width = (reach.last_step - reach.first_step) // POINTS + 1
    stretch = rewards.c.step - (rewards.c.step - reach.first_step) % width
    return _rewards(connection, stretch, sa.and_(rewards.c.minute >= since, rewards.c.step != NO_STEP))


def rewards_by_time(connection: sa.Connection, reach: Extent, since: str) -> tuple[RewardSum, ...]:
    """Return the rewards of each version by the minute, ten minutes, hour or day, as many as fit the span."""
    length = characters(reach.first, reach.last)
    return _rewards(connection, sa.func.substr(rewards.c.minute, 1, length), rewards.c.minute >= since)


def _rewards(
    connection: sa.Connection, place: sa.ColumnElement[object], wanted: sa.ColumnElement[bool]
) -> tuple[RewardSum, ...]:
    names = ("completions", "abstentions", "total", "squares")
    inner = (
        sa.select(
            rewards.c.version_id,
            place.label("place"),
            *(sa.func.sum(rewards.c[name]).label(name) for name in names),
        )
        .where(wanted)
        .group_by(rewards.c.version_id, sa.text("place"))
        .subquery()
    )
    query = (
        sa.select(tools.c.name, versions.c.number, inner)
        .join(versions, versions.c.id == inner.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .order_by(inner.c.place, tools.c.name, versions.c.number)
    )
    return tuple(
        RewardSum(
            row.name,
            row.number,
            str(row.place),
            int(row.completions),
            int(row.abstentions),
            row.total,
            row.squares,
        )
        for row in connection.execute(query)
    )


def outcomes_by_tool(connection: sa.Connection, since: str) -> tuple[OutcomeSum, ...]:
    """Return the outcomes by signature, tool and reason, most completions first."""
    columns = (outcomes.c.signature, outcomes.c.tool, outcomes.c.reason)
    total = sa.func.sum(outcomes.c.completions).label("total")
    query = sa.select(*columns, total).where(outcomes.c.slot >= since).group_by(*columns)
    return tuple(
        OutcomeSum("", row.signature, row.tool, row.reason, int(row.total))
        for row in connection.execute(query.order_by(total.desc(), *columns))
    )


def outcomes_by_time(connection: sa.Connection, since: str) -> tuple[OutcomeSum, ...]:
    """Return the outcomes by reason and time: ten minutes, an hour or a day, a few hundred at most."""
    wanted = outcomes.c.slot >= since
    first, last = connection.execute(
        sa.select(sa.func.min(outcomes.c.slot), sa.func.max(outcomes.c.slot)).where(wanted)
    ).one()
    if first is None:
        return ()
    slot = sa.func.substr(outcomes.c.slot, 1, characters(first, last, finest=15)).label("place")
    total = sa.func.sum(outcomes.c.completions).label("total")
    query = (
        sa.select(slot, outcomes.c.reason, total).where(wanted).group_by(sa.text("place"), outcomes.c.reason)
    )
    return tuple(
        OutcomeSum(row.place, "", "", row.reason, int(row.total))
        for row in connection.execute(query.order_by(sa.text("place"), outcomes.c.reason))
    )


def characters(first: str, last: str, finest: int = 16) -> int:
    """Return to how many characters ISO text is cut to tell some hundred stretches apart between two points in time."""
    span = datetime.fromisoformat(last) - datetime.fromisoformat(first)
    return min(finest, next((length for most, length in RESOLUTIONS if span <= most), 10))


def usage_sums(connection: sa.Connection, since: str) -> tuple[UsageSum, ...]:
    """Return what was asked of each version since a day."""
    names = ("batches", "completions", "abstentions", "errors", "seconds")
    query = (
        sa.select(
            tools.c.name, versions.c.number, *(sa.func.sum(usage.c[name]).label(name) for name in names)
        )
        .join(versions, versions.c.id == usage.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .where(usage.c.day >= since[:10])
        .group_by(tools.c.name, versions.c.number)
    )
    return tuple(
        UsageSum(
            row.name,
            row.number,
            int(row.batches),
            int(row.completions),
            int(row.abstentions),
            int(row.errors),
            row.seconds,
        )
        for row in connection.execute(query)
    )


def latest_reports(connection: sa.Connection) -> dict[tuple[str, int], str]:
    """Return the latest admission report of each version as JSON text."""
    latest = sa.select(sa.func.max(admissions.c.id)).group_by(admissions.c.version_id)
    query = (
        sa.select(tools.c.name, versions.c.number, admissions.c.report)
        .join(versions, versions.c.id == admissions.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .where(admissions.c.id.in_(latest))
    )
    return {(row.name, row.number): row.report for row in connection.execute(query)}


def latest_events(connection: sa.Connection, limit: int, since: datetime | None) -> tuple[Event, ...]:
    """Return the latest events, newest first."""
    query = _events().order_by(events.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(events.c.at >= since)
    return tuple(_event(row) for row in connection.execute(query))


def last_changes(connection: sa.Connection) -> dict[tuple[str, int], Event]:
    """Return the latest event of each version that says something of its state."""
    wanted = sa.and_(events.c.version_id.is_not(None), events.c.action.in_(STATE_CHANGES))
    latest = sa.select(sa.func.max(events.c.id)).where(wanted)
    query = _events().where(events.c.id.in_(latest.group_by(events.c.version_id)))
    found = [_event(row) for row in connection.execute(query)]
    return {(event.tool, event.version): event for event in found if event.version is not None}


def _events() -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(events, tools.c.name, versions.c.number)
        .join(tools, tools.c.id == events.c.tool_id)
        .outerjoin(versions, versions.c.id == events.c.version_id)
    )


def _event(row: sa.Row[tuple[object, ...]]) -> Event:
    return Event(row.id, row.at, row.name, row.number, row.key, row.action, row.reason, row.who)


def latest_of_each(connection: sa.Connection, each: int, since: datetime | None) -> tuple[Sampled, ...]:
    """Return the latest kept decisions of each tool, and of prompts that none served, newest first."""
    newest = connection.execute(sa.select(sa.func.max(decisions.c.id))).scalar() or 0
    rank = sa.func.row_number().over(partition_by=versions.c.tool_id, order_by=decisions.c.id.desc())
    wanted = decisions.c.id > newest - RECENT_DECISIONS
    if since is not None:
        wanted = sa.and_(wanted, decisions.c.at >= since)
    inner = (
        sa.select(decisions, versions.c.tool_id, versions.c.number, rank.label("rank"))
        .outerjoin(versions, versions.c.id == decisions.c.version_id)
        .where(wanted)
        .subquery()
    )
    query = (
        sa.select(inner, tools.c.name)
        .outerjoin(tools, tools.c.id == inner.c.tool_id)
        .where(inner.c.rank <= each)
        .order_by(inner.c.id.desc())
    )
    return tuple(Sampled(row.at, decision_of(row)) for row in connection.execute(query))
