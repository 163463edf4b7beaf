"""The queries on who wrote which counters last.

A connection that breaks between a commit and its answer leaves the writer in doubt. It writes the same again, under
the same number, and this says whether that is one time too many.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.records import Stamp
from rlar_graph.registry.tables import writers

DAYS_KEPT = 90


def is_new(connection: sa.Connection, database: Database, stamp: Stamp) -> bool:
    """Take note of a write in its own transaction; False where it was done before."""
    now = datetime.now(UTC)
    insert = database.upsert(writers).values(writer=stamp.writer, number=stamp.number, at=now)
    later = insert.on_conflict_do_update(
        index_elements=["writer"],
        set_={"number": insert.excluded.number, "at": insert.excluded.at},
        where=writers.c.number < insert.excluded.number,
    )
    if stamp.number == 1:
        connection.execute(writers.delete().where(writers.c.at < now - timedelta(days=DAYS_KEPT)))
    return connection.execute(later.returning(writers.c.writer)).first() is not None
