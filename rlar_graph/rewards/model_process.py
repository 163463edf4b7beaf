"""A network in a process of its own, seen from outside: started, asked, and ended when it is late or done.

The trainer's process imports no torch and survives whatever the network does: a crash, a hang, a full memory.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlar_graph.errors import ToolError
from rlar_graph.rewards.reading import Reading

PASSED_ON = (
    "PATH",
    "LANG",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "OMP_NUM_THREADS",
    "TMPDIR",
)
SETTLED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
    "USER": "rlar",
}
PAIRS_AT_ONCE = 1_024
"""Pairs in one request, each of which has the deadline for itself."""
STDERR_CHARS = 300
ENDING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What to load, and how."""

    folder: str
    """Where the files are."""
    adapter: str
    """How its head is read."""
    form: str
    """``chat`` or ``pair``."""
    max_length: int
    """Most tokens of a sequence."""
    memory_bytes: int
    """Most memory of the process, or of it on the GPU."""
    dtype: str = "auto"
    """``auto``, ``bfloat16`` or ``float32``."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    tokens: int | None = None
    """Most tokens of a batch, padding included; None for what suits the device."""
    exact: bool | None = None
    """Whether 16-bit floats read each sequence alone; None: on a CPU."""


class ModelGone(ToolError):
    """The process ended, or was ended because it was late."""


class ModelLate(ModelGone):
    """The process was ended because it was late; another try would cost the wait once more."""


class ModelProcess:
    """A loaded network. Safe to share between threads, which take turns.

    Args:
        order: What to load.
        seconds: Longest wait for one answer.

    Raises:
        ToolError: It could not be loaded.
    """

    def __init__(self, order: LoadOrder, *, seconds: float = 600.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._rest = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        root = Path(__file__).resolve().parents[2]
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._home = tempfile.TemporaryDirectory(prefix="rlar-model-")
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "rlar_graph.rewards.model_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**environment, **SETTLED, "HOME": self._home.name, "PYTHONPATH": str(root)},
            cwd=self._home.name,
            start_new_session=True,
        )
        try:
            self.told: Mapping[str, Any] = self._ask({"do": "load", **asdict(order)})
        except BaseException:
            self.close()
            raise
        self.halved = 0
        """How often a batch was halved because memory was full."""
        self.batches = 0
        """Batches of the last call."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Return one reading per (prompt, completion).

        Raises:
            ModelGone: The process ended.
            ModelLate: It was too late, and is ended.
            ToolError: It failed at this request and goes on.
        """
        readings: list[Reading] = []
        batches = 0
        with self._lock:
            for start in range(0, len(pairs), PAIRS_AT_ONCE):
                told = self._ask({"do": "read", "pairs": list(pairs[start : start + PAIRS_AT_ONCE])})
                readings += map(Reading, told["raw"], told["why"], told["dropped"])
                self.halved, batches = told["halved"], batches + told["batches"]
        self.batches = batches
        return readings

    def close(self) -> None:
        """End the process; may be called twice."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            with suppress(OSError):  # it hung up first
                self._child.stdin.close()
        try:
            self._child.wait(ENDING_SECONDS if self._child.poll() is None else 0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        if not self._errors.closed:
            self._errors.close()
            self._home.cleanup()

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send one request and return the answer."""
        stdin = self._child.stdin
        assert stdin is not None  # noqa: S101 - it was opened as a pipe
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
            line = self._line(time.monotonic() + self._seconds)
        except (BrokenPipeError, ValueError) as error:
            raise ModelGone(f"the model's process has ended{self._last_words()}") from error
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ToolError(f"the model could not be used: {answer['error']}")
        return answer

    def _line(self, deadline: float) -> bytes:
        """Return one line of the process; one that is too late ends with it."""
        stdout = self._child.stdout
        assert stdout is not None  # noqa: S101 - it was opened as a pipe
        found = [self._rest]
        while b"\n" not in found[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                self._child.kill()
                self._child.wait()
                raise ModelLate(f"the model gave no answer within {self._seconds:g} s, and was ended")
            part = os.read(stdout.fileno(), 1 << 20)
            if not part:
                self._child.wait()
                raise ModelGone(f"the model's process has ended{self._last_words()}")
            found.append(part)
        line, _, self._rest = b"".join(found).partition(b"\n")
        return line

    def _last_words(self) -> str:
        """Return how it ended and the end of what it printed."""
        code = self._child.poll()
        if self._errors.closed:
            return ""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - STDERR_CHARS))
        said = " ".join(self._errors.read().decode("utf-8", "replace").split())
        return f" (status {code}): {said}" if said else f" (status {code})"
