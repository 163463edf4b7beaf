"""Made evidence: what a verdict may rest on where the data brings nothing, with how sure it is and who made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

EvidenceKind: TypeAlias = Literal["constraints", "tests", "references"]
KINDS: tuple[EvidenceKind, ...] = ("constraints", "tests", "references")
"""Every kind, the hardest evidence a prompt can have first."""


@dataclass(frozen=True)
class MadeEvidence:
    """Evidence that was made for one prompt."""

    kind: EvidenceKind
    """What it is."""
    payload: Mapping[str, object]
    """Fields of a rollout, and under ``rubric`` what no checker covers."""
    agreement: float
    """Share of independent attempts that agree on it, in (0, 1]; 1 for rules."""
    made_by: str
    """``rules``, or the language model, or both."""

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> MadeEvidence:
        """Return what :meth:`to_json` wrote."""
        fields = json.loads(text)
        return cls(fields["kind"], fields["payload"], float(fields["agreement"]), fields["made_by"])

    @property
    def mark(self) -> dict[str, object]:
        """Return how a rollout's metadata marks it."""
        mark: dict[str, object] = {"agreement": self.agreement, "made_by": self.made_by}
        return mark | ({"rubric": self.payload["rubric"]} if self.payload.get("rubric") else {})


def key_of(*parts: str) -> str:
    """Return the hash under which evidence is cached: of the prompt, the prompt documents and the model."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
