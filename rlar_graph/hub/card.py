"""The model card: what the Hub says of a repository at one commit, before any weight is downloaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
SHA = re.compile(r"[0-9a-f]{40}")
WEIGHTS = re.compile(r"model(?:-\d{5}-of-\d{5})?\.safetensors", re.ASCII)
CONFIG = "config.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)
"""Files of a tokenizer; with the configuration and the safetensors all that is ever downloaded."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository."""

    path: str
    """Path in the repository."""
    size: int | None
    """Bytes, if the Hub says."""
    sha256: str | None = None
    """Digest of its content, if the Hub says; it does of large files."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A repository at one commit."""

    repo: str
    """``owner/name``."""
    sha: str
    """Commit everything below is of."""
    licence: str | None = None
    """The licence its author names, lower case."""
    gated: bool = False
    """Whether somebody must accept terms first."""
    downloads: int = 0
    """Downloads of late."""
    likes: int = 0
    """Likes."""
    files: tuple[HubFile, ...] = ()
    """Its files."""
    config: Mapping[str, object] = field(default_factory=dict)
    """``config.json``."""
    problem: str | None = None
    """Why ``config.json`` could not be read."""

    @property
    def weights(self) -> tuple[HubFile, ...]:
        """Return the safetensors files that transformers loads; adapters and copies in other forms are left out."""
        return tuple(file for file in self.files if WEIGHTS.fullmatch(file.path))

    @property
    def needed(self) -> tuple[HubFile, ...]:
        """Return weights, configuration and tokenizer: all that is ever downloaded."""
        texts = tuple(file for file in self.files if file.path == CONFIG or file.path in TOKENIZER)
        return (*self.weights, *texts)

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all weights."""
        return sum(file.size or 0 for file in self.weights)

    @property
    def needed_bytes(self) -> int:
        """Return the bytes of all that is downloaded."""
        return sum(file.size or 0 for file in self.needed)

    @property
    def architecture(self) -> str:
        """Return the class its author saved it from."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def labels(self) -> int:
        """Return how many outputs its head has; like transformers, two where nothing is said."""
        named, number = self.config.get("id2label"), self.config.get("num_labels")
        if isinstance(named, Mapping):
            return len(named)
        return number if isinstance(number, int) else 2


def is_repo_id(text: str) -> bool:
    """Say whether a text has the form of a repository's name."""
    return REPO_ID.fullmatch(text) is not None and ".." not in text and "--" not in text
