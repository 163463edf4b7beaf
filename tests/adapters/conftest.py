"""The adapters find their registry in the environment, as they do in a trainer; one for all of these tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.adapters.shared import close_all
from tests.machine import trouble
from tests.machine.conftest import Place


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The registry's URL; what was opened for it is closed in the end."""
    yield f"sqlite:///{tmp_path_factory.mktemp('adapters')}/rlar.db"
    close_all()


@pytest.fixture(autouse=True)
def _registry(registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAR_REGISTRY_URL", registry_url)
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.path.dirname(registry_url.removeprefix("sqlite:///")))


@pytest.fixture
def machine(registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The adapters share an engine with whoever else meets in the test's folder, and a registry for its settings."""
    close_all()
    place = Place(tmp_path, registry_url.replace("rlar.db", "machine.db"))
    found = {"XDG_RUNTIME_DIR": str(tmp_path), "RLAR_REGISTRY_URL": place.registry_url}
    for name, value in {**trouble.SETTINGS, **found}.items():
        monkeypatch.setenv(name, value)
    yield place
    close_all()
    place.end()
