"""Fakes at the seams to the outside world, for our tests and yours: a scripted chat model, a hub, a pooling server.

The chat model is here; the others are in :mod:`~rlar_graph.testing.hub`, :mod:`~rlar_graph.testing.models` and
:mod:`~rlar_graph.testing.pooling`.
"""

from rlar_graph.testing.chat import (
    Answer,
    ChatRequest,
    Line,
    Lines,
    Script,
    ScriptedChatServer,
    ScriptedModel,
    cut_off,
    failing,
    fenced,
    malformed,
    refusing,
    scripted_model,
    thinking,
    truncated,
)

__all__ = [
    "Answer",
    "ChatRequest",
    "Line",
    "Lines",
    "Script",
    "ScriptedChatServer",
    "ScriptedModel",
    "cut_off",
    "failing",
    "fenced",
    "malformed",
    "refusing",
    "scripted_model",
    "thinking",
    "truncated",
]
