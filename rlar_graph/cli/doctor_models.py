"""What ``rlar doctor`` says of reward models: what runs them, what fits, and whether server and Hub answer.

Nothing here imports torch, and every question has a deadline.
"""

from __future__ import annotations

from importlib import metadata, util
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rlar_graph.deadline import Fault

if TYPE_CHECKING:
    from rlar_graph.settings import Settings

SECONDS = 5.0
"""Longest wait for one answer."""
GIB = 1 << 30
Finding = dict[str, str]


def model_findings(settings: Settings) -> list[Finding]:
    """Return what is found, one row a part."""
    rows = [_libraries(settings)]
    if util.find_spec("torch") is not None:
        rows += [_device(settings), _attention(settings), _room(settings)]
    rows.append(_search(settings))
    if settings.rm_server_url is not None:
        rows.append(_server(settings))
    return rows


def _finding(what: str, state: str, note: str) -> Finding:
    return {"what": what, "state": state, "note": note}


def _libraries(settings: Settings) -> Finding:
    from rlar_graph.rewards.model_store import NO_TORCH, can_run_here

    if not can_run_here():
        state = "ok" if settings.rm_server_url is not None else "off"
        return _finding("reward models", state, "on a server" if state == "ok" else NO_TORCH)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
    return _finding("reward models", "ok", versions)


def _device(settings: Settings) -> Finding:
    from rlar_graph.hardware import gpus, memory_free_bytes, torch_reaches_gpus
    from rlar_graph.rewards.model_store import on_gpu

    found = gpus()
    shown = "; ".join(
        f"{gpu.name}: {gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free" for gpu in found
    )
    if on_gpu(settings):
        return _finding("  device", "on" if found else "broken", shown or "no GPU is to be seen")
    why = ""
    if found and not torch_reaches_gpus():
        why = f"; this torch was built for CPUs and leaves {shown} unused"
    return _finding("  device", "on", f"CPU: {memory_free_bytes() / GIB:.1f} GiB free{why}")


def _attention(settings: Settings) -> Finding:
    from rlar_graph.rewards.model_store import on_gpu

    gpu, asked = on_gpu(settings), settings.reward_model_dtype
    kernels = "torch's own (SDPA), its flash kernels among them" if gpu else "torch's own (SDPA)"
    dtype = ("bfloat16" if gpu else "float32") if asked == "auto" else asked
    exact = dtype == "bfloat16" and (
        not gpu if settings.reward_model_exact is None else settings.reward_model_exact
    )
    return _finding("  attention", "on", f"{kernels}, in {dtype}{', one by one' if exact else ''}")


def _room(settings: Settings) -> Finding:
    """Say how large a model may be, and which known ones with an allowed licence that leaves."""
    from rlar_graph.hardware import network_bytes
    from rlar_graph.hub.catalogue import ranked
    from rlar_graph.rewards.model_store import SLACK, bytes_per_weight

    room = network_bytes(settings.reward_model_memory_mb)
    billions = room / (bytes_per_weight(settings) * SLACK) / 1e9
    allowed = [entry for entry in ranked("open") if entry.licence in settings.reward_model_licences]
    fits = [entry.repo for entry in allowed if entry.parameters_b <= billions]
    known = f"; of the catalogue {', '.join(fits[:3])}" if fits else "; none of the catalogue"
    note = f"{room / GIB:.1f} GiB: models of {billions:.1f} billion weights{known}"
    return _finding("  room", "on" if fits else "off", note)


def _search(settings: Settings) -> Finding:
    from rlar_graph.rewards.model_store import hub_of

    named = f"{len(settings.reward_model_names)} named" if settings.reward_model_names else ""
    if settings.reward_models == "off" and not named:
        return _finding(
            "  search", "off", "none is looked for: set RLAR_REWARD_MODELS or RLAR_REWARD_MODEL_NAMES"
        )
    hub = hub_of(settings)
    where = hub.endpoint or "the Hub"
    looked = f"{settings.reward_models}{', ' if named else ''}{named}"
    fault = hub.reached(min(SECONDS, settings.hub_seconds))
    if fault is None:
        return _finding("  search", "on", f"{looked}; {where} answers")
    return _finding(
        "  search",
        "off",
        f"{looked}; {where} does not answer, so only what was downloaded is used: {fault.reason}",
    )


def _server(settings: Settings) -> Finding:
    """Say whether the server of reward models answers, and has the model that is asked for."""
    from rlar_graph.errors import SettingsError
    from rlar_graph.rewards.pooling_server import PoolingServer, ServerTerms

    parts, key = urlsplit(str(settings.rm_server_url)), settings.rm_server_key
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without a password in it
    wanted = settings.rm_server_model
    try:
        server = PoolingServer(
            str(settings.rm_server_url),
            wanted or "",
            settings.rm_server_dialect,
            key.get_secret_value() if key is not None else None,
            terms=ServerTerms(seconds=min(SECONDS, settings.reward_model_seconds)),
        )
    except SettingsError as error:
        return _finding("  server", "broken", str(error))
    found = server.models()
    if isinstance(found, Fault):
        return _finding("  server", "broken", f"{url}: {found.reason}")
    if wanted is None:
        return _finding("  server", "broken", f"{url} answers; name its model (RLAR_RM_SERVER_MODEL)")
    if found and wanted not in found:
        return _finding("  server", "broken", f"{url} has no model {wanted}, but {', '.join(found[:4])}")
    return _finding("  server", "ok", f"{wanted} at {url}, {settings.rm_server_dialect}")
