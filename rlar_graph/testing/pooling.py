"""Public fakes: a server of reward models over real HTTP, with the routes of vLLM, SGLang and rerankers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlar_graph.testing.http import LocalServer, Reply, json_reply


class PoolingStandIn(LocalServer):
    """A server of reward models that speaks the routes of vLLM, SGLang and rerankers.

    Args:
        reward: Reward of a text; for a conversation of its last turn.
        model: The model's name.
    """

    def __init__(self, reward: Callable[[str], float], model: str = "served") -> None:
        self._reward, self.model = reward, model
        self.bodies: list[tuple[str, Mapping[str, Any]]] = []
        """Route and body of every request up to now."""
        self.headers: list[Mapping[str, str]] = []
        """Their headers."""
        self.faults: list[Reply] = []
        """Answers to give first, one a request."""
        self.spoilt: Callable[[str], bool] = lambda text: False
        """Says which texts are answered with status 500, however often they are asked."""
        self.delay = 0.0
        """Seconds before every answer."""
        self._guard = threading.Lock()
        super().__init__()

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Answer as the server of the route does."""
        if method == "GET" and path == "/v1/models":
            self.closing.wait(self.delay)
            return json_reply({"object": "list", "data": [{"id": self.model, "object": "model"}]})
        asked = json.loads(body)
        with self._guard:
            self.bodies.append((path, asked))
            self.headers.append(headers)
            fault = self.faults.pop(0) if self.faults else None
        self.closing.wait(self.delay)
        if fault is not None:
            return fault
        texts = _texts_of(path, asked)
        if texts is None or method != "POST":
            return json_reply({"detail": "Not Found"}, 404)
        if asked.get("model") != self.model:
            return json_reply(
                {"error": {"message": f"The model {asked.get('model')!r} does not exist."}}, 404
            )
        if any(self.spoilt(text) for text in texts):
            return json_reply({"error": {"message": "EngineDeadError"}}, 500)
        return json_reply(_shaped(path, asked, [self._reward(text) for text in texts]))


def _texts_of(path: str, asked: Mapping[str, Any]) -> list[str] | None:
    """Return the texts of a request, or None where there is no such route or body."""
    if path == "/pooling" and isinstance(asked.get("messages"), list):
        return [asked["messages"][-1]["content"]]
    named = {
        "/pooling": "input",
        "/classify": "text" if "text" in asked else "input",
        "/v1/rerank": "documents",
    }
    found = asked.get(named.get(path, ""))
    if isinstance(found, str):
        return [found]
    return found if isinstance(found, list) else None


def _shaped(path: str, asked: Mapping[str, Any], values: Sequence[float]) -> object:
    """Return rewards in the form of a route."""
    if path == "/classify" and "text" in asked:
        return [{"embedding": [value], "meta_info": {"id": "0", "prompt_tokens": 5}} for value in values]
    head: dict[str, Any] = {"id": "pool-0", "model": asked.get("model"), "created": int(time.time())}
    if path == "/v1/rerank":
        order = sorted(range(len(values)), key=lambda place: -values[place])
        return head | {"results": [{"index": place, "relevance_score": values[place]} for place in order]}
    if path == "/classify":
        entries = [
            {"index": place, "label": "LABEL_0", "probs": [value], "num_classes": 1}
            for place, value in enumerate(values)
        ]
        return head | {"object": "list", "data": entries}
    entries = [{"index": place, "object": "pooling", "data": [value]} for place, value in enumerate(values)]
    return head | {"object": "list", "data": entries}
