"""The engine of this process for a registry, for callers that bring none: the graph in a LangGraph server.

A server that has routes of its own beside the graph lends its engine, so that both use the same tools, worker
processes and counters. Without a lender one is opened, and closed when the process ends.
"""

from __future__ import annotations

import atexit
import threading
from functools import cache

from rlar_graph.engine import Engine
from rlar_graph.settings import Settings

_lock = threading.Lock()
_lent: dict[str, Engine] = {}
_own: dict[str, Engine] = {}


def process_engine(registry_url: str | None = None) -> Engine:
    """Return the engine for a registry: one that was lent, else one of the process's own.

    Args:
        registry_url: Registry to use; None for the one of the settings, which are read once.

    Raises:
        SettingsError: A setting is unknown or out of range.
    """
    settings = _settings(registry_url)
    url = settings.registry_url
    with _lock:
        found = _lent.get(url) or _own.get(url)
        if found is None:
            found = _own[url] = Engine(settings)
            atexit.register(found.close)
        return found


def lend(engine: Engine) -> None:
    """Have this engine used for its registry, until :func:`take_back`; the first lender of a registry stays."""
    with _lock:
        _lent.setdefault(engine.settings.registry_url, engine)


def take_back(engine: Engine) -> None:
    """Lend an engine no longer, before it is closed; nothing happens if it was not lent."""
    with _lock:
        if _lent.get(engine.settings.registry_url) is engine:
            del _lent[engine.settings.registry_url]


@cache
def _settings(registry_url: str | None) -> Settings:
    return Settings.load(registry_url=registry_url)
