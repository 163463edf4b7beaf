"""The process that holds one network: it loads weights and reads completions, and does nothing else.

It starts with an environment of a few named variables, without network where the kernel lets it, under a memory cap,
and loads safetensors only, never code of a repository. What a hostile chat template or tokenizer can still do is hang
or eat memory, and its parent ends it for the one and the kernel for the other.

One JSON object a line comes in, one goes out. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from typing import IO, Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
ERROR_CHARS = 600


def main() -> int:
    """Serve requests until the parent hangs up."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    alone = leave_the_network()
    network: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                limit_memory(request["memory_bytes"], request["device"])
                from rlar_graph.rewards.network import Network

                network = Network(request)
                answer: Mapping[str, object] = {**network.told, "network": not alone}
            else:
                answer = network.read(request["pairs"])
        except MemoryError:
            answer = {"error": "out of memory"}
        except Exception as error:  # noqa: BLE001 - the process's edge: the parent is told, and decides
            answer = {"error": f"{type(error).__name__}: {str(error)[:ERROR_CHARS]}"}
        _send(replies, answer)
    return 0


def _send(replies: IO[str], answer: Mapping[str, object]) -> None:
    replies.write(json.dumps(answer) + "\n")


def leave_the_network() -> bool:
    """Move into a network namespace with nothing in it; return whether that was possible."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) == 0:
        return True
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return False
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    except OSError:
        return True  # without its name, but without a network
    return True


def limit_memory(limit: int, device: str) -> None:
    """Cap what this process may allocate; a GPU's driver maps memory of its own, and is capped by torch instead."""
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


if __name__ == "__main__":
    raise SystemExit(main())
