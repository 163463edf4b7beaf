"""Models of a few thousand weights, made once; whatever needs torch is skipped where there is none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Models:
    """Folders of saved models."""

    trained: Path
    """Trained to prefer good replies."""
    untrained: Path
    """Weights at random."""
    lengthy: Path
    """Trained to prefer long replies."""
    encoder: Path
    """An encoder of pairs, at random."""
    words: Path
    """A generative model, at random."""
    labels: Path
    """A classifier with three labels, at random."""
    texts: tuple[str, ...]
    """Texts with their words."""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The models."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from rlar_graph.testing.models import make_model
    from tests.models import world

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    root = tmp_path_factory.mktemp("models")
    texts = [*world.texts(), "yes no"]
    return Models(
        trained=make_model(root / "trained", texts, pairs=world.pairs(), steps=80),
        untrained=make_model(root / "untrained", texts, seed=7),
        lengthy=make_model(root / "lengthy", texts, pairs=world.longest_wins(), seed=3, steps=80),
        encoder=make_model(root / "encoder", texts, kind="bert"),
        words=make_model(root / "words", texts, kind="words"),
        labels=make_model(root / "labels", texts, labels=3),
        texts=tuple(texts),
    )
