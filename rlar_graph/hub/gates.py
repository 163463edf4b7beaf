"""The gates before a download: what keeps a repository out, said in words, all of it at once.

The paper's retrieval took the first search hit and ran code that a model wrote from its README; more than half could
not be made to run. Here metadata decides: a licence that is allowed, weights that cannot carry code, no code of the
repository's own, one known commit, and enough room.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rlar_graph.hub.card import SHA, ModelCard

INDEX = "model.safetensors.index.json"
ROOM = 1.25
"""Memory a model takes beside its weights, as a factor: activations of one batch."""

TEXT_BYTES = 200 << 20
"""Most bytes of a file beside the weights; the largest tokenizers have some 30 MB."""

_CODE = ("AutoConfig", "AutoModel", "AutoTokenizer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is allowed here."""

    licences: frozenset[str]
    """Licences that may be used, as the Hub writes them."""
    memory_bytes: int
    """Free memory for a model."""
    disk_bytes: int
    """Free bytes where downloads go."""
    head: Callable[[ModelCard], str | None]
    """Says why no adapter reads a model's head, or None."""


def refusals(card: ModelCard, terms: Terms) -> tuple[str, ...]:
    """Return everything that keeps a repository out; nothing lets it in."""
    return tuple(reason for gate in _GATES for reason in gate(card, terms))


def _commit(card: ModelCard, terms: Terms) -> Iterator[str]:
    if not SHA.fullmatch(card.sha):
        yield "it cannot be pinned: the Hub names no commit"
    if card.gated:
        yield "it is gated: somebody must accept its terms first"


def _licence(card: ModelCard, terms: Terms) -> Iterator[str]:
    if card.licence is None:
        yield "it names no licence"
    elif card.licence not in terms.licences:
        yield f"licence {card.licence!r} is not among those allowed (RLAR_REWARD_MODEL_LICENCES)"


def _weights(card: ModelCard, terms: Terms) -> Iterator[str]:
    if not card.weights:
        others = sorted({file.path.rsplit(".", 1)[-1] for file in card.files if "." in file.path})
        yield f"it has no safetensors weights (its files are {', '.join(others[:8]) or 'none'})"
        return
    if any(not file.size for file in card.weights):
        yield "the Hub does not say how large its weights are, or they are empty"
    numbered = [file.path for file in card.weights if "-of-" in file.path]
    missing = _missing_shards(numbered)
    if missing:
        yield f"it is incomplete: {', '.join(missing[:3])} is missing"
    if numbered and INDEX not in {file.path for file in card.files}:
        yield f"it is incomplete: {INDEX} is missing"


def _missing_shards(numbered: list[str]) -> list[str]:
    """Return the shards that must be there by the count in the others' names."""
    there, wanted = set(numbered), set()
    for path in numbered:
        stem, _, rest = path.partition("-of-")
        total = rest.partition(".")[0]
        head = stem.rpartition("-")[0]
        if total.isdecimal() and int(total) <= 1_000:
            wanted |= {
                f"{head}-{number:0{len(total)}}-of-{total}.safetensors" for number in range(1, int(total) + 1)
            }
    return sorted(wanted - there)


def _own_code(card: ModelCard, terms: Terms) -> Iterator[str]:
    named = card.config.get("auto_map")
    if isinstance(named, Mapping) and any(str(key).startswith(_CODE) for key in named):
        yield "it needs code of its own repository to load, which is never run"
    elif "quantization_config" in card.config:
        yield "its weights are quantized, which changes scores with the library that reads them"


def _head(card: ModelCard, terms: Terms) -> Iterator[str]:
    reason = card.problem or terms.head(card)
    if reason is not None:
        yield reason


def _room(card: ModelCard, terms: Terms) -> Iterator[str]:
    needed = int(card.weight_bytes * ROOM)
    if needed > terms.memory_bytes:
        yield f"it needs {needed / 1e9:.2f} GB of memory, and {terms.memory_bytes / 1e9:.2f} GB are free"
    if card.needed_bytes > terms.disk_bytes:
        yield f"it needs {card.needed_bytes / 1e9:.2f} GB of disk, and {terms.disk_bytes / 1e9:.2f} GB are free"


def _texts(card: ModelCard, terms: Terms) -> Iterator[str]:
    for file in card.needed:
        if not file.path.endswith(".safetensors") and (file.size is None or file.size > TEXT_BYTES):
            yield f"its {file.path} is too large, or the Hub does not say how large"


_GATES = (_commit, _licence, _weights, _own_code, _head, _texts, _room)


def read_config(text: str) -> Mapping[str, object] | str:
    """Return a ``config.json``, or what is wrong with it."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return "its config.json is not JSON"
    return read if isinstance(read, dict) else "its config.json is no object"
