"""Admission: the gate a reward tool passes before it may score, and the report of it."""

from rlar_graph.admission.checks import Requirements
from rlar_graph.admission.gate import admit
from rlar_graph.admission.report import AdmissionReport, Check, Failure

__all__ = ["AdmissionReport", "Check", "Failure", "Requirements", "admit"]
