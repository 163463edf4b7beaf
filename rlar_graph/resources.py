"""The live handles of a run (registry, sandbox, language model), opened when first needed and closed in one place."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rlar_graph.errors import SettingsError
from rlar_graph.sandbox.base import Limits, Sandbox

if TYPE_CHECKING:
    from rlar_graph.llm import LanguageModel, Usage
    from rlar_graph.registry.store import Registry
    from rlar_graph.settings import Settings


class Resources:
    """Registry, sandbox and language model of one reward function. Safe to share between threads; a context manager.

    Args:
        settings: What to open, and how.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._registry: Registry | None = None
        self._sandbox: Sandbox | None = None
        self._llm: LanguageModel | None = None
        self._judge_llm: LanguageModel | None = None

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

                self._sandbox = open_sandbox(
                    workers=self.settings.workers,
                    engine=self.settings.sandbox,
                    ray_address=self.settings.ray_address,
                    ray_cpus=self.settings.ray_cpus,
                )
            return self._sandbox

    @property
    def llm(self) -> LanguageModel | None:
        """The language model, under the run's budget; None where no endpoint is configured.

        Raises:
            SettingsError: The endpoint's settings cannot be used.
        """
        with self._lock:
            if self._llm is None and self.settings.llm_base_url is not None:
                self._llm = _language_model(self.settings)
            return self._llm

    @property
    def judge_llm(self) -> LanguageModel | None:
        """The language model with the budget of judges, who ask it for every completion they score."""
        llm = self.llm
        with self._lock:
            if self._judge_llm is None and llm is not None:
                from rlar_graph.llm import Budget

                budget = Budget(self.settings.judge_calls, self.settings.llm_tokens, self.settings.llm_money)
                self._judge_llm = llm.for_run(budget)
            return self._judge_llm

    def spent(self) -> Mapping[str, Usage]:
        """Return what was used of the language model, by role; nothing where it was never asked for."""
        models = [model for model in (self._llm, self._judge_llm) if model is not None]
        spent: dict[str, Usage] = {}
        for role, usage in (entry for model in models for entry in model.ledger.snapshot().items()):
            spent[role] = spent[role] + usage if role in spent else usage
        return spent

    @property
    def code_limits(self) -> Limits:
        """Limits of one program and its tests."""
        return Limits(seconds=self.settings.code_seconds, memory_mb=self.settings.code_memory_mb)

    def close(self) -> None:
        """Close what was opened; may be called twice."""
        with self._lock:
            sandbox, self._sandbox = self._sandbox, None
            registry, self._registry = self._registry, None
            llm, self._llm, self._judge_llm = self._llm, None, None
        if llm is not None:
            llm.close()
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


def _language_model(settings: Settings) -> LanguageModel:
    """Return a client for the configured endpoint, with the run's budget."""
    from rlar_graph.llm import LanguageModel
    from rlar_graph.llm.ledger import Budget, Price

    if settings.llm_base_url is None or settings.llm_model is None:
        raise SettingsError(
            "llm_base_url needs llm_model beside it (RLAR_LLM_MODEL): the name of a model there"
        )
    price = None
    if settings.llm_prompt_price is not None and settings.llm_completion_price is not None:
        price = Price(settings.llm_prompt_price, settings.llm_completion_price)
    return LanguageModel(
        settings.llm_base_url,
        settings.llm_model,
        settings.llm_api_key,
        budget=Budget(settings.llm_calls, settings.llm_tokens, settings.llm_money),
        price=price,
        timeout_seconds=settings.llm_seconds,
        max_tokens=settings.llm_reply_tokens,
    )
