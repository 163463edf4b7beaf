"""Drift: what a tool's own stream of verdicts says about whether it should go on scoring.

A tool that passed the gate can still go wrong in service: prompts change, the policy finds a hole, a library breaks.
Each monitor below looks at the latest :data:`WINDOW` rollouts of one version, over all trainer processes, and speaks
only where chance is no explanation: a share counts by its lower Wilson bound at :data:`Z` standard errors (about 1 in
30,000 looks by chance), with the rollouts, not the completions, as its sample, since the completions of one prompt
fail together. What follows is in :class:`Finding`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rlar_graph.audit_gap import comparison, widening
from rlar_graph.registry.records import ToolVersion
from rlar_graph.registry.workshop_records import Audit, DriftAction, Observation
from rlar_graph.types import Score

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

Monitor: TypeAlias = Literal["abstention", "errors", "no variance", "saturation", "latency", "audit gap"]

WINDOW = 2_000
"""Rollouts that a monitor looks back on."""
LEAST_ROLLOUTS = 200
"""Rollouts before a monitor says anything of a version."""
AUDIT_ROWS = 64
"""Audits of one version that wait to be written; beyond it neighbours are joined."""
LOOK_SECONDS = 60.0
"""Between two looks at the figures; counting goes on all the time."""
Z = 4.0
"""Standard errors that a figure must be beyond its threshold: the monitors look every minute, for weeks."""

ABSTENTION = 0.25
"""Share of completions without a verdict. Tools that pass the gate abstain on a few percent of their own prompts."""
ERRORS = 0.02
"""Share of completions on which the tool broke. A healthy tool abstains where it cannot tell, it does not break."""
NO_VARIANCE = 0.97
"""Share of rollouts whose values are all the same. Hard and easy sets reach 0.9 by themselves; beyond it there is
hardly anything left to learn from, whether the policy is done, found a hole, or the tool says one thing to all."""
SATURATION = 0.98
"""Share of values at one end of the scale."""
SECONDS: Mapping[str, float] = {"verifier": 1.0, "reward_model": 5.0, "judge": 60.0}
"""Mean seconds per completion, by kind of tool."""
GAP_WIDENING = 0.05
"""How much further the tool's mean is above the audit's than it was in the baseline, on a scale of 0 to 1."""

TOP, BOTTOM = 0.99, 0.01
BROKE = "{tool} failed: "


@dataclass(frozen=True, slots=True)
class Finding:
    """What a monitor found of one version.

    ``quarantine`` has been done when it is returned: the tool rewards what an independent audit does not. A tool that
    was made here is marked to be made anew (``reacquire``); a built-in tool, or one that is only slow, cannot be
    mended by writing another and is entered into its history (``watch``).
    """

    tool: str
    """Name of the tool."""
    version: int
    """Its version."""
    monitor: Monitor
    """The monitor."""
    figure: float
    """What was measured: a share or gap is at least this, but for chance."""
    threshold: float
    """What it may be at most."""
    window: int
    """On how many rollouts, or audited pairs, it was measured."""
    action: DriftAction
    """What follows."""

    @property
    def reason(self) -> str:
        """Return the finding in words, for the history."""
        unit = "audited completions" if self.monitor == "audit gap" else "rollouts"
        return f"{self.monitor} {self.figure:.3g} over {self.window:,} {unit}, at most {self.threshold:.3g}"


class DriftMonitor:
    """Watches the tools of a registry. Safe to share between threads; each process has one of its own.

    Watching is cheap: counters in memory, written with :meth:`flush`. In a frozen registry it counts on, and changes
    no tool.

    Args:
        registry: Where the counters of all processes meet.
        seconds: Time between two looks.
    """

    def __init__(self, registry: Registry, seconds: float = LOOK_SECONDS) -> None:
        self._seconds = seconds
        self._registry = registry
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int], Observation] = {}
        self._audits: dict[tuple[str, int], list[Audit]] = {}
        self._watched: set[tuple[str, int]] = set()
        self._due = time.monotonic() + seconds

    def observe(self, tool: str, version: int, rows: Sequence[Sequence[Score]]) -> None:
        """Count what a version said of a batch.

        Args:
            tool: Name of the tool.
            version: Its version.
            rows: Its scores, one row per rollout.
        """
        seen = observation(tool, rows)
        with self._lock:
            self._watched.add((tool, version))
            self._seen[tool, version] = self._seen.get((tool, version), Observation()) + seen

    def observe_batch(self, scores: Sequence[Sequence[Score]]) -> None:
        """Count what each version said of a scored batch, given in the shape of its rollouts."""
        rows: dict[tuple[str, int], list[Sequence[Score]]] = {}
        for row in scores:
            if row and row[0].tool is not None and row[0].version is not None:
                rows.setdefault((row[0].tool, row[0].version), []).append(row)
        for (tool, version), mine in rows.items():
            self.observe(tool, version, mine)

    def audit(self, tool: str, version: int, pairs: Iterable[tuple[float, float]]) -> None:
        """Compare a version with an independent tool on the same completions.

        Tell each rollout apart: its completions fail together, and how far rollouts differ is the measure of chance.

        Args:
            tool: Name of the tool.
            version: Its version.
            pairs: Its value and the audit tool's, in [0, 1], for each completion.
        """
        seen = comparison(pairs)
        with self._lock:
            self._watched.add((tool, version))
            rows = self._audits.setdefault((tool, version), [])
            if seen.pairs:
                rows.append(seen)
            if len(rows) >= AUDIT_ROWS:
                rows[:] = [one + two for one, two in zip(rows[::2], rows[1::2], strict=True)]

    def flush(self) -> None:
        """Write what was counted, so that all processes see it."""
        with self._lock:
            seen, self._seen = self._seen, {}
            audits, self._audits = self._audits, {}
        if seen:
            self._registry.observe(seen)
        for (tool, version), rows in audits.items():
            for compared in rows:
                self._registry.add_audit(tool, version, compared)

    def look(self) -> tuple[Finding, ...]:
        """Write what was counted; now and then do as :meth:`findings`, for the versions this process has watched."""
        if time.monotonic() >= self._due:
            with self._lock:
                watched = frozenset(self._watched)
            return self._found(watched)
        self.flush()
        return ()

    def findings(self) -> tuple[Finding, ...]:
        """Write what was counted, look at every active version, and act on what is found.

        Every finding that stands is returned, acted upon only the first time. Call it between batches: a quarantine
        takes effect with the next batch that is planned.
        """
        return self._found(None)

    def _found(self, watched: frozenset[tuple[str, int]] | None) -> tuple[Finding, ...]:
        self._due = time.monotonic() + self._seconds
        self.flush()
        active = [record.active for record in self._registry.tools()]
        found = [
            finding
            for version in active
            if version is not None and (watched is None or (version.tool, version.number) in watched)
            for finding in self._examine(version)
        ]
        if not self._registry.frozen:
            for finding in found:
                self._registry.found(
                    finding.tool, finding.version, finding.monitor, finding.action, finding.reason
                )
        return tuple(found)

    def _examine(self, version: ToolVersion) -> list[Finding]:
        seen = self._registry.observed(version.tool, version.number, WINDOW)
        audited = self._registry.audited(version.tool, version.number)
        return [*examine(version, seen), *examine_audits(version, audited)]


def observation(tool: str, rows: Sequence[Sequence[Score]]) -> Observation:
    """Return the counters of one batch."""
    broke = BROKE.format(tool=tool)
    abstained = errors = groups = flat = tops = bottoms = completions = 0
    seconds = 0.0
    for row in rows:
        values = [score.value for score in row if score.value is not None]
        completions += len(row)
        abstained += len(row) - len(values)
        errors += sum(score.abstained is not None and score.abstained.startswith(broke) for score in row)
        if len(values) > 1:
            groups += 1
            flat += min(values) == max(values)
        tops += sum(value >= TOP for value in values)
        bottoms += sum(value <= BOTTOM for value in values)
        seconds += sum(score.seconds for score in row)
    return Observation(len(rows), completions, abstained, errors, groups, flat, tops, bottoms, seconds)


def examine(version: ToolVersion, seen: Observation) -> list[Finding]:
    """Return what the monitors find in the counters of a version's latest rollouts."""
    if seen.rollouts < LEAST_ROLLOUTS:
        return []
    ends = max(seen.tops, seen.bottoms)
    mean_seconds = seen.seconds / max(seen.completions, 1)
    figures: tuple[tuple[Monitor, float, float, int], ...] = (
        ("abstention", at_least(seen.abstained, seen.completions, seen.rollouts), ABSTENTION, seen.rollouts),
        ("errors", at_least(seen.errors, seen.completions, seen.rollouts), ERRORS, seen.rollouts),
        ("no variance", at_least(seen.flat, seen.groups, seen.groups), NO_VARIANCE, seen.groups),
        ("saturation", at_least(ends, seen.judged, seen.rollouts), SATURATION, seen.rollouts),
        ("latency", mean_seconds, SECONDS[version.kind], seen.rollouts),
    )
    return [
        Finding(version.tool, version.number, monitor, figure, threshold, window, _action(version, monitor))
        for monitor, figure, threshold, window in figures
        if figure > threshold
    ]


def _action(version: ToolVersion, monitor: Monitor) -> DriftAction:
    """Make anew what was made or found by an agent, unless it is only slow."""
    made = version.provenance.author in ("agent", "hub")
    return "reacquire" if made and monitor != "latency" else "watch"


def examine_audits(version: ToolVersion, audited: Sequence[Audit]) -> list[Finding]:
    """Return a finding if a version's values rose away from the audit's since its first audits."""
    found = widening(audited, graded=version.graded, errors=Z)
    if found is None or found[0] <= GAP_WIDENING:
        return []
    figure, window = found
    name: Monitor = "audit gap"
    return [Finding(version.tool, version.number, name, figure, GAP_WIDENING, window, "quarantine")]


def at_least(hits: int, of: int, sample: int) -> float:
    """Return the lower Wilson bound of a share: what it is at least, but for chance; 0 of nothing.

    Args:
        hits: How many it is true of.
        of: Of how many.
        sample: How many of these are independent of each other.
    """
    if of == 0 or sample == 0:
        return 0.0
    share, weight = hits / of, Z * Z / sample
    spread = Z * math.sqrt(share * (1 - share) / sample + weight / (4 * sample))
    return max(0.0, (share + weight / 2 - spread) / (1 + weight))
