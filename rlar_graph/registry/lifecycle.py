r"""The rules by which versions of a tool change state. The caller owns the connection and its transaction.

    registered -> candidate -> active -> retired        (promote; the next promotion retires it)
               \-> rejected     \-> quarantined        (an admission that failed; a tool that drifts)

Nothing is ever overwritten or deleted: a change is a new state, with an event that says why.
"""

from __future__ import annotations

import sqlalchemy as sa

from rlar_graph.errors import RegistryError
from rlar_graph.registry import versions
from rlar_graph.registry.records import Report, ToolRecord, ToolVersion
from rlar_graph.registry.tables import events

ROLLED_BACK = "rolled back: "
"""How the reason of a rollback begins, in the history."""


def promote(connection: sa.Connection, name: str, number: int, reason: str, who: str) -> ToolVersion:
    """Make a version the active one and retire the one before it; nothing happens if it is active already.

    Raises:
        UnknownTool: There is no such version.
        RegistryError: It has not passed the gate here, or its latest admission failed.
    """
    version = versions.by_number(connection, name, number)
    if version.state == "active":
        return version
    if not version.admitted:
        why = (
            "was rejected by the gate" if version.admitted is False else "has not been through the gate here"
        )
        raise RegistryError(
            f"version {number} of {name!r} {why}: it cannot be promoted before an admission passes"
        )
    before = _tool(connection, name).active
    if before is not None:
        versions.set_state(connection, before, "retired")
        versions.note(connection, name, "retired", reason, who, version=before.number)
    versions.set_state(connection, version, "active")
    versions.note(connection, name, "promoted", reason, who, version=number)
    return versions.by_number(connection, name, number)


def quarantine(
    connection: sa.Connection, name: str, number: int | None, reason: str, who: str
) -> ToolVersion:
    """Take a version (by default the active one) out of service until somebody promotes it again.

    Raises:
        UnknownTool: There is no such tool or version.
        RegistryError: The tool has no active version, and none was named.
    """
    if number is None:
        active = _tool(connection, name).active
        if active is None:
            raise RegistryError(f"the tool {name!r} has no active version: name the version to quarantine")
        number = active.number
    version = versions.by_number(connection, name, number)
    if version.state == "quarantined":
        return version
    versions.set_state(connection, version, "quarantined")
    versions.note(connection, name, "quarantined", reason, who, version=number)
    return versions.by_number(connection, name, number)


def rollback(connection: sa.Connection, name: str, reason: str, who: str) -> ToolVersion:
    """Go back to the newest retired version before the active (else the latest quarantined) one.

    Doing it again goes back further; :func:`promote` goes forward.

    Raises:
        UnknownTool: There is no such tool.
        RegistryError: There is no version to go back to.
    """
    tool = _tool(connection, name)
    quarantined = [version for version in tool.versions if version.state == "quarantined"]
    now = tool.active or (quarantined[-1] if quarantined else None)
    older = [
        version
        for version in tool.versions
        if version.state == "retired" and (now is None or version.number < now.number)
    ]
    if not older:
        raise RegistryError(f"the tool {name!r} has no earlier version to go back to")
    return promote(connection, name, older[-1].number, f"{ROLLED_BACK}{reason}", who)


def readmit(
    connection: sa.Connection, name: str, number: int, report: Report, reason: str, who: str
) -> ToolVersion:
    """Keep a new admission report of a version and let it decide.

    Passed: a rejected or quarantined version is a candidate again. Failed: a candidate is rejected, and a
    version in service is quarantined.

    Raises:
        UnknownTool: There is no such version.
    """
    version = versions.by_number(connection, name, number)
    versions.add_admission(connection, version, report)
    versions.note(
        connection, name, "admitted" if report.admitted else "rejected", reason, who, version=number
    )
    if report.admitted and version.state in ("rejected", "quarantined"):
        versions.set_state(connection, version, "candidate")
    elif not report.admitted and version.state == "candidate":
        versions.set_state(connection, version, "rejected")
    elif not report.admitted and version.state in ("active", "retired"):
        return quarantine(connection, name, number, reason, who)
    return versions.by_number(connection, name, number)


def may_score(connection: sa.Connection, version: ToolVersion) -> bool:
    """Say whether a version may score for a process that can load no other content, as with built-in tools.

    The active one may, and so may one that was retired because a process with other settings, or of another release,
    brought its own: both were admitted. One that somebody rolled back from, or quarantined, may not.
    """
    if version.state != "retired":
        return version.state == "active"
    row = versions.version_id(connection, version.tool, version.number)
    last = sa.select(events.c.reason).where(events.c.version_id == row, events.c.action == "retired")
    reason: str | None = connection.execute(last.order_by(events.c.id.desc())).scalars().first()
    return not (reason or "").startswith(ROLLED_BACK)


def _tool(connection: sa.Connection, name: str) -> ToolRecord:
    versions.tool_id(connection, name)
    return versions.records(connection, name)[0]
