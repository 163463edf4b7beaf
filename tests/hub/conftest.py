"""A local hub, and settings that ask nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.testing_hub import LocalHub

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with LocalHub() as opened:
        yield opened
