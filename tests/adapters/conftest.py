"""The adapters find their registry in the environment, as they do in a trainer; one for all of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlar_graph.adapters.shared import close_all


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The registry's URL; what was opened for it is closed in the end."""
    yield f"sqlite:///{tmp_path_factory.mktemp('adapters')}/rlar.db"
    close_all()


@pytest.fixture(autouse=True)
def _registry(registry_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAR_REGISTRY_URL", registry_url)
