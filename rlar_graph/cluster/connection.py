"""The connection of this process to a Ray cluster: joined where nobody has joined one yet, never started, never left.

Trainers that live on Ray (verl, OpenRLHF) have a connection already, and it is theirs: it is used as it is. One that is
made here stays until the process ends, because a trainer may come to rely on it.
"""

from __future__ import annotations

import signal
import socket
import threading
from importlib.util import find_spec
from typing import Any

INSTALL = "Ray is not installed: pip install 'rlar-graph[ray]'"
START = (
    "start one with `ray start --head`, join it with `ray start --address=HOST:6379` on the other machines,"
    " or name it (RLAR_RAY_ADDRESS)"
)
KNOCK_SECONDS = 10.0
_joining = threading.Lock()


def ray_module() -> Any:
    """Return the module ``ray``.

    Raises:
        ConnectionError: It is not installed.
    """
    if find_spec("ray") is None:
        raise ConnectionError(INSTALL)
    import ray

    return ray


def is_joined() -> bool:
    """Say whether this process has a connection now, whoever made it."""
    return bool(ray_module().is_initialized())


def node_id() -> str:
    """Return Ray's name of the node that this actor is on."""
    return str(ray_module().get_runtime_context().get_node_id())


def cluster_gpus() -> float:
    """Return how many GPUs the cluster has, free or not."""
    return float(ray_module().cluster_resources().get("GPU", 0.0))


def join(address: str = "auto") -> None:
    """Join a cluster, unless this process has joined one.

    Args:
        address: ``auto`` for the cluster of this machine (or of ``RAY_ADDRESS``), ``HOST:PORT``, or
            ``ray://HOST:PORT`` for a client from outside.

    Raises:
        ConnectionError: Ray is not installed, or there is no such cluster.
    """
    ray = ray_module()
    with _joining:
        if ray.is_initialized():
            return
        ours = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGTERM) if ours else None
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError, OSError, AssertionError) as error:
            said = " ".join(str(error).split())[:300]
            raise ConnectionError(f"there is no Ray cluster at {address!r}: {START} ({said})") from error
        finally:
            # Ray takes the signal for itself, and a server that drains when it is told to end would not be told.
            if handler is not None:
                signal.signal(signal.SIGTERM, handler)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself goes on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
