"""The router against others: what labels say of its choice of tool, and of other ways to choose.

Every tool that can judge an item, because the evidence it needs is there, is run on it. *Oracle* takes the best of
them item by item, which nobody can do without the labels; *random* takes any, and its figure is the exact mean;
*static* takes for each kind of evidence the tool that is best on it here, *best single* the one tool that is best on
everything. The last two are chosen with the labels in hand, which flatters them. An abstention is wrong; items that
no tool can judge are counted and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from rlar_graph.engine import Engine
from rlar_graph.evaluation.labelled import RIGHT_FROM, Item, read_items
from rlar_graph.library import Loaded
from rlar_graph.rewards.load import BUILTINS
from rlar_graph.routing.signature import Evidence
from rlar_graph.scoring import Planned, score_planned
from rlar_graph.types import Rollout, Score

Policy = Literal["router", "oracle", "static", "best_single", "random"]
POLICIES: tuple[Policy, ...] = ("router", "oracle", "static", "best_single", "random")
BATCH_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far one tool's scores of one item agree with its labels, in [0, 1]."""

    pairwise: float | None
    """Share of its pairs in the right order, a tie counting half; None without pairs."""
    pointwise: float
    """Share of its completions called right or wrong as they are."""

    @property
    def best(self) -> float:
        """Return the figure by which tools are compared: pairs where there are any."""
        return self.pointwise if self.pairwise is None else self.pairwise


@dataclass(frozen=True, slots=True)
class Judged:
    """An item, the tool the router chose, and what each tool that can judge it came to."""

    evidence: str
    """The kind of evidence it has."""
    chosen: str | None
    """The router's tool; None where it found none."""
    tools: dict[str, Agreement]
    """Agreement by name of tool; at least one."""


@dataclass
class RouterReport:
    """What the ways to choose a tool come to on labelled items."""

    judged: list[Judged] = field(default_factory=list)
    """Items that at least one tool can judge."""
    unserved: int = 0
    """Items that none can."""

    def figures(self, evidence: str | None = None) -> dict[str, dict[str, float | None]]:
        """Return the mean figures of each policy, on one kind of evidence or on all.

        ``pairwise`` and ``pointwise`` are agreement with the labels; ``picks_best`` is the share of items on which the
        tool it took does as well as the oracle's.
        """
        items = [item for item in self.judged if evidence in (None, item.evidence)]
        best = _best_tool(self.judged)
        per_evidence = {kind: _best_tool(self._of(kind)) for kind in {item.evidence for item in items}}
        shares: dict[Policy, list[dict[str, float]]] = {
            "router": [_sure(item.chosen) for item in items],
            "oracle": [_sure(_best_tool([item])) for item in items],
            "static": [_sure(per_evidence[item.evidence]) for item in items],
            "best_single": [_sure(best) for _ in items],
            "random": [dict.fromkeys(item.tools, 1 / len(item.tools)) for item in items],
        }
        return {policy: _means(items, shares[policy]) for policy in POLICIES}

    def to_dict(self) -> dict[str, object]:
        """Return all figures for JSON."""
        kinds = sorted({item.evidence for item in self.judged})
        return {
            "items": len(self.judged),
            "unserved": self.unserved,
            "policies": self.figures(),
            "best_single": _best_tool(self.judged),
            "static": {kind: _best_tool(self._of(kind)) for kind in kinds},
            "evidence": {
                kind: {"items": len(self._of(kind)), "policies": self.figures(kind)} for kind in kinds
            },
        }

    def _of(self, evidence: str) -> list[Judged]:
        return [item for item in self.judged if item.evidence == evidence]


def compare_routers(
    engine: Engine, files: Sequence[str], limit: int, progress: Callable[[int, int], None]
) -> RouterReport:
    """Run every tool on labelled items and compare the ways to choose among them.

    Args:
        engine: What plans; its built-in tools are the choice, and whatever else it plans with.
        files: Labelled records.
        limit: Most items of each file, taken from all over it.
        progress: Called after each batch with the items and completions done in it.

    Raises:
        InputError: A line cannot be read; the error names file, line and field.
    """
    tools = [Loaded(engine.library.load(builtin.name), builtin.name, 0) for builtin in BUILTINS]
    report = RouterReport()
    for file in files:
        items = list(read_items(file))
        items = items[:: max(1, -(-len(items) // limit))]
        for start in range(0, len(items), BATCH_ITEMS):
            batch = items[start : start + BATCH_ITEMS]
            _judge(engine, tools, batch, report)
            progress(len(batch), sum(len(item.rollout.completions) for item in batch))
    return report


def _judge(engine: Engine, tools: Sequence[Loaded], batch: Sequence[Item], report: RouterReport) -> None:
    """Run every tool on a batch, and enter what came of it."""
    plan = engine.plan([item.rollout for item in batch])
    needs = {builtin.name: builtin.evidence for builtin in BUILTINS}
    rows: list[dict[str, Agreement]] = [{} for _ in batch]
    chosen = [planned.tool for planned in plan if isinstance(planned.tool, Loaded)]
    for tool in [*tools, *dict.fromkeys(tool for tool in chosen if tool.name not in needs)]:
        places = [
            place
            for place, planned in enumerate(plan)
            if _name(planned) == tool.name or needs.get(tool.name) in evidence_of(planned.rollout)
        ]
        if not places:
            continue
        forced = [Planned(plan[place].rollout, plan[place].route, tool) for place in places]
        scores, _ = score_planned(forced, engine.settings.max_completion_chars)
        for place, row in zip(places, scores, strict=True):
            if any(score.value is not None for score in row):
                rows[place][tool.name] = agreement(row, batch[place].chosen)
    for planned, found in zip(plan, rows, strict=True):
        if not found:
            report.unserved += 1
            continue
        report.judged.append(Judged(planned.route.signature.evidence.value, _name(planned), found))


def _name(planned: Planned) -> str | None:
    return planned.tool.name if isinstance(planned.tool, Loaded) else None


def evidence_of(rollout: Rollout) -> set[Evidence]:
    """Return every kind of evidence that a rollout brings, not only the hardest."""
    held = {
        Evidence.TESTS: bool(rollout.tests),
        Evidence.CONSTRAINTS: bool(rollout.instruction_id_list),
        Evidence.SCHEMA: rollout.schema is not None,
        Evidence.REFERENCE: rollout.reference is not None or bool(rollout.aliases),
        Evidence.SOURCE: bool(rollout.source),
    }
    return {kind for kind, present in held.items() if present}


def agreement(row: Sequence[Score], chosen: int) -> Agreement:
    """Return how far scores agree with labels.

    Args:
        row: Scores of an item's completions, the chosen ones first.
        chosen: How many are chosen.
    """
    better, worse = row[:chosen], row[chosen:]
    pairs = [_order(one.value, other.value) for one, other in product(better, worse)]
    right = [score.value is not None and score.value >= RIGHT_FROM for score in better]
    right += [score.value is not None and score.value < RIGHT_FROM for score in worse]
    return Agreement(sum(pairs) / len(pairs) if pairs else None, sum(right) / len(right))


def _order(better: float | None, worse: float | None) -> float:
    """Return 1 for the right order, a half for a tie, 0 for the wrong order or an abstention."""
    if better is None or worse is None:
        return 0.0
    return 0.5 if better == worse else float(better > worse)


def _best_tool(items: Sequence[Judged]) -> str | None:
    """Return the tool that does best on items, those it cannot judge counting as wrong."""
    totals: dict[str, float] = {}
    for item in items:
        for name, reached in item.tools.items():
            totals[name] = totals.get(name, 0.0) + reached.best
    return min(totals, key=lambda name: (-totals[name], name), default=None)


def _sure(tool: str | None) -> dict[str, float]:
    """Return the choice of one tool as a share of choices."""
    return {} if tool is None else {tool: 1.0}


def _means(items: Sequence[Judged], shares: Sequence[dict[str, float]]) -> dict[str, float | None]:
    """Return the mean figures of a policy that takes each tool for this share of an item."""
    pairwise, pointwise, best = [], [], []
    for item, share in zip(items, shares, strict=True):
        taken = [(part, item.tools[name]) for name, part in share.items() if name in item.tools]
        pointwise.append(sum(part * reached.pointwise for part, reached in taken))
        if any(reached.pairwise is not None for reached in item.tools.values()):
            pairwise.append(sum(part * (reached.pairwise or 0.0) for part, reached in taken))
        most = max(reached.best for reached in item.tools.values())
        best.append(sum(part for part, reached in taken if reached.best == most))
    return {"pairwise": _mean(pairwise), "pointwise": _mean(pointwise), "picks_best": _mean(best)}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
