"""A reward model's network as replicas on a Ray cluster, seen from here as one that is loaded.

Each replica is an actor that loads the network on its node, in a process of its own as it would here, from the node's
own copy of the weights, whose digests it checks. The replicas share every batch; what one leaves unread when it dies is
read by the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rlar_graph import __version__
from rlar_graph.cluster import Fleet, Lost, Pace, Part, cluster_gpus, join, spread
from rlar_graph.errors import ToolError
from rlar_graph.rewards.model_process import ModelGone, ModelLate
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.model_store import load
from rlar_graph.rewards.reading import Reading
from rlar_graph.settings import Settings

TERMS = (
    "hub_endpoint",
    "hub_cache",
    "hub_seconds",
    "hub_download_seconds",
    "reward_model_device",
    "reward_model_dtype",
    "reward_model_exact",
    "reward_model_memory_mb",
    "reward_model_seconds",
    "reward_model_tokens",
)
"""Settings that a node is told; keys and passwords stay here."""
FIRST_PAIRS, MOST_PAIRS = 16, 1_024
PIECE_SECONDS = 1.0


class Replica:
    """The actor: one loaded network on one node.

    Args:
        version: The trainer's version of this library.
        source: The network, as JSON.
        terms: The settings it goes by.

    Raises:
        ToolError: The node has another version, or the network cannot be had or loaded there.
    """

    def __init__(self, version: str, source: str, terms: Mapping[str, Any]) -> None:
        if version != __version__:
            raise ToolError(
                f"a node has rlar-graph {__version__} and the trainer {version}: install the same"
            )
        self._model = load(ModelSource.from_json(source), Settings.load(**terms))

    def hello(self) -> Mapping[str, Any]:
        """Return what the network says of itself."""
        return self._model.told

    def read(self, pairs: Sequence[tuple[str, str]]) -> Part[Reading]:
        """Read pairs.

        Raises:
            ModelGone: Its process ended; this actor is of no more use.
            ValueError: These pairs could not be read.
        """
        begun = time.monotonic()
        try:
            return Part(self._model.read(pairs), time.monotonic() - begun)
        except ModelLate as late:
            # An answer, not an error: else the pairs would hang one replica after the other.
            return Part([Reading(None, str(late))] * len(pairs), time.monotonic() - begun)
        except ModelGone:
            raise
        except ToolError as error:
            # Not of our tree: the fleet would take the actor for broken, and load the network anew.
            raise ValueError(str(error)) from error


class RayModel:
    """Replicas of a network. Safe to share between threads.

    Args:
        source: The network.
        settings: How many replicas there are to be, where, and how they load it.

    Raises:
        ToolError: There is no cluster, or not one of them could be loaded in time.
    """

    def __init__(self, source: ModelSource, settings: Settings) -> None:
        terms = {name: getattr(settings, name) for name in TERMS} | {"reward_model_replicas": 0}
        if settings.reward_model_device.startswith("cuda"):
            terms["reward_model_device"] = "cuda"  # Ray shows an actor only the GPU that is its own
        self._patience = 60.0 + settings.reward_model_seconds
        try:
            join(settings.ray_address)
            self._fleet = Fleet(
                Replica,
                (__version__, source.to_json(), terms),
                settings.reward_model_replicas,
                cpus=settings.ray_cpus,
                gpus=_gpus(settings),
                start_seconds=settings.reward_model_seconds,
            )
            self.told: Mapping[str, Any] = self._fleet.open()[0]
        except ConnectionError as error:
            raise ToolError(f"{source.label} has no replica on the Ray cluster: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether there is a replica, or may be one soon."""
        return not self._fleet.hopeless()

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Return one reading per (prompt, completion); what no replica could read says why."""
        pace = Pace(FIRST_PAIRS, MOST_PAIRS, PIECE_SECONDS, self._patience)
        found = spread(self._fleet, pairs, lambda handle, part: handle.read.remote(list(part)), pace)
        return [Reading(None, each.why) if isinstance(each, Lost) else each for each in found]

    def close(self) -> None:
        """End the replicas; may be called twice."""
        self._fleet.close()


def _gpus(settings: Settings) -> float:
    """Return the GPUs that a replica reserves: what the settings say, else one where networks run on GPUs."""
    if settings.ray_gpus is not None:
        return settings.ray_gpus
    asked = settings.reward_model_device
    return float(asked.startswith("cuda") or (asked == "auto" and cluster_gpus() > 0))
