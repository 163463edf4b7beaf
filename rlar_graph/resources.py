"""The live handles of a run (registry, sandbox), opened when first needed and closed in one place."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rlar_graph.sandbox.base import Limits, Sandbox

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry
    from rlar_graph.settings import Settings


class Resources:
    """Registry and sandbox of one reward function. Safe to share between threads; a context manager.

    Args:
        settings: What to open, and how.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._registry: Registry | None = None
        self._sandbox: Sandbox | None = None

    @property
    def registry(self) -> Registry:
        """The open registry.

        Raises:
            RegistryError: It cannot be opened.
        """
        with self._lock:
            if self._registry is None:
                from rlar_graph.registry import open_registry

                self._registry = open_registry(self.settings.registry_url)
            return self._registry

    def sandbox(self) -> Sandbox:
        """Return the open sandbox.

        Raises:
            SandboxUnavailable: This machine cannot confine code well enough.
        """
        with self._lock:
            if self._sandbox is None:
                from rlar_graph.sandbox import open_sandbox

                self._sandbox = open_sandbox(workers=self.settings.workers, engine=self.settings.sandbox)
            return self._sandbox

    @property
    def code_limits(self) -> Limits:
        """Limits of one program and its tests."""
        return Limits(seconds=self.settings.code_seconds, memory_mb=self.settings.code_memory_mb)

    def close(self) -> None:
        """Close what was opened; may be called twice."""
        with self._lock:
            sandbox, self._sandbox = self._sandbox, None
            registry, self._registry = self._registry, None
        if sandbox is not None:
            sandbox.close()
        if registry is not None:
            registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
