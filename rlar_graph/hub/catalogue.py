"""The catalogue of known reward models: data that ships with the library, so that a search works without a network.

Its licences and figures are claims with a source and a date, good for an order in which to try; the gates read the
Hub's own metadata, and admission rests on measurement alone. What no reference confirmed is named in the entry itself
(``weights``: nobody saw that its files are safetensors; a repository of pickles is refused by the gates). The revision
of an entry is a branch, turned into a commit when the model is looked at, or a commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

FIGURE_OF: Mapping[str, str] = {
    "safety": "safety",
    "factuality": "factuality",
    "knowledge": "factuality",
    "dialogue": "focus",
    "open": "focus",
    "instruction": "instruction",
    "math": "math",
}
"""Domain of a signature -> the published figure that says most about it; elsewhere the average does."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One entry."""

    repo: str
    """``owner/name`` on the Hub."""
    revision: str
    """Branch or commit to take."""
    adapter: str
    """How its head is read; see :mod:`rlar_graph.rewards.model_adapters`."""
    chat_template: bool
    """Whether it was trained on its tokenizer's chat template."""
    licence: str
    """Licence its author names."""
    context: int
    """Tokens it was trained for."""
    parameters_b: float
    """Parameters in billions."""
    figures: Mapping[str, float]
    """Published figures by domain, RewardBench 2."""
    source: str
    """Where its claims are from."""
    checked: str
    """Day on which they were compared with that."""
    unverified: tuple[str, ...]
    """Claims among them that it does not confirm."""

    def figure(self, domain: str) -> float:
        """Return what is published on a domain, else on average, else 0."""
        return self.figures.get(FIGURE_OF.get(domain, "average"), self.figures.get("average", 0.0))


@cache
def catalogue() -> tuple[KnownModel, ...]:
    """Return all entries, in the order of the file."""
    text = resources.files("rlar_graph.hub").joinpath("catalogue.json").read_text(encoding="utf-8")
    read = json.loads(text)
    sources = read["sources"]
    return tuple(
        KnownModel(**{**entry, "source": sources[entry["source"]], "unverified": tuple(entry["unverified"])})
        for entry in read["models"]
    )


def known(repo: str) -> KnownModel | None:
    """Return the entry of a repository, if there is one."""
    return next((entry for entry in catalogue() if entry.repo == repo), None)


def ranked(domain: str) -> tuple[KnownModel, ...]:
    """Return the entries, best first: by published figure for the domain, then larger, then by name."""
    return tuple(
        sorted(catalogue(), key=lambda entry: (-entry.figure(domain), -entry.parameters_b, entry.repo))
    )
