"""The search for reward models: names from four places, looked up on the Hub, and held to the gates.

**Order.** First the names the user gave, as given; then the catalogue, by the published figure that says most about the
domain; then the Hub's own list, by downloads; then the web's hits, in their order. The order decides what is measured
first, and measurement alone decides what is admitted. A repository that was found twice counts at its first place. What
the gates refuse is told with its reason and takes no place among those that are measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from rlar_graph.deadline import Fault
from rlar_graph.errors import ToolError
from rlar_graph.hardware import disk_free_bytes, network_bytes
from rlar_graph.hub import Hub, ModelCard, Terms, refusals
from rlar_graph.hub.card import is_repo_id
from rlar_graph.hub.catalogue import known, ranked
from rlar_graph.hub.websearch import query_for, repositories
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.model_adapters import adapter_of, is_encoder
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.model_store import can_run_here, hub_of, on_gpu
from rlar_graph.routing.signature import Signature
from rlar_graph.settings import Settings

CACHED = "reward_models"
"""Kind of the entries in the registry's cache."""
LOOKED_UP = 24
"""Repositories looked up for one family at most; each costs two requests."""
SILENT = 3
"""Look-ups in a row without an answer after which the Hub is left alone."""
LONGEST = 16_384


@dataclass(frozen=True, slots=True)
class Found:
    """A repository that was looked at."""

    repo: str
    """Its name."""
    origin: str
    """``user``, ``catalogue``, ``hub`` or ``web``."""
    sha: str = ""
    """The commit looked at; empty where it could not be looked up."""
    licence: str = ""
    """Its licence."""
    refused: str = ""
    """Why it is not tried; empty where it is."""
    source: str = ""
    """Source of the tool it would be, as JSON, not calibrated; empty where it was refused."""


@dataclass(frozen=True, slots=True)
class Search:
    """What came of a search."""

    found: tuple[Found, ...]
    """Everything that was looked at, best first, refused ones included."""
    faults: tuple[str, ...] = ()
    """What could not be asked."""
    date: str = ""
    """Day of the search."""

    @property
    def candidates(self) -> tuple[Found, ...]:
        """Return what may be tried."""
        return tuple(entry for entry in self.found if not entry.refused)

    @property
    def summary(self) -> str:
        """Return in a few words why there are not more candidates."""
        refused = [f"{entry.repo}: {entry.refused}" for entry in self.found if entry.refused]
        return "; ".join([*refused[:6], *self.faults]) or "none was found"

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Search:
        """Return the search of a JSON text that :meth:`to_json` wrote."""
        read = json.loads(text)
        found = tuple(Found(**entry) for entry in read["found"])
        return cls(found, tuple(read["faults"]), read["date"])


def search_models(signature: Signature, settings: Settings, registry: Registry) -> Search:
    """Return reward models that may serve a signature, the same ones all day: a search is kept with its date.

    Args:
        signature: What the prompts need.
        settings: Where to look, and what is allowed.
        registry: Keeps what was found.

    Raises:
        RegistryError: The registry cannot be read or written.
    """
    today = datetime.now(UTC).date().isoformat()
    key = _cache_key(signature, settings, today)
    kept = registry.cached(CACHED, key)
    if kept is not None:
        return Search.from_json(kept)
    made = replace(_search(signature, settings), date=today)
    if not made.faults and not registry.frozen:
        registry.cache(CACHED, key, made.to_json())
    return made


def _cache_key(signature: Signature, settings: Settings, today: str) -> str:
    asked = settings.model_dump(
        include={
            "reward_models",
            "reward_model_names",
            "reward_model_licences",
            "reward_model_candidates",
            "reward_model_memory_mb",
            "reward_model_dtype",
            "hub_endpoint",
        },
        mode="json",
    )
    text = json.dumps([today, signature.domain, signature.language, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _search(signature: Signature, settings: Settings) -> Search:
    hub = hub_of(settings)
    faults: list[str] = []
    terms = Terms(
        licences=frozenset(settings.reward_model_licences),
        # On a CPU, 16-bit weights are widened to 32 bits.
        memory_bytes=network_bytes(settings.reward_model_memory_mb) // (1 if on_gpu(settings) else 2),
        disk_bytes=disk_free_bytes(hub.folder),
        head=_head_problem,
    )
    found: dict[str, Found] = {}
    passed = silent = 0
    for origin, repo in _names(signature, settings, hub, faults.append):
        if passed >= settings.reward_model_candidates or len(found) >= LOOKED_UP:
            break
        if repo not in found:
            looked = found[repo] = look_at(repo, origin, hub, terms, settings.reward_model_dtype)
            passed += not looked.refused
            silent = 0 if looked.sha or "NotFound" in looked.refused else silent + 1
        if silent >= SILENT:
            faults.append(f"the Hub gave no answer {SILENT} times in a row")
            break
    return Search(tuple(found.values()), tuple(faults))


def _names(
    signature: Signature, settings: Settings, hub: Hub, fault: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """Yield (origin, name) in order; the next place is asked only when the ones before did not give enough."""
    for name in settings.reward_model_names:
        yield "user", name
    if settings.reward_models == "off":
        return
    for entry in ranked(signature.domain):
        yield "catalogue", entry.repo
    if settings.reward_models == "catalogue":
        return
    listed = hub.names()
    if isinstance(listed, Fault):
        fault(listed.reason)
    else:
        yield from (("hub", name) for name in listed)
    if settings.reward_models == "web":
        hits = repositories(query_for(signature.domain), seconds=settings.hub_seconds)
        yield from (("web", name) for name in hits)


def look_at(repo: str, origin: str, hub: Hub, terms: Terms, dtype: str = "auto") -> Found:
    """Return what the gates say of a repository, by the Hub's own metadata at one commit."""
    if not is_repo_id(repo):
        return Found(repo, origin, refused="it is no name of a repository")
    entry = known(repo)
    card = hub.card(repo, entry.revision if entry else None)
    if isinstance(card, Fault):
        return Found(repo, origin, refused=card.reason)
    reasons = refusals(card, terms)
    if reasons:
        return Found(repo, origin, card.sha, card.licence or "", "; ".join(reasons))
    source = ModelSource(
        repo=repo,
        sha=card.sha,
        adapter=_adapter_name(card),
        form="pair" if is_encoder(card) else "chat",
        max_length=min(entry.context, LONGEST) if entry else LONGEST,
        dtype=dtype,
        licence=card.licence or "",
        files=card.needed,
    )
    return Found(repo, origin, card.sha, source.licence, source=source.to_json())


def _adapter_name(card: ModelCard) -> str:
    entry = known(card.repo)
    return entry.adapter if entry else "scalar"


def _head_problem(card: ModelCard) -> str | None:
    """Return why no adapter reads a model's head, or None."""
    try:
        return adapter_of(_adapter_name(card)).refuses(card)
    except ToolError as error:
        return str(error)


def served_model(settings: Settings) -> Found | str | None:
    """Return the model on the configured server as a candidate, why it cannot be one, or None without a server."""
    name = settings.rm_server_model
    if settings.rm_server_url is None:
        return None
    if name is None:
        return (
            "rm_server_url needs rm_server_model beside it (RLAR_RM_SERVER_MODEL): the name of a model there"
        )
    template = ""
    if settings.rm_server_dialect in ("vllm-classify", "sglang"):
        read = _template_of(name, hub_of(settings))
        if isinstance(read, Fault):
            return f"a {settings.rm_server_dialect} server needs the chat template of {name}: {read.reason}"
        template = read
    source = ModelSource.from_json(
        json.dumps({"repo": name, "sha": "", "server": settings.rm_server_dialect, "template": template})
    )
    return Found(name, "user", source=source.to_json())


def _template_of(repo: str, hub: Hub) -> str | Fault:
    """Return the chat template in a repository's tokenizer files."""
    card = hub.card(repo) if is_repo_id(repo) else Fault("it is no name of a repository")
    folder = card if isinstance(card, Fault) else hub.tokenizer_files(card)
    if isinstance(folder, Fault):
        return folder
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    read = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    template = read.get("chat_template") if isinstance(read, dict) else None
    return template if isinstance(template, str) else Fault("it has none")


def nothing_to_run(settings: Settings) -> bool:
    """Say whether there is neither a server nor a cluster nor torch: then no search is worth its time."""
    elsewhere = settings.rm_server_url is not None or settings.reward_model_replicas > 0
    return not elsewhere and not can_run_here()
