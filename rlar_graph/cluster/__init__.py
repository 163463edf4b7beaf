"""Work on the machines of a Ray cluster: the connection to it, actors kept at their number, batches spread over them.

Importing this package imports no Ray; the first use does.
"""

from rlar_graph.cluster.connection import cluster_gpus, join, node_id
from rlar_graph.cluster.fleet import START_SECONDS, Fleet
from rlar_graph.cluster.spread import Lost, Pace, Part, spread

__all__ = ["START_SECONDS", "Fleet", "Lost", "Pace", "Part", "cluster_gpus", "join", "node_id", "spread"]
