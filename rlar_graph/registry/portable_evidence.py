"""What travels with a tool in an export: its families, and every probe they keep, so that the gate can be run again.

Deciding probes are among them. Where an import is not trusted its probes are kept under the tool's own key, where they
hold nobody else's tools to anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TypeVar, get_type_hints

import sqlalchemy as sa

from rlar_graph.errors import InputError
from rlar_graph.registry import families, kept_probes
from rlar_graph.registry.database import Database
from rlar_graph.registry.workshop_records import FamilyRecord, KeptProbe

Record = TypeVar("Record", FamilyRecord, KeptProbe)

JSON_TYPES: Mapping[str, Mapping[str, type]] = {
    kind.__name__: {
        field.name: hint if (hint := get_type_hints(kind)[field.name]) in (int, bool) else str
        for field in fields(kind)
    }
    for kind in (FamilyRecord, KeptProbe)
}
"""The type of each field of a record in a file; literals are text."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The families and probes of one tool of an import file, checked."""

    families: tuple[FamilyRecord, ...]
    """Families it serves where it comes from."""
    probes: Mapping[str, tuple[KeptProbe, ...]]
    """Probes by the key of the family that keeps them."""


def own_key(name: str) -> str:
    """Return the key under which a tool's own probes are kept, apart from those of its families."""
    return f"tool:{name}"


def gather(connection: sa.Connection, name: str, keys: Sequence[str]) -> dict[str, object]:
    """Return the evidence behind a tool's keys as the fields of an export."""
    probes = {key: kept_probes.of_family(connection, key) for key in (*keys, own_key(name))}
    return {
        "families": [asdict(family) for family in families.all_families(connection) if family.key in keys],
        "probes": {key: [asdict(probe) for probe in kept] for key, kept in probes.items() if kept},
    }


def read(entry: Mapping[str, object]) -> Evidence:
    """Check the evidence of one tool of an import file.

    Raises:
        InputError: A family or a probe is not what it must be.
    """
    described, kept = entry.get("families", []), entry.get("probes", {})
    if not isinstance(described, list) or not isinstance(kept, Mapping):
        raise InputError("families are a list and probes an object of lists", field="probes")
    probes = {}
    for key, rows in kept.items():
        if not isinstance(rows, list):
            raise InputError("must be a list of probes", field=f"probes.{key}")
        probes[key] = tuple(kept_probes.canonical(_record(KeptProbe, row, f"probes.{key}")) for row in rows)
    return Evidence(tuple(_record(FamilyRecord, row, "families") for row in described), probes)


def _record(kind: type[Record], row: object, place: str) -> Record:
    """Return a record of a JSON object that has exactly its fields, each of its type."""
    types = JSON_TYPES[kind.__name__]
    if not isinstance(row, Mapping) or set(row) != set(types):
        raise InputError(f"must be an object with the fields {', '.join(types)}", field=place)
    for name, wanted in types.items():
        if type(row[name]) is not wanted:
            raise InputError(f"{name} must be of type {wanted.__name__}", field=place)
    return kind(**row)


def take(
    connection: sa.Connection, database: Database, name: str, evidence: Evidence, *, trusted: bool
) -> None:
    """Keep an import's probes; its families too, and the probes under their keys, where it is trusted."""
    for key, probes in evidence.probes.items():
        kept_probes.keep(connection, database, key if trusted else own_key(name), probes)
    for family in evidence.families if trusted else ():
        families.add_family(connection, database, family)
