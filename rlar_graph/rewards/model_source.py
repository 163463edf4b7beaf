"""The source of a reward model: everything that decides its scores, as JSON that the registry keeps.

A commit and the digests of its weights, how the head is read and the text is rendered, and the calibration. Two tools
of one source say the same; another commit, form or calibration is another version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, TypeAlias

from rlar_graph.errors import InputError
from rlar_graph.hub.card import HubFile
from rlar_graph.rewards.calibration import Calibration

Form: TypeAlias = Literal["chat", "pair"]
Dialect: TypeAlias = Literal["vllm", "vllm-classify", "sglang", "rerank"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a reward model is."""

    repo: str
    """Repository on the Hub, or the model's name on the server."""
    sha: str
    """Commit; empty for a model on a server that does not say."""
    adapter: str = "scalar"
    """How its head is read; see :mod:`rlar_graph.rewards.model_adapters`."""
    form: Form = "chat"
    """``chat``: the chat template renders the conversation; ``pair``: prompt and completion are two texts."""
    max_length: int = 4_096
    """Most tokens it reads."""
    dtype: str = "auto"
    """``auto``, ``bfloat16`` or ``float32``."""
    licence: str = ""
    """Licence that its author names."""
    files: tuple[HubFile, ...] = ()
    """Its weights, configuration and tokenizer, with sizes, and digests of the weights."""
    server: Dialect | None = None
    """What the server speaks that runs it; None where it runs here."""
    template: str = ""
    """Chat template, where the server does not apply it."""
    family: str = ""
    """Family it was admitted for."""
    signature: str = ""
    """Signature it was admitted for."""
    calibration: Calibration = field(default_factory=Calibration)
    """From raw rewards to values."""

    @property
    def network(self) -> str:
        """Return what the network is without family and calibration, so that tools can share it."""
        bare = replace(self, family="", signature="", calibration=Calibration())
        return hashlib.sha256(bare.to_json().encode()).hexdigest()

    @property
    def label(self) -> str:
        """Return its name for people."""
        where = f" at {self.sha[:12]}" if self.sha else ""
        return f"{self.repo}{where}{f' on a {self.server} server' if self.server else ''}"

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of its weights as stored."""
        return sum(file.size or 0 for file in self.files if file.path.endswith(".safetensors"))

    def to_json(self) -> str:
        """Return it as JSON, the same for the same source."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSource:
        """Return the source of a JSON text.

        Raises:
            InputError: It is no source of a reward model.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(ModelSource).validate_json(text)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise InputError(f"is no source of a reward model: {said}", field="source") from error
