"""What an engine is named after: everything that decides its scores, so that who shares one would score alike.

That is the settings, the library's own source (in a checkout it changes under one version), the versions installed
beside it, and the machine with its view of files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

import rlar_graph
from rlar_graph.settings import Settings

ASIDE = frozenset(
    {"engine", "engine_grace_seconds", "engine_silent_seconds", "neutral_reward", "server_token"}
)
"""Settings that decide nothing about a score."""
MOST_WORKERS = 32
_RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:|\?|$)(.*)", re.DOTALL)


def settings_for_engine(settings: Settings) -> Settings:
    """Return the settings a shared engine runs with: they hold wherever it is started, and for more than one.

    Paths become absolute. Unless the settings say how, tools are sought in the background (nobody waits for a language
    model that somebody else's prompt needs), and there is a worker for every second core.
    """
    update: dict[str, object] = {"engine": "own", "server_token": None}
    found = _RELATIVE.fullmatch(settings.registry_url)
    if found:
        update["registry_url"] = f"{found[1]}{os.path.abspath(found[2])}"
    if settings.hub_cache is not None:
        update["hub_cache"] = os.path.abspath(settings.hub_cache)
    if "acquire" not in settings.model_fields_set:
        update["acquire"] = "background"
    if "workers" not in settings.model_fields_set:
        cores = len(os.sched_getaffinity(0))
        update["workers"] = max(settings.workers, min(MOST_WORKERS, cores // 2))
    return settings.model_copy(update=update)


def revealed(settings: Settings) -> dict[str, object]:
    """Return settings as plain values, secrets in clear: for the engine's standard input only."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.model_dump().items()
    }


def engine_name(settings: Settings) -> str:
    """Return the name of the engine with these settings, made so that it gives nothing of them away.

    Args:
        settings: What :func:`settings_for_engine` returned.
    """
    said = {name: value for name, value in revealed(settings).items() if name not in ASIDE}
    folder = Path(rlar_graph.__file__).parent
    place = [rlar_graph.__version__, str(folder), sys.prefix, *_paths_hold_in()]
    decisive = json.dumps([said, place, source_digest(folder), _installed()], sort_keys=True).encode()
    # The settings hold passwords and the name is seen in logs: it must be dear to guess from.
    return hashlib.scrypt(decisive, salt=b"rlar-graph engine", n=4096, r=8, p=1, dklen=16).hex()


def source_digest(folder: Path) -> str:
    """Return a digest of everything in a package's folder but what is compiled from it."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        with suppress(OSError):  # an editor's, gone by now, or nobody's to read
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode("utf-8", "surrogateescape"))
            digest.update(content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder, followlinks=True):  # a checkout's nodes and prompts are links
        folders[:] = [each for each in folders if each != "__pycache__" and not each.startswith(".")]
        yield from (Path(path, name) for name in names if not name.startswith("."))


def _installed() -> list[str]:
    """Return the distributions beside what the library needs, whose folders are named after their versions."""
    beside = Path(sys.modules["pydantic"].__file__ or "").parents[1]
    return sorted(name for name in os.listdir(beside) if name.endswith((".dist-info", ".egg-info")))


def _paths_hold_in() -> tuple[str, ...]:
    """Return what names the machine and its view of files: in another one a registry's path is another registry's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, os.readlink("/proc/self/ns/mnt")
    except OSError:  # no /proc to speak of
        return (socket.gethostname(),)
