"""Inside a worker: the line to the trainer, and ``run_code``, the one thing a verifier may ask of it.

A verifier must not run a completion itself: the completion would share its process. It asks the trainer, which runs the
program in processes of its own and tells how many tests passed. The request is bytes that the trainer passes on unread.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Sequence

from rlar_graph.sandbox.plain import pack
from rlar_graph.sandbox.wire import ASK, ASK_BYTES, ASK_HEAD, ASKED, DONE, DOORBELL, REPLY_SLOT

_Frame = tuple[int, int, int, int]


class Bell:
    """The worker's end of the line."""

    def __init__(self, descriptor: int, shared: mmap.mmap) -> None:
        self._descriptor, self._shared = descriptor, shared
        self._waiting: deque[_Frame] = deque()

    def next(self) -> _Frame | None:
        """The next batch; None when the trainer hung up."""
        return self._waiting.popleft() if self._waiting else self._read()

    def done(self) -> None:
        """Say that the oldest batch is done."""
        os.write(self._descriptor, DONE)

    def _read(self) -> _Frame | None:
        frame = os.read(self._descriptor, DOORBELL.size)
        return DOORBELL.unpack(frame) if len(frame) == DOORBELL.size else None

    def run_code(self, code: str, tests: str | Sequence[str], entry_point: str | None = None) -> float:
        """Run a program against tests it cannot see, in processes of its own.

        Args:
            code: The program, a completion say.
            tests: Python with a ``check`` function or asserts, or a list of assert statements.
            entry_point: Name of the function under test.

        Returns:
            The fraction of tests passed; 0.0 for a program that crashes, hangs or cannot be loaded.

        Raises:
            RuntimeError: The tests could not be run; that says nothing about the program.
        """
        text = tests if isinstance(tests, str) else "\n".join(tests)
        program, job = code.encode("utf-8", "surrogatepass"), pack(["text", text, entry_point or ""])
        if ASK_HEAD.size + len(program) + len(job) > ASK_BYTES:
            raise RuntimeError(f"program and tests take more than {ASK_BYTES >> 20} MiB")
        request = ASK_HEAD.pack(len(program), len(job)) + program + job
        self._shared[ASK : ASK + len(request)] = request
        os.write(self._descriptor, ASKED)
        while (frame := self._read()) is not None:
            if frame[0] == REPLY_SLOT:
                break
            self._waiting.append(frame)  # a batch that was already on its way
        if frame is None or frame[1] > 1:
            raise RuntimeError("the tests could not be run")
        return frame[2] / frame[3] if frame[1] == 0 and frame[3] else 0.0
