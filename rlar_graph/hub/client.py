"""The client of the Hub: names, cards and files, each under a deadline of our own, pinned to commits.

No token is ever sent: a repository that needs one is refused by the gates, and the endpoint may be a mirror.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import partialmethod
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlar_graph.deadline import Fault, within
from rlar_graph.hub.card import CONFIG, TOKENIZER, HubFile, ModelCard
from rlar_graph.hub.gates import INDEX, read_config

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CONFIG_BYTES = 1_000_000
LISTED = 60


class Hub:
    """What is asked of the Hub.

    Args:
        endpoint: Address of the Hub or of a mirror; None for the usual one.
        cache: Folder for downloads; None for the usual one.
        seconds: Longest wait for a search or a card.
        download_seconds: Longest wait for a model's files.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        cache: str | None = None,
        *,
        seconds: float = 10.0,
        download_seconds: float = 3_600.0,
    ) -> None:
        self.endpoint, self.seconds, self.download_seconds = endpoint, seconds, download_seconds
        self.cache = cache

    @property
    def folder(self) -> Path:
        """Folder that downloads go to."""
        if self.cache is not None:
            return Path(self.cache)
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE)

    def names(self) -> tuple[str, ...] | Fault:
        """Return repositories that say they are reward models, the most downloaded first."""

        def ask() -> tuple[str, ...]:
            api = self._api()
            lists = [
                api.list_models(
                    search="reward", pipeline_tag="text-classification", sort="downloads", limit=LISTED
                ),
                api.list_models(filter="reward-model", sort="downloads", limit=LISTED),
            ]
            found = {model.id: model for some in lists for model in some}
            ranked = sorted(
                found.values(), key=lambda model: (-(model.downloads or 0), -(model.likes or 0), model.id)
            )
            return tuple(model.id for model in ranked)

        return within(self.seconds, "the Hub's list of reward models", ask)

    def reached(self, seconds: float) -> Fault | None:
        """Return None if the Hub answers in time, else why it does not."""

        def ask() -> None:
            from huggingface_hub import constants

            if constants.HF_HUB_OFFLINE:
                raise ConnectionError("HF_HUB_OFFLINE is set")
            next(iter(self._api().list_models(limit=1)), None)

        return within(seconds, "the Hub", ask)

    def card(self, repo: str, revision: str | None = None) -> ModelCard | Fault:
        """Return what the Hub says of a repository at a revision, which the card turns into a commit."""

        def ask() -> ModelCard:
            told = self._api().model_info(repo, revision=revision, files_metadata=True)
            return _card(repo, told)

        card = within(self.seconds, f"the card of {repo}", ask)
        if isinstance(card, Fault):
            return card
        return within(self.seconds, f"config.json of {repo}", lambda: self._with_config(card))

    def download(self, card: ModelCard) -> Path | Fault:
        """Return the folder with a model's weights, configuration and tokenizer at the card's commit."""
        wanted = [INDEX, *(file.path for file in card.needed)]
        return self._files(card.repo, card.sha, wanted, local=False)

    def local(self, repo: str, sha: str) -> Path | None:
        """Return the folder of a commit that was downloaded before; asks nobody."""
        found = self._files(repo, sha, ["*.safetensors", CONFIG], local=True)
        return None if isinstance(found, Fault) else found

    def tokenizer_files(self, card: ModelCard) -> Path | Fault:
        """Return the folder with a model's tokenizer files alone."""
        return self._files(card.repo, card.sha, list(TOKENIZER), local=False)

    def _files(self, repo: str, sha: str, wanted: Iterable[str], *, local: bool) -> Path | Fault:
        def fetch() -> Path:
            from huggingface_hub import snapshot_download

            return Path(
                snapshot_download(
                    repo,
                    revision=sha,
                    allow_patterns=list(wanted),
                    cache_dir=self.cache,
                    endpoint=self.endpoint,
                    token=False,
                    local_files_only=local,
                    tqdm_class=_silent_bar(),
                )
            )

        return within(self.download_seconds, f"the files of {repo} at {sha[:12]}", fetch)

    def _with_config(self, card: ModelCard) -> ModelCard:
        """Return the card with its ``config.json``, or with what is wrong with that."""
        from dataclasses import replace

        from huggingface_hub import hf_hub_download

        size = next((file.size for file in card.files if file.path == CONFIG), None)
        if size is None or size > CONFIG_BYTES:
            return replace(
                card, problem="it has no config.json" if size is None else "its config.json is too large"
            )
        path = hf_hub_download(
            card.repo,
            CONFIG,
            revision=card.sha,
            cache_dir=self.cache,
            endpoint=self.endpoint,
            token=False,
        )
        read = read_config(Path(path).read_text(encoding="utf-8", errors="replace"))
        return replace(card, problem=read) if isinstance(read, str) else replace(card, config=read)

    def _api(self) -> HfApi:
        # Without it the client announces what it runs on, and asks for Xet tokens no mirror has.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        # It tells of every retry; what came of them is told by the fault.
        logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=False)


def _silent_bar() -> Any:
    """Return the client's progress bar, never shown: what a library prints is not ours to show."""
    bar: Any = import_module("huggingface_hub.utils").tqdm
    return type("Silent", (bar,), {"__init__": partialmethod(bar.__init__, disable=True)})


def _card(repo: str, told: Any) -> ModelCard:
    """Return what a ``ModelInfo`` says, with nothing taken for granted."""
    files = tuple(
        HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs is not None else None)
        for file in told.siblings or ()
    )
    return ModelCard(
        repo=repo,
        sha=str(told.sha or ""),
        licence=_licence(told),
        gated=bool(told.gated),
        downloads=int(told.downloads or 0),
        likes=int(told.likes or 0),
        files=files,
    )


def _licence(told: Any) -> str | None:
    """Return the licence that the card's data or a tag names."""
    named = told.card_data.get("license") if told.card_data is not None else None
    if not isinstance(named, str):
        tags = [tag for tag in told.tags or () if isinstance(tag, str) and tag.startswith("license:")]
        named = tags[0].partition(":")[2] if tags else None
    return named.lower() if named else None
