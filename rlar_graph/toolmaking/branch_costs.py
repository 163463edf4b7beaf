"""What one branch uses of the language model, counted apart from the branches that run beside it."""

from __future__ import annotations

import time
from typing import Self

from rlar_graph.llm import LanguageModel
from rlar_graph.state import AcquireState, Cost


class Meter:
    """Counts what one step of a branch uses; the run's ledger and budget count it too.

    Args:
        llm: The run's language model.
    """

    def __init__(self, llm: LanguageModel) -> None:
        self._run, self._started = llm, time.perf_counter()
        self.llm = llm.for_run(llm.budget)
        """The model to ask in this step."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for role, usage in self.llm.ledger.snapshot().items():
            self._run.ledger.record(role, usage)

    def cost(self, state: AcquireState) -> Cost:
        """Return what the branch has used with this step."""
        used = self.llm.ledger.total()
        return added(state, used.calls, used.tokens, used.cost, time.perf_counter() - self._started)


def added(state: AcquireState, calls: int, tokens: int, money: float, seconds: float) -> Cost:
    """Return the branch's cost with a step added to it."""
    before = state.get("cost") or Cost(calls=0, tokens=0, money=0.0, seconds=0.0)
    return {
        "calls": before["calls"] + calls,
        "tokens": before["tokens"] + tokens,
        "money": before["money"] + money,
        "seconds": round(before["seconds"] + seconds, 3),
    }
