"""A shared engine in trouble, for tests of what each trainer makes of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rlar_graph.adapters.shared import score_items
from tests.machine.conftest import SUM, Place
from tests.patience import PATIENCE

TASK = "Write a function f."
TESTS = ["assert f() == 1"]
LABEL = json.dumps({"tests": TESTS})
SLOW = "```python\nimport time\n\ndef f():\n    time.sleep(1.2)\n    return 1\n```"
"""A program that passes, and takes long enough for something to happen meanwhile."""
ENDLESS = "```python\ndef f():\n    while True:\n        pass\n```"
SETTINGS = {
    "RLAR_ENGINE": "machine",
    "RLAR_ENGINE_GRACE_SECONDS": "0.5",
    "RLAR_ENGINE_SILENT_SECONDS": "4",
    "RLAR_CODE_SECONDS": "5",
    "RLAR_WORKERS": "8",
}


def warmed(place: Place) -> int:
    """Return the engine that this process uses, started and ready."""
    assert score_items([SUM])[0][0].value == 1.0
    (engine,) = place.engines()
    return engine


@contextmanager
def killing(place: Place, times: int = 1) -> Iterator[None]:
    """Kill the engine while what is within waits for it; twice: also the one that takes its place."""
    killed = {warmed(place)}
    first = next(iter(killed))

    def kill() -> None:
        time.sleep(0.4)
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + PATIENCE
        while len(killed) < times and time.monotonic() < end:
            for engine in set(place.engines()) - killed:
                time.sleep(0.2)
                with suppress(ProcessLookupError):
                    os.kill(engine, signal.SIGKILL)
                killed.add(engine)

    killer = threading.Thread(target=kill)
    killer.start()
    yield
    killer.join()
    assert len(killed) == times


@contextmanager
def stopping(place: Place) -> Iterator[None]:
    """Stop the engine, so that it is there and says nothing."""
    engine = warmed(place)
    os.kill(engine, signal.SIGSTOP)
    yield
    with suppress(ProcessLookupError):
        os.kill(engine, signal.SIGCONT)


def forbid(place: Place) -> None:
    """Make it impossible to have an engine: the folder is open to others."""
    place.meeting.mkdir(exist_ok=True)
    place.meeting.chmod(0o755)
