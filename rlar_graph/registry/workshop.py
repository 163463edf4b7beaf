"""The workshop: what acquisitions and drift monitors keep in a registry, one transaction per call.

Nothing of it but what drift does to a tool decides a score, so a frozen registry writes it too. Claims are refused
there: no process may set out to change tools that cannot be changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import sqlalchemy as sa

from rlar_graph.errors import RegistryFrozen
from rlar_graph.registry import (
    adoption,
    attempts,
    cache,
    claims,
    families,
    kept_probes,
    lifecycle,
    observations,
    portable_evidence,
    versions,
)
from rlar_graph.registry.database import Database
from rlar_graph.registry.workshop_records import (
    Attempt,
    Audit,
    DriftAction,
    FamilyRecord,
    KeptProbe,
    Label,
    Observation,
    Reacquisition,
    Spend,
)


class Workshop:
    """The part of a :class:`~rlar_graph.registry.store.Registry` that acquisitions work with.

    Args:
        database: The registry's database, its schema up to date.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._row_ids: dict[tuple[str, int], int] = {}

    @property
    def frozen(self) -> bool:
        """Whether changes of tools are refused."""
        return False

    def families(self) -> tuple[FamilyRecord, ...]:
        """Return every known family, oldest first."""
        with self._database.reading() as connection:
            return families.all_families(connection)

    def add_family(self, record: FamilyRecord) -> None:
        """Add a family; one whose key is known stays as it is."""
        with self._database.counting() as connection:
            families.add_family(connection, self._database, record)

    def labels(self, limit: int = 20_000) -> tuple[Label, ...]:
        """Return the latest labels, newest first."""
        with self._database.reading() as connection:
            return families.latest_labels(connection, limit)

    def add_labels(self, batch: Sequence[Label]) -> None:
        """Add labels; a later one of the same prompt and source takes the place of the earlier."""
        if batch:
            with self._database.counting() as connection:
                families.add_labels(connection, self._database, batch)

    def kept_probes(self, family: str) -> tuple[KeptProbe, ...]:
        """Return the probes that a new version of the family's tool must pass, in the order they came."""
        with self._database.reading() as connection:
            return kept_probes.of_family(connection, family)

    def keep_probes(self, family: str, batch: Sequence[KeptProbe]) -> int:
        """Keep probes of a family and return how many were new; the first of the same content stays.

        Raises:
            InputError: A body is not a JSON object, or an origin is unknown; nothing was kept.
        """
        checked = [kept_probes.canonical(probe) for probe in batch]
        with self._database.writing() as connection:
            return kept_probes.keep(connection, self._database, family, checked)

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the family and signature keys a tool serves, and those a candidate of it was made for.

        Raises:
            UnknownTool: There is no such tool.
        """
        with self._database.reading() as connection:
            versions.tool_id(connection, name)
            (record,) = versions.records(connection, name)
            awaited = [adoption.wanted_keys(connection, version) for version in record.versions]
            return tuple(dict.fromkeys([*record.bindings, *chain(*awaited)]))

    def tool_probes(self, name: str) -> tuple[KeptProbe, ...]:
        """Return the probes to run a tool through the gate with: those of all its families, and those it came with.

        Raises:
            UnknownTool: There is no such tool.
        """
        keys = (*self.keys(name), portable_evidence.own_key(name))
        kept = {probe.body: probe for key in keys for probe in self.kept_probes(key)}
        return tuple(kept.values())

    def claim(self, family: str, owner: str, seconds: float) -> bool:
        """Claim the acquisition for a family; the owner's own claim is renewed.

        Args:
            family: Registry key of the family.
            owner: A name of this one acquisition, from :func:`~rlar_graph.registry.claims.new_owner`.
            seconds: When it runs out; renew it well before.

        Returns:
            False when somebody else has it, or the registry is frozen.
        """
        if self.frozen or self.claimed_by(family) not in (None, owner):
            return False
        with self._database.counting() as connection:
            return claims.take(connection, self._database, family, owner, seconds)

    def renew(self, family: str, owner: str, seconds: float) -> bool:
        """Let a claim run on; False when it ran out and somebody else took it."""
        with self._database.counting() as connection:
            return claims.renew(connection, self._database, family, owner, seconds)

    def release(self, family: str, owner: str) -> None:
        """Give a claim back; nothing happens if it is not the owner's."""
        with self._database.counting() as connection:
            claims.release(connection, family, owner)

    def claimed_by(self, family: str) -> str | None:
        """Return who acquires for a family now, or None."""
        with self._database.reading() as connection:
            return claims.holder(connection, self._database, family)

    def record_attempt(self, attempt: Attempt, *, owner: str | None = None) -> None:
        """Keep what came of an acquisition, and give the owner's claim back in the same transaction."""
        with self._database.writing() as connection:
            self._record_attempt(connection, attempt, owner)

    def _record_attempt(self, connection: sa.Connection, attempt: Attempt, owner: str | None) -> None:
        attempts.add(connection, attempt)
        observations.settle(connection, attempt.family)
        if owner is not None:
            claims.release(connection, attempt.family, owner)

    def attempts(self, family: str | None = None) -> tuple[Attempt, ...]:
        """Return the attempts for one family, or for all, oldest first."""
        with self._database.reading() as connection:
            return attempts.of_family(connection, family)

    def cached(self, kind: str, key: str) -> str | None:
        """Return what is cached under a key, or None."""
        return self.cached_all(kind, [key]).get(key)

    def cached_all(self, kind: str, keys: Sequence[str]) -> dict[str, str]:
        """Return what is cached under each of the keys; those without are left out."""
        with self._database.reading() as connection:
            return cache.look_up(connection, kind, keys)

    def cache(self, kind: str, key: str, value: str) -> None:
        """Cache a value by the hash of all that it depends on; the first value of a key stays."""
        self.cache_all(kind, {key: value})

    def cache_all(self, kind: str, values: Mapping[str, str]) -> None:
        """Cache many values in one transaction."""
        if values:
            with self._database.counting() as connection:
                cache.add(connection, self._database, kind, values)

    def spend(self, batch: Sequence[Spend]) -> None:
        """Add what roles have used of the language model since the last call."""
        if batch:
            with self._database.counting() as connection:
                attempts.add_spend(connection, self._database, batch)

    def spent(self) -> tuple[Spend, ...]:
        """Return what each role has used, over all runs and processes."""
        with self._database.reading() as connection:
            return attempts.spent(connection)

    def observe(self, seen: Mapping[tuple[str, int], Observation]) -> None:
        """Add what versions, given by name and number, were seen to say."""
        with self._database.counting() as connection:
            for name, number in sorted(seen):
                row = self._row_id(connection, name, number)
                observations.add(connection, row, seen[name, number])

    def observed(self, name: str, number: int, rollouts: int) -> Observation:
        """Return the counters of a version's latest rollouts, over all processes."""
        with self._database.reading() as connection:
            return observations.window(connection, self._row_id(connection, name, number), rollouts)

    def add_audit(self, name: str, number: int, seen: Audit) -> None:
        """Add a comparison of a version with an independent audit tool."""
        with self._database.counting() as connection:
            observations.add_audit(connection, self._row_id(connection, name, number), seen)

    def audited(self, name: str, number: int) -> tuple[Audit, ...]:
        """Return the audits of a version, oldest first."""
        with self._database.reading() as connection:
            return observations.audited(connection, self._row_id(connection, name, number))

    def reacquisitions(self) -> tuple[Reacquisition, ...]:
        """Return the versions in service that drifted and have not been tried to be replaced since."""
        with self._database.reading() as connection:
            return observations.reacquisitions(connection)

    def found(
        self,
        name: str,
        number: int,
        monitor: str,
        action: DriftAction,
        reason: str,
        *,
        who: str = "drift",
    ) -> bool:
        """Act on what a drift monitor found of a version, once per monitor and version.

        ``quarantine`` takes the version out of service, ``reacquire`` marks it to be replaced (see
        :meth:`reacquisitions`), ``watch`` only enters it into the history.

        Returns:
            False when this monitor has found this version before; nothing is then written.
        """
        with self._changing(f"act on the drift of {name!r}") as connection:
            row = self._row_id(connection, name, number)
            if not observations.find(connection, self._database, row, monitor, action, reason):
                return False
            if action == "quarantine":
                lifecycle.quarantine(connection, name, number, reason, who)
            else:
                versions.note(connection, name, f"drift:{action}", reason, who, version=number)
            return True

    @contextmanager
    def _changing(self, what: str) -> Iterator[sa.Connection]:
        """Open a transaction that changes tools, unless the registry is frozen."""
        if self.frozen:
            raise RegistryFrozen(f"cannot {what}: the registry is frozen; open it unfrozen to change it")
        with self._database.writing() as connection:
            yield connection

    def _row_id(self, connection: sa.Connection, name: str, number: int) -> int:
        """Return the row id of a version; versions are never deleted, so it may be remembered."""
        found = self._row_ids.get((name, number))
        if found is None:
            found = self._row_ids[name, number] = versions.version_id(connection, name, number)
        return found
