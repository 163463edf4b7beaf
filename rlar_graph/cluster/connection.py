"""The connection of this process to a Ray cluster: joined where nobody has joined one yet, never started, never left.

Trainers that live on Ray (verl, OpenRLHF) have a connection already, and it is theirs: it is used as it is. One that is
made here stays until the process ends, because a trainer may come to rely on it.
"""

from __future__ import annotations

import os
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
ANSWER_SECONDS = 30.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a conversation in HTTP/2 begins, with no wishes."""
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
    """Raise OSError where nobody listens, or who does says nothing: Ray itself goes on trying for a quarter of an hour.

    A server of gRPC, which Ray's are, speaks as soon as it is spoken to, if only to complain of what it hears.
    """
    found = _found(address)
    host, _, port = found.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS) as link:
            link.settimeout(ANSWER_SECONDS)
            link.sendall(GREETING)
            link.recv(1)
    except TimeoutError as error:
        raise OSError(f"{found} does not answer") from error
    except ConnectionResetError:  # it would have another greeting, and is there
        return
    except OSError as error:
        raise OSError(f"{found}: {error.strerror or error}") from error


def _found(address: str) -> str:
    """Return the address that Ray would take: ``auto`` may be that of a cluster which ended, left in a file."""
    if address != "auto":
        return address
    try:
        from ray._private.services import get_ray_address_from_environment
    except ImportError:  # it is Ray's own affair, and may move
        return os.environ.get("RAY_ADDRESS", "")
    return str(get_ray_address_from_environment(address, None))
