"""Web search for reward models that the catalogue lacks: it gives names of repositories, and no name is believed.

Only the address of a hit is read, never its title or text; what looks like a repository is then looked up on the Hub
and goes through the same gates as everything else. What is asked are the words of a domain, never a prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from rlar_graph.deadline import Fault, within

log = logging.getLogger(__name__)

HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
NOT_OWNERS = frozenset(
    {
        "api",
        "blog",
        "collections",
        "datasets",
        "docs",
        "learn",
        "models",
        "papers",
        "posts",
        "spaces",
        "tasks",
    }
)
HITS = 20


def query_for(domain: str) -> str:
    """Return what is asked for a domain."""
    return f"best reward model for {domain} site:huggingface.co"


def repositories(query: str, *, seconds: float = 10.0, backend: str = "auto") -> tuple[str, ...]:
    """Return names of repositories among the hits of a web search, in their order; none where the search fails.

    Args:
        query: What to ask.
        seconds: Longest wait.
        backend: Search engine of ``ddgs``.
    """

    def ask() -> list[str]:
        from ddgs import DDGS

        found = DDGS(timeout=max(1, int(seconds))).text(query, max_results=HITS, backend=backend)
        return [str(hit.get("href", "")) for hit in found]

    hits = within(seconds, "web search", ask)
    if isinstance(hits, Fault):
        # An engine that is busy, blocked or empty says the same thing: no results.
        log.info("%s", hits.reason)
        return ()
    return names_in(hits)


def names_in(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the names of repositories that addresses of the Hub point to, each once."""
    found: dict[str, None] = {}
    for address in addresses:
        try:
            parts = urlsplit(address)
        except ValueError:
            continue
        path = [part for part in parts.path.split("/") if part]
        is_hub = parts.scheme in ("http", "https") and (parts.hostname or "") in HOSTS
        if is_hub and len(path) >= 2 and path[0] not in NOT_OWNERS:
            found[f"{path[0]}/{path[1]}"] = None
    return tuple(found)
