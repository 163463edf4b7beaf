"""The registry as the rest of the library sees it: one transaction per call, frozen values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from rlar_graph.registry import adoption, lifecycle, portable, versions
from rlar_graph.registry.accounts import Accounts
from rlar_graph.registry.database import Database
from rlar_graph.registry.identity import identify
from rlar_graph.registry.migrations import migrate
from rlar_graph.registry.records import (
    ImportedTool,
    Provenance,
    Report,
    Spec,
    ToolVersion,
)
from rlar_graph.registry.workshop_records import Attempt


class Registry(Accounts):
    """An open registry; safe to share between threads, processes each open their own.

    **Frozen**, it serves the versions that were active at that moment, whatever other processes promote since,
    and refuses every change of tools with :class:`~rlar_graph.errors.RegistryFrozen`. Usage counters and
    decisions are still written: they say what was scored, and no score depends on them.

    Every call may raise :class:`~rlar_graph.errors.RegistryError`, and one that names a tool or version that is
    not there its subclass :class:`~rlar_graph.errors.UnknownTool`; nothing of that call is then written. The
    rules of the state changes are in :mod:`~rlar_graph.registry.lifecycle`.
    """

    def __init__(self, url: str, *, frozen: bool = False) -> None:
        super().__init__(Database(url))
        try:
            migrate(self._database)
            if frozen:
                self.freeze()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; the registry can be closed twice, not used again."""
        self._database.close()

    def register(
        self,
        spec: Spec,
        *,
        provenance: Provenance,
        source: str | None = None,
        report: Report | None = None,
        activate: bool = False,
        reason: str = "",
        who: str = "user",
    ) -> ToolVersion:
        """Add a version of a tool, with the report of its admission, admitted or rejected.

        What the registry has already, by content hash, is returned as it is and nothing is written.

        Args:
            spec: What the tool says of itself. A tool with ``source`` may leave its content hash empty.
            provenance: Where it comes from.
            source: Everything that decides its scores, as one text (code, or the JSON of a model's revision
                and settings); its SHA-256 is the content hash. None for built-in tools.
            report: Its admission report; without one it is a candidate that cannot be promoted yet.
            activate: Promote it in the same transaction if it is admitted: a kill leaves nothing half done.
            reason: Why it is added, for the history.
            who: Who adds it, for the history.

        Raises:
            InputError: The spec's name, kind, hash or source cannot be kept.
            RegistryError: A tool of that name is of another kind.
        """
        tool = identify(spec, source)
        known = self.find(tool.name, tool.content_hash)
        if known is not None:
            return known
        with self._changing(f"register {spec.name!r}") as connection:
            # Another process may have registered the same content since the look above.
            known = versions.by_content(connection, tool.name, tool.content_hash)
            if known is not None:
                return known
            new = versions.add(connection, self._database, tool, provenance)
            versions.note(connection, new.tool, "registered", reason, who, version=new.number)
            if report is None:
                return new
            new = lifecycle.readmit(connection, new.tool, new.number, report, reason, who)
            if activate and report.admitted:
                new = lifecycle.promote(connection, new.tool, new.number, reason, who)
            return new

    def adopt(
        self,
        spec: Spec,
        *,
        source: str | None,
        provenance: Provenance,
        report: Report,
        keys: Sequence[str],
        promote: bool = True,
        attempt: Attempt | None = None,
        owner: str | None = None,
        reason: str = "",
        who: str = "registrar",
    ) -> ToolVersion:
        """Take in what an acquisition made, in one transaction: a kill leaves all of it or nothing.

        An admitted version becomes active and serves the keys, in place of what served them; a rejected one is
        kept with its report. Doing it again changes nothing. A quarantined version that is written and admitted
        again stays quarantined: only a person brings it back.

        Args:
            spec: What the tool says of itself.
            source: Everything that decides its scores, as one text; None for built-in tools.
            provenance: Where it comes from.
            report: Its admission report, passed or failed.
            keys: The family and signature keys it is for.
            promote: False leaves it a candidate that serves the keys once it is promoted: human review.
            attempt: What the acquisition cost, kept in the same transaction.
            owner: Owner of the claims on the keys: made sure of first, and released in the end.
            reason: Why, for the history.
            who: Who, for the history.

        Raises:
            InputError: The spec or the source cannot be kept.
            RegistryError: The claim ran out and another process acquires now, or the tool is of another kind.
        """
        tool = identify(spec, source)
        with self._changing(f"adopt {spec.name!r}") as connection:
            if owner is not None:
                adoption.check_claims(connection, self._database, keys, owner)
            version = adoption.adopt(
                connection,
                self._database,
                tool,
                provenance,
                report,
                keys,
                promote=promote,
                reason=reason,
                who=who,
            )
            if attempt is not None:
                self._record_attempt(connection, attempt, owner)
            return version

    def awaiting(self, keys: Sequence[str]) -> dict[str, ToolVersion]:
        """Return the admitted candidates that were made for some of the keys and wait for approval."""
        with self._database.reading() as connection:
            return adoption.awaiting(connection, keys)

    def readmit(
        self,
        name: str,
        number: int,
        report: Report,
        *,
        activate: bool = False,
        reason: str = "",
        who: str = "user",
    ) -> ToolVersion:
        """Keep a further admission report of a version and let it decide its state.

        Args:
            name: The tool.
            number: The version.
            report: The report, passed or failed.
            activate: Promote it in the same transaction if it is admitted: a kill leaves nothing half done.
            reason: Why, for the history.
            who: Who, for the history.
        """
        with self._changing(f"readmit {name!r}") as connection:
            version = lifecycle.readmit(connection, name, number, report, reason, who)
            return (
                self._promoted(connection, version, reason, who) if activate and report.admitted else version
            )

    def promote(self, name: str, number: int, *, reason: str = "", who: str = "user") -> ToolVersion:
        """Make an admitted version the active one; the one before it is retired, and its keys are bound."""
        with self._changing(f"promote {name!r}") as connection:
            return self._promoted(connection, versions.by_number(connection, name, number), reason, who)

    def quarantine(
        self, name: str, reason: str, *, number: int | None = None, who: str = "user"
    ) -> ToolVersion:
        """Take a version, by default the active one, out of service: its prompts abstain."""
        with self._changing(f"quarantine {name!r}") as connection:
            return lifecycle.quarantine(connection, name, number, reason, who)

    def rollback(self, name: str, *, reason: str = "", who: str = "user") -> ToolVersion:
        """Go back to the version that served before; again goes back further."""
        with self._changing(f"roll back {name!r}") as connection:
            return lifecycle.rollback(connection, name, reason, who)

    def bind(self, key: str, name: str, *, reason: str = "", who: str = "user") -> None:
        """Let a tool serve a family or signature key, in place of the tool that did.

        Raises:
            UnknownTool: There is no such tool.
        """
        with self._database.reading() as connection:
            if versions.bound_tool(connection, key) == name:
                return
        with self._changing(f"bind {key!r}") as connection:
            before = versions.bound_tool(connection, key)
            if before != name:
                versions.bind(connection, self._database, key, name)
                why = reason if before is None else f"{reason} (was {before})".strip()
                versions.note(connection, name, "bound", why, who, key=key)

    def export(self, path: str | Path, names: Sequence[str] | None = None) -> tuple[ToolVersion, ...]:
        """Write tools, with their families and kept probes, into a file that another registry can import.

        Returns:
            The versions it holds.

        Args:
            path: The file; an existing one is replaced in one step.
            names: The tools, each by its active version, else its newest candidate; None for every tool with
                a source of its own.

        Raises:
            UnknownTool: A name is not in the registry.
            RegistryError: A named tool is built in or has no version to give, or the file cannot be written.
        """
        with self._database.reading() as connection:
            return portable.export(connection, Path(path), names)

    def import_(
        self, path: str | Path, *, trusted: bool = False, who: str = "user"
    ) -> tuple[ImportedTool, ...]:
        """Take in the tools of an exported file: all of them, or none if anything is wrong with it.

        They arrive as candidates, whatever the file says of them, and must pass the gate here before they can
        be promoted, which lets them serve the keys that were free. Nothing this registry has is changed by it, but
        that a trusted file adds probes to families. ``trusted`` says that you take the file's
        reports at their word: admitted tools can then be promoted, and keys that nothing serves yet are bound.

        Raises:
            InputError: The file is not an export, or damaged; nothing was imported.
            RegistryError: A tool of the file has the name of a built-in tool, or of one of another kind.
        """
        offers = portable.read(Path(path))
        with self._changing(f"import {path}") as connection:
            return tuple(
                portable.take(connection, self._database, offer, Path(path), trusted=trusted, who=who)
                for offer in offers
            )

    def _promoted(
        self, connection: sa.Connection, version: ToolVersion, reason: str, who: str
    ) -> ToolVersion:
        """Make a version the active one and bind the keys that waited for it."""
        active = lifecycle.promote(connection, version.tool, version.number, reason, who)
        adoption.serve_wanted(connection, self._database, active, reason, who)
        return active
