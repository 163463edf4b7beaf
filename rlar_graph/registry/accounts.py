"""The accounts: what was scored, counted by tool, minute and reason, and the decisions sampled from it.

Nothing of it decides a score, so a frozen registry writes it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from rlar_graph.registry import attempts, series, traffic, writers
from rlar_graph.registry.records import DailyUsage, Decision, Outcome, Stamp, Usage
from rlar_graph.registry.shelf import Shelf
from rlar_graph.registry.workshop_records import Spend


class Accounts(Shelf):
    """The part of a :class:`~rlar_graph.registry.store.Registry` that counts what passes through the tools."""

    def record(
        self,
        usage: Sequence[Usage] = (),
        decisions: Sequence[Decision] = (),
        outcomes: Sequence[Outcome] = (),
        spend: Sequence[Spend] = (),
        *,
        stamp: Stamp | None = None,
    ) -> None:
        """Add what was scored and what it came to, in one transaction.

        Args:
            usage: What was asked of which version.
            decisions: Verdicts to keep.
            outcomes: What it came to, by signature and reason.
            spend: What roles have used of the language model.
            stamp: Makes it safe to repeat after an error that leaves in doubt whether it was done.

        Raises:
            UnknownTool: A version named in it is not in the registry; nothing is then written.
        """
        if not usage and not decisions and not outcomes and not spend:
            return
        with self._database.counting() as connection:
            if stamp is not None and not writers.is_new(connection, self._database, stamp):
                return
            if usage:
                counted = [(self._row_id(connection, each.tool, each.version), each) for each in usage]
                traffic.count(connection, self._database, counted, datetime.now(UTC).date())
                series.add_rewards(connection, self._database, counted)
            if outcomes:
                series.add_outcomes(connection, self._database, outcomes)
            if decisions:
                traffic.keep(connection, [(self._decider(connection, each), each) for each in decisions])
            if spend:
                attempts.add_spend(connection, self._database, spend)

    def usage(self, name: str | None = None) -> tuple[DailyUsage, ...]:
        """Return the usage counters by tool, version and day."""
        with self._database.reading() as connection:
            return traffic.daily_usage(connection, name)

    def decisions(self, name: str | None = None, *, limit: int = 100) -> tuple[Decision, ...]:
        """Return the latest kept decisions, newest first."""
        with self._database.reading() as connection:
            return traffic.latest_decisions(connection, name, limit)

    def _decider(self, connection: sa.Connection, decision: Decision) -> int | None:
        if decision.tool is None or decision.version is None:
            return None
        return self._row_id(connection, decision.tool, decision.version)
