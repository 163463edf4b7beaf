"""The queries on tools, versions, bindings and events. The caller owns the connection and its transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import sqlalchemy as sa

from rlar_graph.errors import RegistryError, UnknownTool
from rlar_graph.registry.database import Database
from rlar_graph.registry.identity import Identity
from rlar_graph.registry.records import Event, Provenance, Report, ToolRecord, ToolState, ToolVersion
from rlar_graph.registry.tables import admissions, bindings, blobs, events, storable, tools, versions
from rlar_graph.types import ToolKind

KEYS_PER_QUERY = 500

_latest = (
    sa.select(sa.func.max(admissions.c.id))
    .where(admissions.c.version_id == versions.c.id)
    .correlate(versions)
    .scalar_subquery()
)
_version_rows = (
    sa.select(versions, tools.c.name, tools.c.kind, admissions.c.admitted)
    .join(tools, tools.c.id == versions.c.tool_id)
    .outerjoin(admissions, admissions.c.id == _latest)
)


def _version(row: sa.Row[tuple[object, ...]]) -> ToolVersion:
    return ToolVersion(
        tool=row.name,
        number=row.number,
        kind=cast(ToolKind, row.kind),
        state=cast(ToolState, row.state),
        content_hash=row.content_hash,
        has_source=row.source_hash is not None,
        summary=row.summary,
        graded=row.graded,
        provenance=Provenance.from_json(row.provenance),
        admitted=row.admitted,
        created_at=row.created_at,
    )


def by_content(connection: sa.Connection, name: str, content_hash: str) -> ToolVersion | None:
    """Return the version of a tool that has this content, if there is one."""
    query = _version_rows.where(tools.c.name == name, versions.c.content_hash == content_hash)
    row = connection.execute(query).first()
    return None if row is None else _version(row)


def version_id(connection: sa.Connection, name: str, number: int) -> int:
    """Return the row id of a version.

    Raises:
        UnknownTool: There is no such tool or version.
    """
    query = sa.select(versions.c.id).join(tools).where(tools.c.name == name, versions.c.number == number)
    found: int | None = connection.execute(query).scalar()
    if found is None:
        raise UnknownTool(f"the registry has no version {number} of a tool {name!r}")
    return found


def by_number(connection: sa.Connection, name: str, number: int) -> ToolVersion:
    """Return one version of a tool.

    Raises:
        UnknownTool: There is no such tool or version.
    """
    query = _version_rows.where(versions.c.id == version_id(connection, name, number))
    return _version(connection.execute(query).one())


def active_by_key(connection: sa.Connection, keys: Sequence[str] | None) -> dict[str, ToolVersion]:
    """Return the active version behind each of the keys (None: behind every key) that has one."""
    query = (
        _version_rows.add_columns(bindings.c.key)
        .join(bindings, bindings.c.tool_id == tools.c.id)
        .where(versions.c.state == "active")
    )
    if keys is None:
        return {row.key: _version(row) for row in connection.execute(query)}
    found: dict[str, ToolVersion] = {}
    for start in range(0, len(keys), KEYS_PER_QUERY):
        some = keys[start : start + KEYS_PER_QUERY]
        rows = connection.execute(query.where(bindings.c.key.in_(some)))
        found.update((row.key, _version(row)) for row in rows)
    return {key: found[storable(key)] for key in keys if storable(key) in found}


def records(connection: sa.Connection, name: str | None = None) -> tuple[ToolRecord, ...]:
    """Return the tools with their versions and bindings, by name; all of them, or the one of that name."""
    some = sa.true() if name is None else tools.c.name == name
    by_tool: dict[str, list[ToolVersion]] = {}
    for row in connection.execute(_version_rows.where(some).order_by(versions.c.number)):
        by_tool.setdefault(row.name, []).append(_version(row))
    keys: dict[str, list[str]] = {}
    bound = sa.select(bindings.c.key, tools.c.name).join(tools).where(some).order_by(bindings.c.key)
    for row in connection.execute(bound):
        keys.setdefault(row.name, []).append(row.key)
    rows = connection.execute(sa.select(tools).where(some).order_by(tools.c.name))
    return tuple(
        ToolRecord(
            row.name, row.kind, row.created_at, tuple(by_tool[row.name]), tuple(keys.get(row.name, ()))
        )
        for row in rows
    )


def tool_id(connection: sa.Connection, name: str) -> int:
    """Return the row id of a tool.

    Raises:
        UnknownTool: There is no such tool.
    """
    found: int | None = connection.execute(sa.select(tools.c.id).where(tools.c.name == name)).scalar()
    if found is None:
        raise UnknownTool(f"the registry has no tool {name!r}; `rlar tools list` shows what it has")
    return found


def add(
    connection: sa.Connection,
    database: Database,
    spec: Identity,
    provenance: Provenance,
) -> ToolVersion:
    """Add a candidate with the next number, and the tool with it when it is the first.

    Raises:
        RegistryError: The tool exists and is of another kind.
    """
    now = datetime.now(UTC)
    known = connection.execute(sa.select(tools).where(tools.c.name == spec.name)).first()
    if known is None:
        row = {"name": spec.name, "kind": spec.kind, "created_at": now}
        tool = connection.execute(tools.insert().returning(tools.c.id), row).scalar_one()
    elif known.kind != spec.kind:
        raise RegistryError(f"the tool {spec.name!r} is a {known.kind}, not a {spec.kind}: use another name")
    else:
        tool = known.id
    if spec.source is not None:
        keep = database.upsert(blobs).values(sha256=spec.content_hash, content=spec.source)
        connection.execute(keep.on_conflict_do_nothing())
    last = sa.select(sa.func.max(versions.c.number)).where(versions.c.tool_id == tool)
    number = (connection.execute(last).scalar() or 0) + 1
    connection.execute(
        versions.insert().values(
            tool_id=tool,
            number=number,
            state="candidate",
            content_hash=spec.content_hash,
            source_hash=None if spec.source is None else spec.content_hash,
            summary=spec.summary,
            graded=spec.graded,
            provenance=provenance.to_json(),
            created_at=now,
        )
    )
    return by_number(connection, spec.name, number)


def set_state(connection: sa.Connection, version: ToolVersion, state: ToolState) -> None:
    """Put a version into another state."""
    row = version_id(connection, version.tool, version.number)
    connection.execute(versions.update().where(versions.c.id == row).values(state=state))


def add_admission(connection: sa.Connection, version: ToolVersion, report: Report) -> None:
    """Keep an admission report of a version."""
    connection.execute(
        admissions.insert().values(
            version_id=version_id(connection, version.tool, version.number),
            admitted=report.admitted,
            report=report.to_json(),
            created_at=datetime.now(UTC),
        )
    )


def latest_report(connection: sa.Connection, name: str, number: int) -> str | None:
    """Return the latest admission report of a version as JSON text."""
    query = (
        sa.select(admissions.c.report)
        .where(admissions.c.version_id == version_id(connection, name, number))
        .order_by(admissions.c.id.desc())
    )
    return connection.execute(query).scalars().first()


def content(connection: sa.Connection, name: str, number: int) -> tuple[str, bytes] | None:
    """Return hash and bytes of a version's source, or None where the registry keeps none."""
    query = (
        sa.select(blobs.c.sha256, blobs.c.content)
        .join(versions, versions.c.source_hash == blobs.c.sha256)
        .where(versions.c.id == version_id(connection, name, number))
    )
    row = connection.execute(query).first()
    return None if row is None else (row.sha256, bytes(row.content))


def bound_tool(connection: sa.Connection, key: str) -> str | None:
    """Return the name of the tool a key is bound to."""
    query = sa.select(tools.c.name).join(bindings).where(bindings.c.key == key)
    return connection.execute(query).scalar()


def bind(connection: sa.Connection, database: Database, key: str, name: str) -> None:
    """Bind a key to a tool, whatever it was bound to before."""
    row = {"key": key, "tool_id": tool_id(connection, name), "bound_at": datetime.now(UTC)}
    insert = database.upsert(bindings).values(row)
    del row["key"]
    connection.execute(insert.on_conflict_do_update(index_elements=["key"], set_=row))


def note(
    connection: sa.Connection,
    name: str,
    action: str,
    reason: str,
    who: str,
    *,
    version: int | None = None,
    key: str | None = None,
) -> None:
    """Write one event into the history."""
    connection.execute(
        events.insert().values(
            at=datetime.now(UTC),
            tool_id=tool_id(connection, name),
            version_id=None if version is None else version_id(connection, name, version),
            key=key,
            action=action,
            reason=reason,
            who=who,
        )
    )


def history(connection: sa.Connection, name: str | None) -> tuple[Event, ...]:
    """Return the events of one tool, or of all, oldest first."""
    query = (
        sa.select(events, tools.c.name, versions.c.number)
        .join(tools, tools.c.id == events.c.tool_id)
        .outerjoin(versions, versions.c.id == events.c.version_id)
        .order_by(events.c.id)
    )
    if name is not None:
        query = query.where(events.c.tool_id == tool_id(connection, name))
    return tuple(
        Event(row.id, row.at, row.name, row.number, row.key, row.action, row.reason, row.who)
        for row in connection.execute(query)
    )


def revision(connection: sa.Connection) -> int:
    """Return the number of the last event, 0 in a new registry."""
    return connection.execute(sa.select(sa.func.max(events.c.id))).scalar() or 0
