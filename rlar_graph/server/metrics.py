"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from rlar_graph.types import Score

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of request times, in seconds."""


class Metrics:
    """Counters of one server; touched by its event loop only."""

    def __init__(self) -> None:
        self.pending_requests = 0
        self.pending_bytes = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._completions: Counter[str] = Counter()
        self._abstentions: Counter[str] = Counter()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests[route, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(BOUNDS) + 1))
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def scored(self, scores: Iterable[Score]) -> None:
        """Count the completions of one request."""
        for score in scores:
            tool = score.tool or ""
            self._completions[tool] += 1
            if score.value is None:
                self._abstentions[tool] += 1

    def render(self) -> str:
        """Return everything as Prometheus reads it."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("rlar_requests_total", "counter", "Requests answered, by route and status.")
        for (route, status), count in sorted(self._requests.items()):
            yield f'rlar_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("rlar_request_seconds", "histogram", "Time to answer a request, by route.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip([*map(str, BOUNDS), "+Inf"], buckets, strict=True):
                total += count
                yield f'rlar_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}'
            yield f'rlar_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'rlar_request_seconds_count{{route="{route}"}} {total}'
        for name, counter, what in (
            ("rlar_completions_total", self._completions, "Completions scored or abstained on, by tool."),
            ("rlar_abstentions_total", self._abstentions, "Completions without a value, by tool."),
        ):
            yield from _head(name, "counter", what)
            for tool, count in sorted(counter.items()):
                yield f'{name}{{tool="{_escaped(tool)}"}} {count}'
        yield from _head("rlar_pending_requests", "gauge", "Requests in the making.")
        yield f"rlar_pending_requests {self.pending_requests}"
        yield from _head("rlar_pending_bytes", "gauge", "Bytes of the bodies in the making.")
        yield f"rlar_pending_bytes {self.pending_bytes}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
