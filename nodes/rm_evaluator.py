"""The evaluator of reward models: loads each candidate, measures it on the family's labelled pairs, takes the best."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TypedDict

from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, RegistryError
from rlar_graph.probe_making import family_probes
from rlar_graph.probes import Probe
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.load import load_registered
from rlar_graph.rewards.model_pool import leave
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.state import AcquireState, Cost, Draft, ModelCandidate, Rejected
from rlar_graph.toolmaking.branch_costs import added
from rlar_graph.toolmaking.candidates import tool_name
from rlar_graph.toolmaking.model_evaluation import Evaluation, evaluate, outdone

NOT_PROVEN = "none of the reward models tried orders this family's labelled completions well enough: {why}"


class EvaluatorUpdate(TypedDict, total=False):
    """The evaluator's keys."""

    draft: Draft | None
    report: str | None
    admitted: bool
    rejected: list[Rejected]
    refused: str | None
    cost: Cost


def rm_evaluator(state: AcquireState, engine: Engine) -> EvaluatorUpdate:
    """Return the best of those that pass, with its report; keep the others' reports; refuse where none passes."""
    started = time.perf_counter()
    models = [entry for entry in state.get("models", []) if not entry["refused"]]
    if not models:
        return {
            "draft": None,
            "admitted": False,
            "refused": state.get("refused") or "there is no reward model to try",
        }
    try:
        probes = family_probes(state, engine.resources)
        trusted = _trusted(state["family"], probes, engine)
    except (LLMError, RegistryError) as error:
        # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
        return {"draft": None, "admitted": False, "refused": f"{type(error).__name__}: {error}"}
    measured = [_evaluated(state, engine, entry, probes, trusted) for entry in models]
    passed = sorted((one for one in measured if one.report.admitted), key=lambda one: one.rank)
    best = passed[-1] if passed else None
    lost = [
        outdone(one, best) if best is not None and one in passed else one
        for one in measured
        if one is not best
    ]
    for one in lost:
        leave(engine.resources, one.source.network)
    kept: list[Rejected] = [
        {"draft": _draft(state["family"], one), "report": one.report.to_json()} for one in lost
    ]
    return {
        "draft": None if best is None else _draft(state["family"], best),
        "report": None if best is None else best.report.to_json(),
        "admitted": best is not None,
        "rejected": [*state.get("rejected", []), *kept],
        "refused": None if best is not None else NOT_PROVEN.format(why=_why(measured)),
        "cost": added(state, 0, 0, 0.0, time.perf_counter() - started),
    }


def _evaluated(
    state: AcquireState,
    engine: Engine,
    entry: ModelCandidate,
    probes: tuple[Probe, ...],
    trusted: frozenset[int],
) -> Evaluation:
    """Measure one candidate."""
    name = tool_name("reward_model", state["family"])

    def load(source: ModelSource) -> RewardTool:
        return load_registered(ToolSpec(name, "reward_model", ""), source.to_json(), engine.resources)

    source = replace(
        ModelSource.from_json(entry["source"]), family=state["family"], signature=state["signature"]
    )
    wanted = engine.settings.reward_model_accuracy
    return evaluate(load, source, probes, name=name, wanted=wanted, trusted=trusted)


def _trusted(family: str, probes: tuple[Probe, ...], engine: Engine) -> frozenset[int]:
    """Return the places of the probes that a user labelled."""
    own = set()
    for entry in engine.resources.registry.kept_probes(family):
        if entry.origin in ("user", "audit"):
            row = json.loads(entry.body)
            own.add((row.get("prompt"), row.get("completion")))
    return frozenset(
        place for place, probe in enumerate(probes) if (probe.rollout.prompt, probe.completion) in own
    )


def _draft(family: str, one: Evaluation) -> Draft:
    licence = f", licence {one.source.licence}" if one.source.licence else ""
    return {
        "name": tool_name("reward_model", family),
        "kind": "reward_model",
        "summary": f"{one.source.label}{licence}: a reward model measured on {family}",
        "source": one.source.to_json(),
        "prompt_hash": "",
        "model": f"{one.source.repo}@{one.source.sha}" if one.source.sha else one.source.repo,
    }


def _why(measured: list[Evaluation]) -> str:
    """Say in one line what each failed at."""
    return "; ".join(f"{one.source.repo} {one.report.summary}" for one in measured)[:1_000]
