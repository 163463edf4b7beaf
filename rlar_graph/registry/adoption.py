"""Adoption: a new version of a tool with its report, promotion and bindings, all of it or nothing.

What decides is the admission report. Content the registry has already is measured again rather than added again,
and an adoption that is repeated, because its process was killed after it, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from rlar_graph.errors import RegistryError
from rlar_graph.registry import claims, lifecycle, versions
from rlar_graph.registry.database import Database
from rlar_graph.registry.identity import Identity
from rlar_graph.registry.records import Provenance, Report, ToolVersion
from rlar_graph.registry.tables import tools, wanted
from rlar_graph.registry.tables import versions as version_rows


def adopt(
    connection: sa.Connection,
    database: Database,
    spec: Identity,
    provenance: Provenance,
    report: Report,
    keys: Sequence[str],
    *,
    promote: bool,
    reason: str,
    who: str,
) -> ToolVersion:
    """Add a version, or measure a known one again, and let it serve the keys if it is admitted.

    Without ``promote`` it stays a candidate, and serves the keys once somebody promotes it.

    Raises:
        RegistryError: The tool is of another kind, or a built-in one.
    """
    version = _measured(connection, database, spec, provenance, report, reason, who)
    if not version.admitted or version.state in ("quarantined", "rejected"):
        return version
    want(connection, database, version, keys)
    if version.state != "active" and promote:
        version = lifecycle.promote(connection, version.tool, version.number, reason, who)
    if version.state == "active":
        serve_wanted(connection, database, version, reason, who)
    return version


def _measured(
    connection: sa.Connection,
    database: Database,
    spec: Identity,
    provenance: Provenance,
    report: Report,
    reason: str,
    who: str,
) -> ToolVersion:
    """Return the version of this content with this report as its latest, unless it is quarantined."""
    here = next(iter(versions.records(connection, spec.name)), None)
    builtin = here is not None and any(each.provenance.author == "builtin" for each in here.versions)
    if builtin and provenance.author != "builtin":
        raise RegistryError(f"{spec.name!r} is the name of a built-in tool: use another")
    known = versions.by_content(connection, spec.name, spec.content_hash)
    if known is None:
        known = versions.add(connection, database, spec, provenance)
        versions.note(connection, known.tool, "registered", reason, who, version=known.number)
    elif versions.latest_report(connection, known.tool, known.number) == report.to_json():
        return known
    if known.state == "quarantined" and report.admitted:
        # It drifted in service: the same content passing the same gate again says nothing new of it.
        why = f"stays quarantined, it was written again and passed: {reason}"
        versions.add_admission(connection, known, report)
        versions.note(connection, known.tool, "admitted", why, who, version=known.number)
        return versions.by_number(connection, known.tool, known.number)
    return lifecycle.readmit(connection, known.tool, known.number, report, reason, who)


def want(connection: sa.Connection, database: Database, version: ToolVersion, keys: Sequence[str]) -> None:
    """Note the keys that a version is to serve once it is promoted."""
    row = versions.version_id(connection, version.tool, version.number)
    rows = [{"version_id": row, "key": key} for key in sorted(set(keys))]
    if rows:
        connection.execute(database.upsert(wanted).on_conflict_do_nothing(), rows)


def serve_wanted(
    connection: sa.Connection, database: Database, version: ToolVersion, reason: str, who: str
) -> None:
    """Bind the keys that an active version was adopted for, in place of the tools that served them."""
    for key in wanted_keys(connection, version):
        before = versions.bound_tool(connection, key)
        if before != version.tool:
            versions.bind(connection, database, key, version.tool)
            why = reason if before is None else f"{reason} (was {before})".strip()
            versions.note(connection, version.tool, "bound", why, who, version=version.number, key=key)
    row = versions.version_id(connection, version.tool, version.number)
    connection.execute(wanted.delete().where(wanted.c.version_id == row))


def wanted_keys(connection: sa.Connection, version: ToolVersion) -> tuple[str, ...]:
    """Return the keys that a version was adopted for and that it does not serve yet."""
    row = versions.version_id(connection, version.tool, version.number)
    return tuple(connection.execute(sa.select(wanted.c.key).where(wanted.c.version_id == row)).scalars())


def awaiting(connection: sa.Connection, keys: Sequence[str]) -> dict[str, ToolVersion]:
    """Return, for those of the keys that have one, the newest admitted candidate that waits for approval."""
    query = (
        sa.select(wanted.c.key, tools.c.name, version_rows.c.number)
        .join(version_rows, version_rows.c.id == wanted.c.version_id)
        .join(tools, tools.c.id == version_rows.c.tool_id)
        .where(version_rows.c.state == "candidate", wanted.c.key.in_(keys))
        .order_by(version_rows.c.id)
    )
    found = {
        row.key: versions.by_number(connection, row.name, row.number)
        for row in connection.execute(query).all()
    }
    return {key: version for key, version in found.items() if version.admitted}


def check_claims(connection: sa.Connection, database: Database, keys: Sequence[str], owner: str) -> None:
    """Make sure that nobody else acquires for the keys by now.

    Raises:
        RegistryError: The owner's claim ran out and another process has taken it.
    """
    for key in keys:
        holder = claims.holder(connection, database, key)
        if holder not in (None, owner):
            raise RegistryError(f"the claim on {key!r} ran out and {holder} acquires for it now")
