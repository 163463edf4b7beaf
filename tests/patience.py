"""Bounds that tell working from broken, and never a fast machine from a slow one.

Tests run where the processor is a tenth of ours or shared with others. So nothing here is a figure that a healthy
machine needs: each bound is many times that, and far below what the fault it is for would take.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 60.0
"""Seconds to wait for what a healthy machine does in a few, and a broken one never."""
LINEAR_SECONDS = 30.0
"""Processor time for work on a megabyte: linear work needs less than one second, quadratic work an hour."""
COMMAND_SECONDS = 250.0
"""Longest run of a command that ends by itself."""
HANG_SECONDS = 300.0
"""How long a test has something hang that must not be waited for."""
TOO_LONG = "this work grows faster than its text"


def _stop(*_: object) -> None:
    raise AssertionError(TOO_LONG)


@contextmanager
def linear(seconds: float = LINEAR_SECONDS) -> Iterator[None]:
    """Fail if what is done within takes the processor so long that it cannot have been linear.

    It is stopped then, so that nobody waits for the end of a catastrophic pattern.
    """
    started, before = time.process_time(), signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - started < seconds, TOO_LONG


@contextmanager
def prompt(seconds: float = PATIENCE) -> Iterator[None]:
    """Fail if what is done within waited for something that hangs for :data:`HANG_SECONDS`."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds, "it waited for what should have been given up"


def until(claim: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a claim holds."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
