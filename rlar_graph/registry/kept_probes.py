"""The queries on probes that a family keeps, so that a later version of its tool is held to all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast, get_args

import sqlalchemy as sa

from rlar_graph.errors import InputError
from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import probes
from rlar_graph.registry.workshop_records import KeptProbe, ProbeOrigin


def canonical(probe: KeptProbe) -> KeptProbe:
    """Return the probe with its body in the one spelling that is kept.

    Raises:
        InputError: Its body is not a JSON object, or its origin is unknown.
    """
    try:
        body = json.loads(probe.body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"a probe's body is JSON: {error}", field="body") from error
    if not isinstance(body, dict):
        raise InputError("a probe's body is a JSON object", field="body")
    if probe.origin not in get_args(ProbeOrigin):
        raise InputError(f"a probe's origin is one of {', '.join(get_args(ProbeOrigin))}", field="origin")
    # Spelt in ASCII: lone surrogates in a completion then survive every database.
    return replace(probe, body=json.dumps(body, sort_keys=True))


def keep(connection: sa.Connection, database: Database, family: str, batch: Sequence[KeptProbe]) -> int:
    """Keep canonical probes of a family and return how many were new.

    The first probe of the same content stays: one that a writer has seen can never become deciding.
    """
    now = datetime.now(UTC)
    rows = [
        {
            "family": family,
            "sha256": hashlib.sha256(probe.body.encode()).hexdigest(),
            "body": probe.body,
            "deciding": probe.deciding,
            "origin": probe.origin,
            "expect": probe.expect,
            "at": now,
        }
        for probe in batch
    ]
    before = _count(connection, family)
    if rows:
        connection.execute(database.upsert(probes).on_conflict_do_nothing(), rows)
    return _count(connection, family) - before


def of_family(connection: sa.Connection, family: str) -> tuple[KeptProbe, ...]:
    """Return the probes of a family, in the order they were kept."""
    rows = connection.execute(sa.select(probes).where(probes.c.family == family).order_by(probes.c.id))
    return tuple(KeptProbe(row.body, row.deciding, cast(ProbeOrigin, row.origin), row.expect) for row in rows)


def _count(connection: sa.Connection, family: str) -> int:
    query = sa.select(sa.func.count()).select_from(probes).where(probes.c.family == family)
    return connection.execute(query).scalar_one()
