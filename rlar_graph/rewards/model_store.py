"""From a reward model's source to its network: weights found or fetched, checked against their digests, and loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rlar_graph.deadline import Fault
from rlar_graph.errors import ToolError
from rlar_graph.hardware import gpu_free_bytes
from rlar_graph.hub import Hub
from rlar_graph.hub.weights import flaw
from rlar_graph.rewards.model_adapters import adapter_of
from rlar_graph.rewards.model_process import LoadOrder, ModelProcess
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.settings import Settings

PROCESS_BYTES = 4 << 30
"""What a process may take beside its network: libraries, and a stack for each thread on a machine with many cores."""
SLACK = 1.25
"""Factor for the activations of a batch."""
NO_TORCH = "reward models run here with torch: pip install 'rlar-graph[local]', or name a server (RLAR_RM_SERVER_URL)"


def hub_of(settings: Settings) -> Hub:
    """Return the Hub that the settings name."""
    return Hub(
        settings.hub_endpoint,
        settings.hub_cache,
        seconds=settings.hub_seconds,
        download_seconds=settings.hub_download_seconds,
    )


def can_run_here() -> bool:
    """Say whether networks can run on this machine; imports nothing."""
    return find_spec("torch") is not None and find_spec("transformers") is not None


def bytes_per_weight(settings: Settings) -> int:
    """Return the bytes a weight takes in memory; on a CPU 16-bit weights become twice as wide."""
    return 2 if on_gpu(settings) or settings.reward_model_dtype == "bfloat16" else 4


def size_of(source: ModelSource, settings: Settings) -> int:
    """Return the bytes a network takes here; on a CPU its weights may become twice as wide."""
    if settings.reward_model_replicas:
        return 0
    wider = 1 if on_gpu(settings) or source.dtype in ("bfloat16", "float16") else 2
    return int(source.weight_bytes * wider * SLACK)


def on_gpu(settings: Settings) -> bool:
    """Say whether networks run on a GPU; imports no torch."""
    asked = settings.reward_model_device
    return asked.startswith("cuda") or (asked == "auto" and gpu_free_bytes() is not None)


def load(source: ModelSource, settings: Settings) -> ModelProcess:
    """Return a network, loaded in a process of its own.

    Raises:
        ToolError: Its weights are not to be had, are not what they were, or cannot be loaded.
    """
    if not can_run_here():
        raise ToolError(NO_TORCH)
    size = size_of(source, settings)
    order = LoadOrder(
        folder=str(_checked_folder(source, hub_of(settings))),
        adapter=source.adapter,
        form=source.form,
        max_length=source.max_length,
        memory_bytes=size + PROCESS_BYTES + (size >> 1),
        dtype=source.dtype,
        device=settings.reward_model_device,
        tokens=settings.reward_model_tokens,
        exact=settings.reward_model_exact,
    )
    return ModelProcess(order, seconds=settings.reward_model_seconds)


def _checked_folder(source: ModelSource, hub: Hub) -> Path:
    """Return the folder with a model's files, each of them what it was when the model was admitted."""
    folder = hub.local(source.repo, source.sha)
    heads = adapter_of(source.adapter).heads
    if folder is None or flaw(folder, source.files, heads) is not None:
        card = hub.card(source.repo, source.sha)
        fetched = card if isinstance(card, Fault) else hub.download(card)
        if isinstance(fetched, Fault):
            raise ToolError(f"{source.label} is not to be had: {fetched.reason}")
        folder = fetched
    problem = flaw(folder, source.files, heads)
    if problem is not None:
        raise ToolError(f"{source.label} is not used: {problem}")
    return folder
