"""A deadline for calls that have none of their own: what is late or breaks is a fault in words, not an exception.

The clients of the Hub and of the web retry by themselves (a dead hub costs 23 s), and each raises errors of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

ResultT = TypeVar("ResultT")
MESSAGE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call gave nothing."""

    reason: str
    """In words, in one line."""


def within(seconds: float, what: str, call: Callable[[], ResultT]) -> ResultT | Fault:
    """Return what a call returns, or the fault: it raised, or it was not done in time.

    A call that is late is left alone; it ends by itself and does not keep the process from ending.

    Args:
        seconds: How long to wait.
        what: What is asked, for the fault's words.
        call: The call.
    """
    done: queue.SimpleQueue[ResultT | Fault] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(call())
        except Exception as error:  # noqa: BLE001 - an edge: foreign clients raise what they like, and all of it is a fault
            said = " ".join(str(error).split())[:MESSAGE_CHARS]
            done.put(Fault(f"{what}: {type(error).__name__}: {said}"))

    threading.Thread(target=run, daemon=True, name=f"rlar {what}"[:40]).start()
    try:
        return done.get(timeout=seconds)
    except queue.Empty:
        return Fault(f"{what}: no answer within {seconds:g} s")
