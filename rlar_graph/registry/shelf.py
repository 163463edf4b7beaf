"""The shelf: which reward tools a registry holds and which of them serve. One transaction per call; it only reads."""

from __future__ import annotations

from collections.abc import Sequence

from rlar_graph.registry import lifecycle, portable, versions
from rlar_graph.registry.database import Database
from rlar_graph.registry.records import Event, ToolRecord, ToolVersion
from rlar_graph.registry.tables import storable
from rlar_graph.registry.workshop import Workshop


class Shelf(Workshop):
    """The part of a :class:`~rlar_graph.registry.store.Registry` that is asked for tools.

    Frozen, it names the versions that were active at that moment, whatever other processes promote since.

    Args:
        database: The registry's database, its schema up to date.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._pinned: dict[str, ToolVersion] | None = None
        self._held: dict[tuple[str, str], tuple[ToolVersion, bool]] = {}

    @property
    def frozen(self) -> bool:
        """Whether changes of tools are refused."""
        return self._pinned is not None

    def freeze(self) -> None:
        """Pin the versions that are active now, and what may score beside them, and refuse changes of tools."""
        if self._pinned is None:
            with self._database.reading() as connection:
                for tool in versions.records(connection):
                    for version in tool.versions:
                        held = version, lifecycle.may_score(connection, version)
                        self._held[version.tool, version.content_hash] = held
                self._pinned = versions.active_by_key(connection, None)

    def active(self, key: str) -> ToolVersion | None:
        """Return the version that scores for a family or signature key, or None where nothing does."""
        return self.resolve([key]).get(key)

    def resolve(self, keys: Sequence[str]) -> dict[str, ToolVersion]:
        """Return the version that scores for each of the keys; keys that nothing serves are left out."""
        if self._pinned is not None:
            pinned = self._pinned
            return {key: pinned[storable(key)] for key in keys if storable(key) in pinned}
        with self._database.reading() as connection:
            return versions.active_by_key(connection, keys)

    def revision(self) -> int:
        """Return a number that grows with every change of tools: cheap to ask before each batch."""
        with self._database.reading() as connection:
            return versions.revision(connection)

    def tools(self) -> tuple[ToolRecord, ...]:
        """Return every tool with its versions, by name."""
        with self._database.reading() as connection:
            return versions.records(connection)

    def tool(self, name: str) -> ToolRecord:
        """Return one tool with its versions."""
        with self._database.reading() as connection:
            versions.tool_id(connection, name)
            return versions.records(connection, name)[0]

    def find(self, name: str, content_hash: str) -> ToolVersion | None:
        """Return the version of a tool that has this content, or None; frozen, as it was when it was frozen."""
        if self.frozen:
            return self._held.get((name, content_hash), (None, False))[0]
        with self._database.reading() as connection:
            return versions.by_content(connection, name, content_hash)

    def may_score(self, version: ToolVersion) -> bool:
        """Say whether a version may score for a process that can load no other content; frozen, as it was then."""
        if self.frozen:
            return self._held.get((version.tool, version.content_hash), (None, False))[1]
        with self._database.reading() as connection:
            return lifecycle.may_score(connection, version)

    def source(self, name: str, number: int) -> str | None:
        """Return the source of a version, or None for a built-in one.

        Raises:
            UnknownTool: There is no such version.
            RegistryError: The stored source is not what was registered.
        """
        with self._database.reading() as connection:
            return portable.checked_source(connection, name, number)

    def report(self, name: str, number: int) -> str | None:
        """Return the latest admission report of a version as JSON text, or None if it has none."""
        with self._database.reading() as connection:
            return versions.latest_report(connection, name, number)

    def history(self, name: str | None = None) -> tuple[Event, ...]:
        """Return what happened to one tool, or to all, oldest first."""
        with self._database.reading() as connection:
            return versions.history(connection, name)
