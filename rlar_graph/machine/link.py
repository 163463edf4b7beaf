"""A client's connection to an engine: bytes both ways, and the end of patience with one that says nothing."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from typing import Any

from rlar_graph.machine import frames
from rlar_graph.machine.frames import Frames, Rubbish
from rlar_graph.machine.rendezvous import Mark

OUT_BYTES = 16 << 20
"""Bytes that wait to be sent, after which no more are taken."""
RECEIVE_BYTES = 1 << 18
START_SECONDS = 30.0
"""How long an engine may take to its first word, if it may be silent for less: it may have to be started."""


class Gone(Exception):
    """The engine is not there any more, or says nothing.

    Args:
        problem: What happened.
        silent: Whether it is there, but says nothing.
    """

    def __init__(self, problem: str, *, silent: bool = False) -> None:
        super().__init__(problem)
        self.silent = silent


class Link:
    """One connection, owned by one thread.

    Args:
        connected: The socket.
        mark: Tells the engine from a later one of its name.
        silent_seconds: How long the engine may say nothing while an answer is due.
    """

    def __init__(self, connected: socket.socket, mark: Mark, silent_seconds: float) -> None:
        self.mark = mark
        self._socket, self._silent_seconds = connected, silent_seconds
        self._frames, self._out = Frames(), bytearray()
        self._greeted = False
        self._heard = time.monotonic()

    @property
    def has_room(self) -> bool:
        """Whether more may be sent."""
        return len(self._out) < OUT_BYTES

    def send(self, framed: bytes) -> None:
        """Have a frame sent in the next turns."""
        self._out += framed

    def turn(self, bell: int, *, due: bool) -> list[list[Any]]:
        """Wait until something comes or goes or the bell rings; return what came.

        Args:
            bell: An eventfd that others ring.
            due: Whether an answer is due.

        Raises:
            Gone: The engine ended, or was silent for too long.
        """
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        patience = self._silent_seconds if self._greeted else max(START_SECONDS, self._silent_seconds)
        left = self._heard + patience - time.monotonic()
        events = dict(poll.poll(max(0.0, left) * 1000 if due else None))
        if not due:  # who is asked nothing owes no word
            self._heard = time.monotonic()
        if bell in events:
            hush(bell)
        came: list[list[Any]] = []
        try:
            if self._out and events.get(self._socket.fileno(), 0) & select.POLLOUT:
                del self._out[: self._socket.send(memoryview(self._out)[:RECEIVE_BYTES])]
            if events.get(self._socket.fileno(), 0) & ~select.POLLOUT:
                came = self._receive()
        except OSError as error:
            raise Gone(f"ended: {error.strerror or error}") from error
        if due and not came and time.monotonic() - self._heard > patience:
            raise Gone(f"said nothing for {patience:g} s", silent=True)
        return came

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self) -> list[list[Any]]:
        received = self._socket.recv(RECEIVE_BYTES)
        if not received:
            raise Gone("ended" if self._greeted else "ended before it said a word (its log says more)")
        self._heard = time.monotonic()
        try:
            messages = [frames.message_in(frame) for frame in self._frames.feed(received)]
        except Rubbish as problem:
            raise Gone(f"sent rubbish: {problem}") from problem
        self._greeted = self._greeted or bool(messages)
        return messages


def hush(bell: int) -> None:
    """Silence a bell that may have rung."""
    with suppress(BlockingIOError):
        os.eventfd_read(bell)
