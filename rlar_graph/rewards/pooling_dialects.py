"""What servers of reward models speak: the route, the body and the reply of each.

vLLM's ``/pooling`` renders the conversation itself; ``/classify`` of vLLM and of SGLang take text, so that we render
it; rerankers take a prompt and its completions and render them in a way of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlar_graph.rewards.conversation import Turn, conversation, neutral

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DialectForm:
    """How one kind of server is asked."""

    route: str
    """Path below the server's address."""
    pairs: int
    """Most pairs in a request."""
    one_prompt: bool
    """Whether all pairs of a request must be of one prompt."""
    body: Callable[[str, Sequence[Pair], Sequence[str]], Mapping[str, object]]
    """Returns the body from the model's name, the pairs, and their texts where they are rendered here."""
    values: Callable[[Any, int], list[object]]
    """Returns what a reply says of each pair; raises KeyError, TypeError or IndexError where it has another form."""


def _chat_body(model: str, pairs: Sequence[Pair], texts: Sequence[str]) -> Mapping[str, object]:
    turns = turns_sent(pairs[0])
    # Without its activation: the reward is the logit, and a sigmoid in 16 bits would make the best ones all equal.
    return {
        "model": model,
        "messages": turns,
        "task": "classify",
        "use_activation": False,
        "add_generation_prompt": False,
    }


def _classify_body(model: str, pairs: Sequence[Pair], texts: Sequence[str]) -> Mapping[str, object]:
    return {"model": model, "input": list(texts), "use_activation": False}


def _sglang_body(model: str, pairs: Sequence[Pair], texts: Sequence[str]) -> Mapping[str, object]:
    return {"model": model, "text": list(texts)}


def _rerank_body(model: str, pairs: Sequence[Pair], texts: Sequence[str]) -> Mapping[str, object]:
    return {"model": model, "query": pairs[0][0], "documents": [text for _, text in pairs]}


def _pooled(reply: Any, count: int) -> list[object]:
    return _placed(reply["data"], lambda entry: _only(entry["data"]), count)


def _classified(reply: Any, count: int) -> list[object]:
    return _placed(reply["data"], lambda entry: _only(entry["probs"]), count)


def _embedded(reply: Any, count: int) -> list[object]:
    entries = reply if isinstance(reply, list) else [reply]
    if len(entries) != count:
        raise IndexError(f"{len(entries)} entries for {count} texts")  # which is whose cannot be told
    return [_only(entries[place]["embedding"]) for place in range(count)]


def _reranked(reply: Any, count: int) -> list[object]:
    entries = reply["results"] if isinstance(reply, Mapping) else reply
    return _placed(entries, lambda entry: entry.get("relevance_score", entry.get("score")), count)


def _placed(entries: Any, value: Callable[[Any], object], count: int) -> list[object]:
    """Return values in the order of the request, whatever order they came in; what is missing is None."""
    found = {entry["index"]: value(entry) for entry in entries}
    if len(found) != len(entries) or not found.keys() <= set(range(count)):
        raise IndexError("two rewards for one place, or one for none")
    return [found.get(place) for place in range(count)]


def _only(values: Any) -> object:
    """Return the one number of a list that must have one."""
    flat = values[0] if isinstance(values, list) and len(values) == 1 else values
    return flat[0] if isinstance(flat, list) and len(flat) == 1 else flat


def turns_sent(pair: Pair) -> list[Turn]:
    """Return a pair as the conversation that is rendered for a server."""
    return conversation(neutral(pair[0]), neutral(pair[1]))


DIALECTS: Mapping[str, DialectForm] = {
    "vllm": DialectForm("/pooling", 1, False, _chat_body, _pooled),
    "vllm-classify": DialectForm("/classify", 32, False, _classify_body, _classified),
    "sglang": DialectForm("/classify", 32, False, _sglang_body, _embedded),
    "rerank": DialectForm("/v1/rerank", 64, True, _rerank_body, _reranked),
}
"""Name in the settings -> how such a server is asked."""

RENDERED_HERE = frozenset({"vllm-classify", "sglang"})
"""Dialects that need the model's chat template."""
