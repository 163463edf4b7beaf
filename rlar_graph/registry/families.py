"""The queries on families of prompts and on the labels their router learns from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import families, labels, storable
from rlar_graph.registry.workshop_records import FamilyRecord, Label, LabelSource

LABELS_KEPT = 100_000
TEXT_CHARS = 8_000


def all_families(connection: sa.Connection) -> tuple[FamilyRecord, ...]:
    """Return every family, oldest first."""
    rows = connection.execute(sa.select(families).order_by(families.c.created_at, families.c.key))
    return tuple(FamilyRecord(row.key, row.signature, row.sketch, row.example, row.prompts) for row in rows)


def add_family(connection: sa.Connection, database: Database, record: FamilyRecord) -> None:
    """Add a family; one whose key is known stays as it is."""
    row = {
        "key": record.key,
        "signature": record.signature,
        "sketch": record.sketch,
        "example": storable(record.example)[:TEXT_CHARS],
        "prompts": record.prompts,
        "created_at": datetime.now(UTC),
    }
    connection.execute(database.upsert(families).values(row).on_conflict_do_nothing())


def add_labels(connection: sa.Connection, database: Database, batch: Sequence[Label]) -> None:
    """Add labels; a later one of the same prompt and source takes the place of the earlier."""
    rows = [
        {
            "prompt_hash": label.prompt_hash,
            "source": label.source,
            "text": storable(label.text)[:TEXT_CHARS],
            "target": label.target,
        }
        # In one order everywhere: two batches that lock the same labels in opposite orders would deadlock.
        for label in sorted(batch, key=lambda label: (label.prompt_hash, label.source))
    ]
    insert = database.upsert(labels)
    newer = {"text": insert.excluded.text, "target": insert.excluded.target}
    replaced = insert.on_conflict_do_update(index_elements=["prompt_hash", "source"], set_=newer)
    connection.execute(replaced, rows)
    newest = connection.execute(sa.select(sa.func.max(labels.c.id))).scalar_one()
    connection.execute(labels.delete().where(labels.c.id <= newest - LABELS_KEPT))


def latest_labels(connection: sa.Connection, limit: int) -> tuple[Label, ...]:
    """Return the latest labels, newest first."""
    rows = connection.execute(sa.select(labels).order_by(labels.c.id.desc()).limit(limit))
    return tuple(Label(row.prompt_hash, row.text, row.target, cast(LabelSource, row.source)) for row in rows)
