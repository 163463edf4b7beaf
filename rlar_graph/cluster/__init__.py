"""Work on the machines of a Ray cluster: the connection to it, actors kept at their number, batches spread over them.

Importing this package imports no Ray; the first use does.
"""

from rlar_graph.cluster.connection import join
from rlar_graph.cluster.fleet import Fleet
from rlar_graph.cluster.spread import Lost, Pace, Part, spread

__all__ = ["Fleet", "Lost", "Pace", "Part", "join", "spread"]
