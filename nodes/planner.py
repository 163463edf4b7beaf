"""The planner: routes each rollout, looks its tool up, and hands out the families that a tool is to be sought for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rlar_graph.admission.report import report_id
from rlar_graph.batch import read_batch
from rlar_graph.engine import Engine
from rlar_graph.graph_schemas import Decided, Sought
from rlar_graph.planning.planner import kinds
from rlar_graph.scoring import Planned
from rlar_graph.state import MAX_EXAMPLES, GraphState, PlannerUpdate

EXCERPT_CHARS = 120


def planner(state: GraphState, engine: Engine) -> PlannerUpdate:
    """Decide which tool scores each rollout; families that none serves become tasks, where there are means for it.

    Raises:
        InputError: A record cannot be read; the error says which.
    """
    rollouts = read_batch(state.get("rollouts"))
    engine.planner.decide(rollouts)
    plan = engine.plan(rollouts)
    open_ = [index for index, planned in enumerate(plan) if isinstance(planned.tool, str)]
    if engine.sought:
        families = engine.planner.families(rollouts, [planned.route for planned in plan])
        # Where another process has put a new tool in place since, there is nothing to replace any more.
        open_ += [
            index
            for key, replaced in engine.sought.items()
            for index in families.get(key, [])
            if not isinstance(plan[index].tool, str) and _label(plan[index]) == replaced
        ]
    tasks = _tasks(open_, plan, engine) if engine.may_acquire else []
    sought = {task["signature"] for task in tasks}
    uncovered = {plan[index].route.signature.key for index in open_} - sought
    reports = _reports(plan, engine)
    return {
        "plan": [_decided(planned, reports) for planned in plan],
        "uncovered": sorted(uncovered),
        "tasks": tasks,
        "missing": {},
        "outcomes": [],
    }


def _tasks(open_: Sequence[int], plan: Sequence[Planned], engine: Engine) -> list[Sought]:
    """Return a task for each family that may get a tool and was not tried before."""
    rollouts = [plan[index].rollout for index in open_]
    routes = [plan[index].route for index in open_]
    tasks: list[Sought] = []
    for family, members in engine.planner.families(rollouts, routes).items():
        counts = Counter(routes[member].signature for member in members)
        signature = min(counts, key=lambda signature: (-counts[signature], signature.key))
        tried = [kind for kind in kinds(signature, family) if kind in engine.kinds_at_hand]
        if tried and not engine.was_tried(family):
            task: Sought = {
                "family": family,
                "signature": signature.key,
                "examples": [open_[member] for member in members[:MAX_EXAMPLES]],
                "kinds": [*tried],
                "replaces": _label(plan[open_[members[0]]]),
            }
            tasks.append(task)
    return tasks


def _reports(plan: Sequence[Planned], engine: Engine) -> dict[str | None, str]:
    """Return the id of the report behind each tool of the plan."""
    tools = {planned.tool for planned in plan if not isinstance(planned.tool, str)}
    found = {tool.label: engine.resources.registry.report(tool.name, tool.version) for tool in tools}
    return {label: report_id(text) for label, text in found.items() if text is not None}


def _decided(planned: Planned, reports: Mapping[str | None, str]) -> Decided:
    """Return what was decided for one rollout, to be read by people."""
    return {
        "prompt": planned.rollout.prompt[:EXCERPT_CHARS],
        "completions": len(planned.rollout.completions),
        "signature": planned.route.signature.key,
        "evidence": planned.route.signature.evidence.value,
        "why": planned.route.why,
        "tool": _label(planned),
        "report": reports.get(_label(planned)),
        "missing": planned.tool if isinstance(planned.tool, str) else None,
    }


def _label(planned: Planned) -> str | None:
    return None if isinstance(planned.tool, str) else planned.tool.label
