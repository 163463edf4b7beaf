"""Acquisition: when tools are sought for prompts that none serves, by one run of the graph for many of them.

A prompt is looked at once per process. What came of a family is remembered in the registry, so that a second pass
over the same data asks no language model.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import cast

from rlar_graph.audit_gap import BASELINE_AUDITS
from rlar_graph.engine import Engine
from rlar_graph.errors import RegistryError, RlarError
from rlar_graph.graph_schemas import FamilyOutcome, GraphInput
from rlar_graph.library import Loaded
from rlar_graph.probe_making.keeping import bare, keep
from rlar_graph.probes import Probe
from rlar_graph.scoring import Planned
from rlar_graph.types import Rollout, Score

log = logging.getLogger(__name__)

AGREEMENT = 0.9
"""Share of a user's good probes, and of the bad ones, that a tool must call as the user does to go on serving."""
ACCEPTED = 0.5
AUDIT_PROBES = 500
"""Disagreements with audits that one process keeps of a family: each later version is run on all of them."""
POOL_ROLLOUTS = 2_000
"""Rollouts without a tool that are kept to find families among; the oldest make room."""


class Acquisition:
    """Seeks tools for an engine. Safe to share between threads; one graph run at a time.

    Args:
        engine: The engine whose prompts are to be served.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running = threading.Lock()
        self._lock = threading.Lock()
        self._pool: dict[str, Rollout] = {}
        self._behind: threading.Thread | None = None
        self._parted: Counter[str] = Counter()

    def seek(self, plan: Sequence[Planned]) -> bool:
        """Seek tools for what a plan leaves without, as the settings say.

        Returns:
            True when there may be tools now that there were not before: plan again.
        """
        how = self._engine.settings.acquire
        if how == "prepare" or not self._engine.may_acquire:
            return False
        try:
            return self._seek(plan, how)
        except RegistryError as error:
            # A call that scores goes on without new tools; the prompts are looked at again when it answers.
            log.warning("no tools were sought: %s", error)
            return False

    def _seek(self, plan: Sequence[Planned], how: str) -> bool:
        if self._take_drifted(plan):
            self._start()  # what serves goes on serving until there is something better
        if not self._take(plan):
            return False
        if how == "wait":
            return any(outcome["tool"] for outcome in self.run())
        self._start()
        return False

    def prepare(
        self, plan: Sequence[Planned], probes: Sequence[Probe] = (), *, retry: bool = False
    ) -> list[FamilyOutcome]:
        """Seek tools now for what a plan leaves without, and for families whose tool fails a user's probes.

        Args:
            plan: Where the rollouts go.
            probes: Completions whose verdict the user knows; kept with their families, for good.
            retry: Seek again for families that were tried before in vain.

        Returns:
            What came of each family tried; nothing where no language model is configured.
        """
        engine = self._engine
        failing = self._keep(probes)
        if not engine.may_acquire:
            return []
        engine.sought |= failing
        if retry:
            engine.sought |= {attempt.family: None for attempt in engine.resources.registry.attempts()}
        self._take(plan)
        self._take_all(planned.rollout for planned in plan if failing)
        return self.run()

    def _keep(self, probes: Sequence[Probe]) -> dict[str, str | None]:
        """Keep a user's probes; return families without a tool, or with one they prove wrong, and that tool."""
        if not probes:
            return {}
        engine = self._engine
        plan = engine.plan([probe.rollout for probe in probes])
        families = engine.planner.families([probe.rollout for probe in probes], [p.route for p in plan])
        failing: dict[str, str | None] = {}
        for family, members in families.items():
            mine = [replace(probes[index], rollout=bare(probes[index].rollout)) for index in members]
            keep(engine.resources.registry, family, "user", mine)
            serving = plan[members[0]].tool
            if isinstance(serving, str):
                failing[family] = None
            elif not _agrees(serving, mine):
                failing[family] = serving.label
        return failing

    def audit(
        self,
        plan: Sequence[Planned],
        scores: Sequence[Sequence[Score]],
        said: Sequence[Sequence[float | None]],
        *,
        probes: bool = True,
    ) -> int:
        """Compare scores with what an independent audit says of the same completions.

        The monitors see both, and where they part, the audit's verdict becomes a probe of the family: the first
        :data:`AUDIT_PROBES` of it.

        Args:
            plan: Where the rollouts went.
            scores: What their tools said.
            said: What the audit says, in [0, 1], in the shape of the scores; None where it does not know.
            probes: Whether to keep probes.

        Returns:
            How many disagreements were new.
        """
        engine, new = self._engine, 0
        for planned, row, audited in zip(plan, scores, said, strict=True):
            if isinstance(planned.tool, str):
                continue
            judged = [
                (text, score.value, other)
                for text, score, other in zip(planned.rollout.completions, row, audited, strict=True)
                if score.value is not None and other is not None
            ]
            pairs = [(value, other) for _, value, other in judged]
            engine.recorder.monitor.audit(planned.tool.name, planned.tool.version, pairs)
            parted = [
                Probe(bare(planned.rollout), text, "good" if other >= ACCEPTED else "bad", "an audit says so")
                for text, value, other in judged
                if (value >= ACCEPTED) != (other >= ACCEPTED)
            ]
            if parted and probes and not planned.tool.tool.spec.graded:
                new += self._keep_parted(planned, parted)
        return new

    def _keep_parted(self, planned: Planned, parted: Sequence[Probe]) -> int:
        """Keep disagreements of a family, as long as there are not too many for a gate to run."""
        engine = self._engine
        family = engine.library.family_of(planned.rollout, planned.route.signature)
        key = family or planned.route.signature.key
        fit = parted[: AUDIT_PROBES - self._parted[key]]
        self._parted[key] += len(fit)
        return keep(engine.resources.registry, key, "audit", fit) if fit else 0

    def tell(
        self,
        plan: Sequence[Planned],
        scores: Sequence[Sequence[Score]],
        said: Sequence[Sequence[float | None]],
        *,
        probes: bool = True,
    ) -> set[tuple[str, int]]:
        """Do as :meth:`audit`, and write it, so that other processes know and a monitor may act on it.

        Returns:
            Those of the versions, by name and number, that have a baseline to be compared with.
        """
        self.audit(plan, scores, said, probes=probes)
        self._engine.recorder.monitor.look()
        registry = self._engine.resources.registry
        versions = {(each.tool.name, each.tool.version) for each in plan if not isinstance(each.tool, str)}
        return {
            version
            for version in versions
            if sum(audit.pairs for audit in registry.audited(*version)) >= BASELINE_AUDITS
        }

    def run(self) -> list[FamilyOutcome]:
        """Run the graph on the rollouts kept, and return what came of each family tried."""
        from rlar_graph.graph import build_graph

        with self._running:
            with self._lock:
                records = [_record(rollout) for rollout in self._pool.values()]
            if not records:
                return []
            graph = build_graph(self._engine, scoring=False)
            try:
                given = cast(GraphInput, {"rollouts": records})  # in our own names, which are the form's
                outcomes: list[FamilyOutcome] = graph.invoke(given).get("outcomes", [])
            finally:
                self._engine.sought.clear()
                self._engine.leases.close()
                self._engine.library.forget()
        self._engine.tried.update(outcome["family"] for outcome in outcomes if outcome["tool"] is None)
        for outcome in outcomes:
            log.info("family %s: %s (%s)", outcome["family"], outcome["tool"] or "no tool", outcome["why"])
        return outcomes

    def wait(self) -> None:
        """Wait for a run in the background, if there is one."""
        behind = self._behind
        if behind is not None:
            behind.join()

    def _take_drifted(self, plan: Sequence[Planned]) -> bool:
        """Keep the rollouts of tools that drifted, and mark their families; say whether there are any."""
        engine = self._engine
        drifted = {f"{entry.tool} v{entry.version}" for entry in engine.resources.registry.reacquisitions()}
        theirs = [
            planned for planned in plan if not isinstance(planned.tool, str) and planned.tool.label in drifted
        ]
        for planned in theirs:
            family = engine.library.family_of(planned.rollout, planned.route.signature)
            if family is not None and not isinstance(planned.tool, str):
                engine.sought[family] = planned.tool.label
        self._take_all(planned.rollout for planned in theirs)
        return bool(theirs)

    def _take(self, plan: Sequence[Planned]) -> bool:
        """Keep the rollouts no tool serves; say whether any of them is new."""
        return self._take_all(planned.rollout for planned in plan if isinstance(planned.tool, str))

    def _take_all(self, rollouts: Iterable[Rollout]) -> bool:
        """Keep rollouts to find families among; say whether any of them is new."""
        new = False
        with self._lock:
            for rollout in rollouts:
                key = _key(rollout)
                new = new or key not in self._pool
                self._pool[key] = rollout
            while len(self._pool) > POOL_ROLLOUTS:
                del self._pool[next(iter(self._pool))]
        return new

    def _start(self) -> None:
        """Run in the background, unless a run is under way: it comes again with the next new prompt."""
        with self._lock:
            if self._behind is None or not self._behind.is_alive():
                self._behind = threading.Thread(
                    target=self._run_quietly, name="rlar-acquisition", daemon=True
                )
                self._behind.start()

    def _run_quietly(self) -> None:
        try:
            self.run()
        except RlarError as error:
            # The thread's edge: nobody waits for it, and the prompts go on abstaining.
            log.warning("no tools were sought in the background: %s", error)


def _agrees(serving: Loaded, probes: Sequence[Probe]) -> bool:
    """Say whether a tool gives at least nine tenths of a user's good probes, and of the bad ones, their verdict."""
    rows = serving.tool.score([replace(probe.rollout, completions=(probe.completion,)) for probe in probes])
    for good in (True, False):
        asked = [row[0] for probe, row in zip(probes, rows, strict=True) if (probe.expect == "good") is good]
        right = sum(((verdict.value or 0.0) >= ACCEPTED) is good for verdict in asked)
        if right < AGREEMENT * len(asked):
            return False
    return True


def _key(rollout: Rollout) -> str:
    text = f"{rollout.data_source}\0{rollout.prompt}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _record(rollout: Rollout) -> dict[str, object]:
    """Return a rollout as the record it could have been read from."""
    record = {field.name: getattr(rollout, field.name) for field in fields(rollout)}
    record["completions"] = list(rollout.completions)
    record["choices"] = dict(rollout.choices)
    record["source_text"] = record.pop("source")
    record |= dict(record.pop("metadata"))
    return {name: value for name, value in record.items() if value not in (None, (), {}, [])}
