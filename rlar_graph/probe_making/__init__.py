"""Probes for a family that no tool covers: from its data, from a language model, from users and from before."""

from rlar_graph.probe_making.family import family_probes, shortage
from rlar_graph.probe_making.keeping import keep
from rlar_graph.probe_making.sides import visible

__all__ = ["family_probes", "keep", "shortage", "visible"]
