"""The search: reward models that may serve a family, found and held to the gates; nothing is downloaded yet."""

from __future__ import annotations

from typing import TypedDict

from rlar_graph.engine import Engine
from rlar_graph.errors import RegistryError
from rlar_graph.rewards.model_store import NO_TORCH
from rlar_graph.routing.signature import Signature
from rlar_graph.state import AcquireState, ModelCandidate
from rlar_graph.toolmaking.model_search import Found, nothing_to_run, search_models, served_model

SWITCHED_OFF = "no reward model is looked for (RLAR_REWARD_MODELS is off)"


class SearchUpdate(TypedDict):
    """The search's keys."""

    models: list[ModelCandidate]
    refused: str | None


def search(state: AcquireState, engine: Engine) -> SearchUpdate:
    """Return what may be tried and what was refused, the best first; refuse where nothing may be tried."""
    settings = engine.settings
    if settings.reward_models == "off" and not settings.reward_model_names and settings.rm_server_url is None:
        return {"models": [], "refused": SWITCHED_OFF}
    if nothing_to_run(settings):
        return {"models": [], "refused": NO_TORCH}
    served = served_model(settings)
    if isinstance(served, str):
        return {"models": [], "refused": served}
    if served is not None:
        return {"models": [_candidate(served)], "refused": None}
    try:
        found = search_models(Signature.parse(state["signature"]), settings, engine.resources.registry)
    except RegistryError as error:
        # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
        return {"models": [], "refused": f"{type(error).__name__}: {error}"}
    refused = None if found.candidates else f"no reward model may be tried: {found.summary}"
    return {"models": [_candidate(entry) for entry in found.found], "refused": refused}


def _candidate(entry: Found) -> ModelCandidate:
    return {"repo": entry.repo, "origin": entry.origin, "refused": entry.refused, "source": entry.source}
