"""Evidence made once per prompt where the data brings none: constraints, tests and references."""

from rlar_graph.made_evidence.evidence import make_evidence
from rlar_graph.made_evidence.made import KINDS, EvidenceKind, MadeEvidence

__all__ = ["KINDS", "EvidenceKind", "MadeEvidence", "make_evidence"]
