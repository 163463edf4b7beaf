"""The language model: the one way in which the library asks one anything."""

from rlar_graph.llm.ledger import Budget, Ledger, Price, Usage
from rlar_graph.llm.model import LanguageModel

__all__ = ["Budget", "LanguageModel", "Ledger", "Price", "Usage"]
