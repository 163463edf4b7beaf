"""Tools as a file that another team can load: JSON with a digest of its own, read as hostile until checked.

The digest finds damage, not malice. Against malice stand other things: a source must hash to what it is
registered by, built-in names are out of reach, nothing present is changed, and what comes in is a candidate.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, cast

import sqlalchemy as sa

from rlar_graph.errors import InputError, RegistryError
from rlar_graph.registry import adoption, lifecycle, portable_evidence, versions
from rlar_graph.registry.database import Database
from rlar_graph.registry.identity import Identity, identify
from rlar_graph.registry.portable_evidence import Evidence
from rlar_graph.registry.records import ImportedTool, Provenance, ToolRecord, ToolVersion
from rlar_graph.types import ToolKind

FORMAT = "rlar-graph tools"
FORMAT_VERSION = 1
FILE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class StoredReport:
    """An admission report as it was stored: its outcome and its JSON text."""

    admitted: bool
    """Whether the tool passed."""
    text: str
    """The report."""

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return self.text


@dataclass(frozen=True, slots=True)
class Offer:
    """One tool of an import file, checked on its own but not yet against the registry."""

    identity: Identity
    """What it says it is; its source hashes to its content hash."""
    provenance: Provenance
    """Where it says it comes from."""
    report: StoredReport | None
    """The report it brings."""
    keys: tuple[str, ...]
    """The keys it served where it comes from."""
    evidence: Evidence
    """The families behind those keys, and the probes they keep."""


def checked_source(connection: sa.Connection, name: str, number: int) -> str | None:
    """Return a version's source after comparing it with its hash.

    Raises:
        UnknownTool: There is no such version.
        RegistryError: The stored source is not what was registered.
    """
    found = versions.content(connection, name, number)
    if found is None:
        return None
    sha256, content = found
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RegistryError(
            f"the stored source of {name!r} version {number} is not what was registered: do not use it; "
            "restore a copy of the registry"
        )
    return content.decode()


def export(connection: sa.Connection, path: Path, names: Sequence[str] | None) -> tuple[ToolVersion, ...]:
    """Write tools into a file, in one step; see ``Registry.export``."""
    chosen = _chosen(connection, names)
    tools = [_entry(connection, tool, version) for tool, version in chosen]
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": _digest(tools), "tools": tools}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise RegistryError(f"cannot write the export {path}: {error.strerror or error}") from error
    return tuple(version for _, version in chosen)


def _chosen(connection: sa.Connection, names: Sequence[str] | None) -> list[tuple[ToolRecord, ToolVersion]]:
    """Return the tools to export, each with the version to give away."""
    chosen = []
    for tool in versions.records(connection):
        if names is not None and tool.name not in names:
            continue
        candidates = [version for version in tool.versions if version.state == "candidate"]
        version = tool.active or (candidates[-1] if candidates else None)
        if version is not None and version.has_source:
            chosen.append((tool, version))
        elif names is not None:
            why = (
                "has no active or candidate version"
                if version is None
                else "is built into every installation"
            )
            raise RegistryError(f"cannot export {tool.name!r}: it {why}")
    for name in names or ():
        versions.tool_id(connection, name)
    return chosen


def _entry(connection: sa.Connection, tool: ToolRecord, version: ToolVersion) -> dict[str, object]:
    report = versions.latest_report(connection, tool.name, version.number)
    keys = sorted({*tool.bindings, *adoption.wanted_keys(connection, version)})
    return {
        "name": tool.name,
        "kind": tool.kind,
        "summary": version.summary,
        "graded": version.graded,
        "content_hash": version.content_hash,
        "source": checked_source(connection, tool.name, version.number),
        "provenance": json.loads(version.provenance.to_json()),
        "admitted": version.admitted,
        "report": None if report is None else json.loads(report),
        "keys": keys,
        **portable_evidence.gather(connection, tool.name, keys),
    }


def _digest(tools: object) -> str:
    canonical = json.dumps(tools, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read(path: Path) -> tuple[Offer, ...]:
    """Read and check an export file.

    Raises:
        InputError: It cannot be read, is no export, is damaged, or one of its tools is not what it must be.
    """
    try:
        if path.stat().st_size > FILE_BYTES:
            raise InputError(f"larger than {FILE_BYTES // 2**20} MiB: not an export of tools", file=str(path))
        document = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not the JSON of an export: {error}", file=str(path)) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError("is not an export of rlar-graph tools", file=str(path), field="format")
    if document.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"was written in another version of the format, this library reads {FORMAT_VERSION}: upgrade it",
            file=str(path),
            field="format_version",
        )
    tools = document.get("tools")
    if not isinstance(tools, list) or _digest(tools) != document.get("sha256"):
        raise InputError("is damaged or was edited: its digest does not fit", file=str(path), field="sha256")
    return tuple(_offer(entry, f"tools[{index}]", path) for index, entry in enumerate(tools))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _offer(entry: object, place: str, path: Path) -> Offer:
    """Check one tool of the file; any shape but the right one is an InputError naming the field."""
    try:
        if not isinstance(entry, Mapping):
            raise InputError("a tool is an object")
        for name in ("name", "kind", "summary", "source", "content_hash"):
            if not isinstance(entry.get(name), str):
                raise InputError("must be text", field=name)
        if not isinstance(entry.get("graded"), bool):
            raise InputError("must be true or false", field="graded")
        identity = identify(_claimed(entry), entry["source"])
        provenance = Provenance.from_json(json.dumps(entry.get("provenance")))
        if provenance.author == "builtin":
            raise InputError("a built-in tool cannot be imported", field="provenance")
        keys = _keys(entry.get("keys"))
        return Offer(identity, provenance, _report(entry), keys, portable_evidence.read(entry))
    except InputError as error:
        field = place if error.field is None else f"{place}.{error.field}"
        raise InputError(error.problem, file=str(path), field=field) from error


def _claimed(entry: Mapping[str, object]) -> Identity:
    return Identity(
        name=str(entry["name"]),
        kind=cast(ToolKind, entry["kind"]),
        summary=str(entry["summary"]),
        graded=bool(entry["graded"]),
        content_hash=str(entry["content_hash"]),
        source=None,
    )


def _report(entry: Mapping[str, object]) -> StoredReport | None:
    report, admitted = entry.get("report"), entry.get("admitted")
    if report is None:
        return None
    if not isinstance(report, dict) or not isinstance(admitted, bool):
        raise InputError("a report is an object, with `admitted` true or false beside it", field="report")
    return StoredReport(admitted, json.dumps(report))


def _keys(keys: object) -> tuple[str, ...]:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InputError("must be a list of text", field="keys")
    return tuple(keys)


def take(
    connection: sa.Connection, database: Database, offer: Offer, path: Path, *, trusted: bool, who: str
) -> ImportedTool:
    """Add one offered tool as a candidate; see ``Registry.import_``.

    Raises:
        RegistryError: The registry has a built-in tool of that name, or one of another kind.
    """
    identity = offer.identity
    here = next(iter(versions.records(connection, identity.name)), None)
    if here is not None and any(version.provenance.author == "builtin" for version in here.versions):
        raise RegistryError(f"{path}: {identity.name!r} is the name of a built-in tool; nothing was imported")
    portable_evidence.take(connection, database, identity.name, offer.evidence, trusted=trusted)
    known = versions.by_content(connection, identity.name, identity.content_hash)
    if known is not None:
        return ImportedTool(known, False, offer.keys)
    note = f"imported from {path.name}" if offer.provenance.note is None else offer.provenance.note
    provenance = replace(offer.provenance, note=note)
    version = versions.add(connection, database, identity, provenance)
    reason = f"imported from {path}" + (", its reports taken at their word" if trusted else "")
    versions.note(connection, version.tool, "imported", reason, who, version=version.number)
    free = [key for key in offer.keys if versions.bound_tool(connection, key) is None]
    adoption.want(connection, database, version, free)
    if trusted:
        version = _trust(connection, database, offer, version, reason, who)
    return ImportedTool(version, True, offer.keys)


def _trust(
    connection: sa.Connection, database: Database, offer: Offer, version: ToolVersion, reason: str, who: str
) -> ToolVersion:
    """Take over an import's report, and its keys where nothing is bound."""
    for key in offer.keys:
        if versions.bound_tool(connection, key) is None:
            versions.bind(connection, database, key, version.tool)
            versions.note(connection, version.tool, "bound", reason, who, key=key)
    if offer.report is None:
        return version
    return lifecycle.readmit(connection, version.tool, version.number, offer.report, reason, who)
