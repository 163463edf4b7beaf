"""Rewards for RL on language models, found, written, tested and kept by an agent.

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlar_graph.engine import PrepareReport
    from rlar_graph.reward import AgentReward
    from rlar_graph.settings import Settings
    from rlar_graph.types import Rollout, Score

__version__ = "0.1.0"
__all__ = ["AgentReward", "PrepareReport", "Rollout", "Score", "Settings", "__version__"]

_HOMES = {
    "AgentReward": "rlar_graph.reward",
    "PrepareReport": "rlar_graph.engine",
    "Rollout": "rlar_graph.types",
    "Score": "rlar_graph.types",
    "Settings": "rlar_graph.settings",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
