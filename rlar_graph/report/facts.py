"""The facts of a report: everything the page says, read from a registry in one transaction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from rlar_graph import __version__
from rlar_graph.admission.report import AdmissionReport
from rlar_graph.errors import InputError
from rlar_graph.registry import summary, versions, workshop_summary
from rlar_graph.registry.database import Database
from rlar_graph.registry.readonly import look
from rlar_graph.registry.records import Event, ToolRecord, ToolVersion
from rlar_graph.registry.summary_records import OutcomeSum, Sampled, UsageSum
from rlar_graph.registry.workshop_records import Attempt, Audit
from rlar_graph.registry.workshop_summary import Alarm, AttemptSum, DailySpend
from rlar_graph.report.curve import Curves, read_curves

WITH_REWARDS = 3
"""Schema version from which on a registry keeps rewards and outcomes over time."""
WITH_WORKSHOP = 2
"""Schema version from which on a registry keeps acquisitions and drift."""
ATTEMPTS, ALARMS, EVENTS, DECISIONS_EACH = 60, 60, 80, 24


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version of a tool, with the evidence that admitted or rejected it."""

    version: ToolVersion
    """The version."""
    report: AdmissionReport | None
    """Its latest admission report, if it has one that can be read."""
    used: UsageSum
    """What was asked of it."""
    change: Event | None
    """What last happened to it."""


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """One tool with all its versions."""

    tool: ToolRecord
    """The tool."""
    versions: tuple[VersionFacts, ...]
    """Its versions, newest first."""

    @property
    def chief(self) -> VersionFacts:
        """Return the version that speaks for the tool: the active one, else the newest."""
        active = [facts for facts in self.versions if facts.version.state == "active"]
        return (active or list(self.versions))[0]

    @property
    def completions(self) -> int:
        """Return how many completions all versions were asked about."""
        return sum(facts.used.completions for facts in self.versions)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What completions came to, in sums over the other columns."""

    by_tool: tuple[OutcomeSum, ...]
    """By signature, tool and reason."""
    by_slot: tuple[OutcomeSum, ...]
    """By time (ten minutes, an hour or a day) and reason, in order of time."""

    @property
    def completions(self) -> int:
        """Return all completions."""
        return sum(row.completions for row in self.by_tool)

    @property
    def abstained(self) -> int:
        """Return the completions without a value."""
        return sum(row.completions for row in self.by_tool if row.reason)

    @property
    def unserved(self) -> int:
        """Return the completions whose prompts no tool serves."""
        return sum(row.completions for row in self.by_tool if not row.tool)

    def reasons(self) -> Counter[str]:
        """Return how many completions each kind of abstention took."""
        counts: Counter[str] = Counter()
        for row in self.by_tool:
            if row.reason:
                counts[row.reason] += row.completions
        return counts


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a page says."""

    where: str
    """The registry, without its password."""
    at: datetime
    """When it was read."""
    since: datetime | None
    """What came before is left out; None for everything."""
    library: str
    """Version of this library."""
    schema: int
    """Version of the registry's schema."""
    tools: tuple[ToolFacts, ...]
    """Every tool, most completions first."""
    curves: Curves | None
    """Rewards over steps or time; None where nothing was scored, or the registry is too old to say."""
    outcomes: Outcomes
    """What completions came to."""
    spend: tuple[DailySpend, ...]
    """What language models were used for, by day and role."""
    attempts: tuple[AttemptSum, ...]
    """What acquisitions came to and cost."""
    in_vain: tuple[Attempt, ...]
    """The latest attempts that came to no tool."""
    sought: tuple[str, ...]
    """Families a tool is being sought for now."""
    alarms: tuple[Alarm, ...]
    """What drift monitors found."""
    audits: Mapping[tuple[str, int], list[Audit]]
    """Audits by tool and version, oldest first."""
    decisions: tuple[Sampled, ...]
    """The latest sampled decisions of each tool."""
    events: tuple[Event, ...]
    """The latest changes of tools."""

    @property
    def has_rewards(self) -> bool:
        """Whether the registry is new enough to keep rewards over time."""
        return self.schema >= WITH_REWARDS

    @property
    def completions(self) -> int:
        """Return the completions that were scored, those that no tool serves included.

        Of a registry that kept no outcomes at first, the counters of its tools know more; they are by whole days.
        """
        if self.since is not None and self.has_rewards:
            return self.outcomes.completions
        return max(self.outcomes.completions, sum(tool.completions for tool in self.tools))

    def count(self, state: str) -> int:
        """Return how many versions are in a state."""
        return sum(facts.version.state == state for tool in self.tools for facts in tool.versions)

    def to_json(self) -> str:
        """Return the facts as JSON text."""
        audits = {f"{tool} v{number}": found for (tool, number), found in self.audits.items()}
        spelt = asdict(self) | {
            "audits": {name: [asdict(one) for one in found] for name, found in audits.items()}
        }
        return json.dumps(spelt, indent=2, default=str)


def gather(url: str, since: datetime | None = None) -> Facts:
    """Read the facts of a registry; nothing is written, and a run that writes at the same time is not disturbed.

    Args:
        url: The registry's URL.
        since: Leave out what was scored, spent or changed before (UTC).

    Raises:
        RegistryError: There is no registry, or it cannot be read.
        MigrationError: It was written by a newer version of this library.
    """
    with look(url) as (database, connection, schema):
        return _read(database, connection, schema, since)


def _read(database: Database, connection: sa.Connection, schema: int, since: datetime | None) -> Facts:
    edge = "" if since is None else since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    rewarded, workshop = schema >= WITH_REWARDS, schema >= WITH_WORKSHOP
    return Facts(
        where=str(database.where),
        at=datetime.now(UTC),
        since=since,
        library=__version__,
        schema=schema,
        tools=_tools(connection, edge),
        curves=read_curves(connection, edge) if rewarded else None,
        outcomes=_outcomes(connection, edge) if rewarded else Outcomes((), ()),
        spend=workshop_summary.daily_spend(connection, edge) if workshop else (),
        attempts=workshop_summary.attempt_sums(connection, since) if workshop else (),
        in_vain=workshop_summary.vain_attempts(connection, ATTEMPTS, since) if workshop else (),
        sought=workshop_summary.claimed(connection, database) if workshop else (),
        alarms=workshop_summary.alarms(connection, ALARMS) if workshop else (),
        audits=workshop_summary.all_audits(connection) if workshop else {},
        decisions=summary.latest_of_each(connection, DECISIONS_EACH, since),
        events=summary.latest_events(connection, EVENTS, since),
    )


def _outcomes(connection: sa.Connection, since: str) -> Outcomes:
    return Outcomes(
        summary.outcomes_by_tool(connection, since),
        summary.outcomes_by_time(connection, since),
    )


def _tools(connection: sa.Connection, since: str) -> tuple[ToolFacts, ...]:
    """Return every tool with its versions and their evidence, most completions first."""
    used = {(row.tool, row.version): row for row in summary.usage_sums(connection, since)}
    reports, changes = summary.latest_reports(connection), summary.last_changes(connection)
    found = []
    for tool in versions.records(connection):
        mine = []
        for version in reversed(tool.versions):
            key = (version.tool, version.number)
            nothing = UsageSum(*key, 0, 0, 0, 0, 0.0)
            report = _report(reports.get(key))
            mine.append(VersionFacts(version, report, used.get(key, nothing), changes.get(key)))
        found.append(ToolFacts(tool, tuple(mine)))
    return tuple(sorted(found, key=lambda facts: (-facts.completions, facts.tool.name)))


def _report(text: str | None) -> AdmissionReport | None:
    """Return a stored report, or None where there is none; what another library wrote may not be readable here."""
    if text is None:
        return None
    try:
        return AdmissionReport.from_json(text)
    except InputError:
        return None
