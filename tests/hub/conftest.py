"""A local hub, and settings that ask nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlar_graph.testing.hub import LocalHub


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as opened:
        yield opened
