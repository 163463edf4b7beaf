"""The queries on the cache of what language models said, by kind and content: made evidence, judge verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import cache, storable

ENTRIES_KEPT = 500_000
KEYS_PER_QUERY = 500


def look_up(connection: sa.Connection, kind: str, keys: Sequence[str]) -> dict[str, str]:
    """Return the values of those keys that are cached."""
    found: dict[str, str] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        some = keys[start : start + KEYS_PER_QUERY]
        query = sa.select(cache.c.key, cache.c.value).where(cache.c.kind == kind, cache.c.key.in_(some))
        found.update((row.key, row.value) for row in connection.execute(query))
    return {key: found[storable(key)] for key in keys if storable(key) in found}


def add(connection: sa.Connection, database: Database, kind: str, values: Mapping[str, str]) -> None:
    """Add values; the first value of a key stays, so that all processes go by the same one."""
    rows = [{"kind": kind, "key": key, "value": values[key]} for key in sorted(values)]
    connection.execute(database.upsert(cache).on_conflict_do_nothing(), rows)
    newest = connection.execute(sa.select(sa.func.max(cache.c.id))).scalar_one()
    connection.execute(cache.delete().where(cache.c.id <= newest - ENTRIES_KEPT))
