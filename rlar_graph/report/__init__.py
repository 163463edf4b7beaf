"""The report: a registry as one HTML page that needs nothing else, for a person who watches a run."""

from rlar_graph.report.facts import Facts, gather
from rlar_graph.report.page import render

__all__ = ["Facts", "gather", "render"]
