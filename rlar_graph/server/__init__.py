"""The HTTP server: scoring for trainers in other processes, and for those that only speak HTTP.

``app`` is what ``uvicorn rlar_graph.server:app`` and ``http.app`` in ``langgraph.json`` name. Nothing is opened before
it is started.
"""

from rlar_graph.server.application import app, create_app
from rlar_graph.server.options import ServerOptions

__all__ = ["ServerOptions", "app", "create_app"]
