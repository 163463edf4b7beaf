"""The engine: everything one reward function keeps alive, and the three things it does: plan, score, prepare."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rlar_graph.errors import RegistryError
from rlar_graph.library import Library
from rlar_graph.recorder import Recorder
from rlar_graph.resources import Resources
from rlar_graph.routing.router import route
from rlar_graph.routing.signature import UNDECIDED
from rlar_graph.scoring import Planned, plan_rollouts, score_planned
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score, ToolKind

if TYPE_CHECKING:
    from rlar_graph.planning.planner import Planner
    from rlar_graph.registry.leases import Leases


log = logging.getLogger(__name__)

PASSING = ("LLMUnavailable", "BudgetExhausted", "SandboxError")
"""Reasons of an attempt that say nothing of the family: a run of another day may go better."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What serves one signature."""

    signature: str
    """Key of the signature."""
    rollouts: int
    """Rollouts that have it."""
    tool: str | None
    """The tool that will score them, e.g. ``maths v1``."""
    missing: str | None
    """Why there is none."""


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """Which signatures of a data set are served, before training starts."""

    signatures: tuple[Prepared, ...]
    """One entry per signature, most rollouts first."""

    @property
    def covered(self) -> float:
        """Return the share of rollouts that a tool serves, in [0, 1]; 1 for no rollouts at all."""
        total = sum(entry.rollouts for entry in self.signatures)
        served = sum(entry.rollouts for entry in self.signatures if entry.tool)
        return served / total if total else 1.0


class Engine:
    """Plans and scores. Safe to share between threads; a context manager that ends its processes.

    Registry and sandbox are opened when they are first needed.

    Args:
        settings: What to use.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.resources = Resources(settings)
        self.library = Library(self.resources)
        self.recorder = Recorder(self.resources)
        self.sought: dict[str, str | None] = {}
        """Families a tool is sought for whatever was tried before, and the tool that is to be replaced."""
        self.tried: set[str] = set()
        """Families a tool was sought for in vain in this process, whatever the reason: once is enough for one run."""
        self._leases: Leases | None = None
        self._planner: Planner | None = None
        self._lock = threading.Lock()

    @property
    def leases(self) -> Leases:
        """The claims of this engine on families it seeks tools for, renewed while it lives."""
        with self._lock:
            if self._leases is None:
                from rlar_graph.registry.leases import Leases

                self._leases = Leases(self.resources.registry)
            return self._leases

    @property
    def planner(self) -> Planner:
        """What decides where rollouts go beyond the rules, and which families there are."""
        with self._lock:
            if self._planner is None:
                from rlar_graph.planning.planner import Planner

                self._planner = Planner(self.resources)
            return self._planner

    @property
    def kinds_at_hand(self) -> frozenset[ToolKind]:
        """Kinds of tool that can be sought here: a language model writes verifiers and judges; models are found."""
        settings = self.settings
        kinds: set[ToolKind] = set()
        if settings.llm_base_url is not None:
            kinds |= {"verifier", "judge"}
        if (
            settings.reward_models != "off"
            or settings.reward_model_names
            or settings.rm_server_url is not None
        ):
            kinds.add("reward_model")
        return frozenset(kinds)

    @property
    def may_acquire(self) -> bool:
        """Whether new tools can be sought: there are means, and the registry is not frozen."""
        return bool(self.kinds_at_hand) and not self.resources.registry.frozen

    def was_tried(self, family: str) -> bool:
        """Say whether a tool was sought for a family before, in vain, and nothing has changed since."""
        registry = self.resources.registry
        if family in self.sought:
            return False
        if any(family in entry.keys for entry in registry.reacquisitions()):
            return False
        if family in self.tried:
            return True
        return any(not attempt.reason.startswith(PASSING) for attempt in registry.attempts(family))

    def plan(self, rollouts: Sequence[Rollout]) -> list[Planned]:
        """Say which tool will score each rollout, and why.

        Raises:
            RegistryError: The registry cannot be opened, or was never read. One that stops to answer later is done
                without: what was looked up before goes on serving.
        """
        routes = [route(rollout) for rollout in rollouts]
        try:
            if self.settings.make_evidence:
                from rlar_graph.made_evidence import make_evidence

                rollouts = make_evidence(rollouts, self.resources)
                routes = [route(rollout) for rollout in rollouts]
            if any(way.signature == UNDECIDED for way in routes):
                routes = self.planner.decide(rollouts, ask=False)
        except RegistryError as error:
            # Rollouts whose way is known need neither; the others abstain, and the library says why.
            log.warning("rollouts are routed by rules alone: %s", error)
        return plan_rollouts(rollouts, routes, self.library)

    def score(self, plan: Sequence[Planned], step: int | None = None) -> list[list[Score]]:
        """Score what :meth:`plan` returned, and keep count of it in the registry, by the trainer's step if it is known.

        Raises:
            InputError: A rollout has no completions.
        """
        scores, usage = score_planned(plan, self.settings.max_completion_chars)
        self.recorder.record(plan, scores, usage, step)
        return scores

    def prepare(self, rollouts: Sequence[Rollout]) -> PrepareReport:
        """Look up, and admit where needed, the tools for a data set; completions are not needed."""
        counts: Counter[tuple[str, str | None, str | None]] = Counter()
        for planned in self.plan(rollouts):
            found = planned.tool
            tool, missing = (None, found) if isinstance(found, str) else (found.label, None)
            counts[planned.route.signature.key, tool, missing] += 1
        return PrepareReport(
            tuple(Prepared(key, count, tool, missing) for (key, tool, missing), count in counts.most_common())
        )

    def close(self) -> None:
        """Write what is due and end every process; may be called twice."""
        try:
            self.recorder.close()
            if self._leases is not None:
                self._leases.close()
            self._close_models()
        finally:
            self.resources.close()

    def _close_models(self) -> None:
        """End the processes of reward models, if any tool here is one."""
        if "reward_model" in self.kinds_at_hand or self.library.has_loaded("reward_model"):
            from rlar_graph.rewards.model_pool import close_pool

            close_pool(self.resources)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
