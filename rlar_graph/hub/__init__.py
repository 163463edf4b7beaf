"""The Hub, as far as reward models need it: what a repository says of itself, what keeps it out, and its files.

Nothing a repository holds is run. Its README is never read; its metadata, ``config.json`` and weights are data.
"""

from __future__ import annotations

from rlar_graph.hub.card import HubFile, ModelCard
from rlar_graph.hub.client import Hub
from rlar_graph.hub.gates import Terms, refusals

__all__ = ["Hub", "HubFile", "ModelCard", "Terms", "refusals"]
