"""The queries of a report on acquisitions and drift: attempts, spending, findings, audits, claims. They only read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

import sqlalchemy as sa

from rlar_graph.registry.attempts import attempt_of
from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import attempts, audits, claims, findings, spend, tools, versions
from rlar_graph.registry.workshop_records import Attempt, Audit, DriftAction


@dataclass(frozen=True, slots=True)
class AttemptSum:
    """What the attempts at one kind of tool came to and cost."""

    kind: str
    """Kind of tool."""
    outcome: str
    """``admitted``, ``rejected`` or ``refused``."""
    attempts: int
    """How many."""
    calls: int
    """Requests to the language model."""
    tokens: int
    """Prompt and completion tokens together."""
    money: float
    """What they cost."""
    seconds: float
    """Wall-clock seconds they took."""


@dataclass(frozen=True, slots=True)
class DailySpend:
    """What one role used of the language model on one day (UTC)."""

    role: str
    """Who asked."""
    day: str
    """The day, as ISO text."""
    calls: int
    """Requests."""
    prompt_tokens: int
    """Tokens sent."""
    completion_tokens: int
    """Tokens received."""
    seconds: float
    """Seconds spent in requests."""
    money: float
    """What they cost."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What a drift monitor found of a version, kept until the tool is replaced."""

    tool: str
    """Name of the tool."""
    version: int
    """The version that drifted."""
    monitor: str
    """The monitor that found it."""
    action: DriftAction
    """What followed."""
    reason: str
    """What was found, in words."""
    at: datetime
    """When."""
    standing: bool
    """Whether the version still scores and nothing was done about it since."""


def attempt_sums(connection: sa.Connection, since: datetime | None) -> tuple[AttemptSum, ...]:
    """Return what attempts came to and cost, by kind and outcome."""
    names = ("calls", "tokens", "money", "seconds")
    query = sa.select(
        attempts.c.kind,
        attempts.c.outcome,
        sa.func.count().label("attempts"),
        *(sa.func.sum(attempts.c[name]).label(name) for name in names),
    ).group_by(attempts.c.kind, attempts.c.outcome)
    if since is not None:
        query = query.where(attempts.c.at >= since)
    return tuple(
        AttemptSum(
            row.kind, row.outcome, row.attempts, int(row.calls), int(row.tokens), row.money, row.seconds
        )
        for row in connection.execute(query.order_by(attempts.c.kind, attempts.c.outcome))
    )


def vain_attempts(connection: sa.Connection, limit: int, since: datetime | None) -> tuple[Attempt, ...]:
    """Return the latest attempts that came to no tool, newest first."""
    query = sa.select(attempts).where(attempts.c.outcome != "admitted")
    if since is not None:
        query = query.where(attempts.c.at >= since)
    return tuple(map(attempt_of, connection.execute(query.order_by(attempts.c.id.desc()).limit(limit))))


def daily_spend(connection: sa.Connection, since: str) -> tuple[DailySpend, ...]:
    """Return what each role used of the language model, by day and role."""
    query = sa.select(spend).where(spend.c.day >= since[:10]).order_by(spend.c.day, spend.c.role)
    return tuple(
        DailySpend(
            row.role, row.day, row.calls, row.prompt_tokens, row.completion_tokens, row.seconds, row.money
        )
        for row in connection.execute(query)
    )


def alarms(connection: sa.Connection, limit: int) -> tuple[Alarm, ...]:
    """Return what drift monitors found, newest first; what still stands comes before all else."""
    standing = sa.and_(versions.c.state == "active", sa.not_(findings.c.settled)).label("standing")
    query = (
        sa.select(findings, versions.c.number, tools.c.name, standing)
        .join(versions, versions.c.id == findings.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .order_by(standing.desc(), findings.c.at.desc())
        .limit(limit)
    )
    return tuple(
        Alarm(
            row.name,
            row.number,
            row.monitor,
            cast(DriftAction, row.action),
            row.reason,
            row.at,
            bool(row.standing),
        )
        for row in connection.execute(query)
    )


def all_audits(connection: sa.Connection) -> dict[tuple[str, int], list[Audit]]:
    """Return the audits of each audited version, oldest first."""
    query = (
        sa.select(audits, versions.c.number, tools.c.name)
        .join(versions, versions.c.id == audits.c.version_id)
        .join(tools, tools.c.id == versions.c.tool_id)
        .order_by(audits.c.id)
    )
    found: dict[tuple[str, int], list[Audit]] = {}
    for row in connection.execute(query):
        audit = Audit(row.pairs, row.train, row.gap, row.gap_squares)
        found.setdefault((row.name, row.number), []).append(audit)
    return found


def claimed(connection: sa.Connection, database: Database) -> tuple[str, ...]:
    """Return the families a tool is being sought for at this moment."""
    query = sa.select(claims.c.family).where(claims.c.expires > database.now).order_by(claims.c.family)
    return tuple(connection.execute(query).scalars())
