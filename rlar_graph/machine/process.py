"""The engine of a machine: one reward function behind one line, for every process that connects.

It lives as long as somebody is connected, and a short grace longer. Its event loop does nothing but pass frames on, so
it goes on saying that it is alive while tools are at work; a client may take silence for a stopped process. A client
that sends rubbish, or goes away in the middle of a request, loses its own connection and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial

from rlar_graph import __version__
from rlar_graph.errors import RlarError
from rlar_graph.machine import frames, rendezvous
from rlar_graph.machine.frames import Rubbish
from rlar_graph.microbatch import Microbatch, Rows
from rlar_graph.reward import AgentReward
from rlar_graph.settings import Settings

log = logging.getLogger(__name__)

ALIVE_SECONDS = 0.5
"""How often clients that wait are told that the engine is alive."""
PENDING_BYTES = 64 << 20
"""Bytes of one client's unanswered requests after which no more of it is read."""
LOG_BYTES = 1 << 20
ENDING_SECONDS = 10.0
"""After that long the end is forced; what the kernel closes, worker processes notice."""


class Connection(asyncio.Protocol):
    """One client.

    Args:
        host: The engine.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._frames = frames.Frames()
        self._pending: dict[int, tuple[Future[Rows], int]] = {}
        self._bytes = 0
        self._full = self._paused = False
        self.transport: asyncio.Transport | None = None

    @property
    def waits(self) -> bool:
        """Whether an answer is due."""
        return bool(self._pending)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket's
        self.transport = transport
        self._host.connections.add(self)
        transport.write(frames.framed(frames.HELLO, __version__, os.getpid()))

    def data_received(self, data: bytes) -> None:
        """Take requests."""
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except Rubbish as problem:
            log.warning("a client is let go, it sent rubbish: %s", problem)
            assert self.transport is not None  # noqa: S101 - data came through it
            self.transport.abort()

    def _take(self, frame: bytes) -> None:
        """Put a request in line, or answer at once what is wrong with it."""
        kind, *rest = frames.message_in(frame)
        if kind != frames.SCORE or len(rest) != 3:
            raise Rubbish(f"no request: {str(kind)[:40]!r}")
        number, step, rows = rest
        if type(number) is not int or number in self._pending or not isinstance(step, int | None):
            raise Rubbish("a request without a number of its own")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise Rubbish("a request without rollouts")
        try:
            future = self._host.line.submit([frames.rollout_in(row) for row in rows], step=step)
        except (RlarError, RuntimeError) as error:
            self.answer({number: frames.framed(frames.ERROR, number, *frames.error_fields(error))})
            return
        self._pending[number] = (future, len(frame))
        self._bytes += len(frame)
        self._pace()
        future.add_done_callback(partial(self._host.done, self, number))

    def answer(self, answers: Mapping[int, bytes]) -> None:
        """Send answers, by the number of the request, if the client is still there."""
        for number in answers:
            _, size = self._pending.pop(number, (None, 0))
            self._bytes -= size
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(answers.values()))
            self._pace()

    def reassure(self) -> None:
        """Say that the engine is alive, if the client waits."""
        if self.waits and self.transport is not None and not self._full:
            self.transport.write(frames.framed(frames.ALIVE))

    def pause_writing(self) -> None:
        """Read no more of a client that does not take its answers."""
        self._full = True
        self._pace()

    def resume_writing(self) -> None:
        """Read on."""
        self._full = False
        self._pace()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget a client, and take what it still has in line out of it."""
        self._host.connections.discard(self)
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            future.cancel()

    def _pace(self) -> None:
        """Read only of clients whose unanswered requests are within the limit."""
        assert self.transport is not None  # noqa: S101 - it is connected
        pause = self._full or self._bytes > PENDING_BYTES
        if pause != self._paused and not self.transport.is_closing():
            self._paused = pause
            (self.transport.pause_reading if pause else self.transport.resume_reading)()


class Host:
    """The engine's event loop.

    Args:
        settings: What to score with.
        listener: The listening socket.
        folder: The folder it lies in, as a descriptor.
        name: The engine's name there.
    """

    def __init__(self, settings: Settings, listener: socket.socket, folder: int, name: str) -> None:
        self.settings = settings
        self.connections: set[Connection] = set()
        self._reward = AgentReward(settings)
        self.line = Microbatch(self._reward.score)
        self._listener, self._folder, self._name = listener, folder, name
        self._mark = rendezvous.mark_of(folder, name)
        self._welcomes: set[asyncio.Task[None]] = set()
        self._answers: deque[tuple[Connection, int, bytes]] = deque()
        self._woken = False
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Serve until nobody is connected any more, or the process is told to end."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTERM, self._ended.set)
        self._listener.setblocking(False)
        self._listener.listen(rendezvous.BACKLOG)
        self._listen()
        watch = self._loop.create_task(self._watch())
        await self._ended.wait()
        watch.cancel()
        self._loop.remove_reader(self._listener)
        with suppress(OSError):
            self._retire(whatever=True)
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)

    def done(self, connection: Connection, number: int, future: Future[Rows]) -> None:
        """Make the answer of a request, in the thread that scored it, and hand it to the loop."""
        try:
            answer = frames.framed(frames.SCORES, number, frames.score_rows(future.result()))
        except CancelledError:
            return
        except BaseException as error:
            if not isinstance(error, RlarError):
                log.error("a request failed", exc_info=error)
            answer = frames.framed(frames.ERROR, number, *frames.error_fields(error))
        self._answers.append((connection, number, answer))
        if not self._woken:  # once for all that are done by then
            self._woken = True
            with suppress(RuntimeError):  # the loop is at its end, and so is the client
                self._loop.call_soon_threadsafe(self._send)

    def close(self) -> None:
        """End the reward function and every process of it."""
        self.line.close()
        self._reward.close()

    def _send(self) -> None:
        self._woken = False
        answers: dict[Connection, dict[int, bytes]] = {}
        while self._answers:
            connection, number, answer = self._answers.popleft()
            answers.setdefault(connection, {})[number] = answer
        for connection, theirs in answers.items():
            connection.answer(theirs)

    def _accept(self) -> bool:
        """Take a client in, if it is of the same user; say whether there was one."""
        try:
            link, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return False
        except OSError as error:  # out of descriptors: the client waits in line until some are free
            log.warning("a client has to wait: %s", error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(ALIVE_SECONDS, self._listen)
            return False
        if rendezvous.peer_of(link) not in {os.geteuid(), 0}:
            log.warning("a client of another user is let go")
            link.close()
            return True
        link.setblocking(False)
        welcome = self._loop.create_task(self._welcome(link))
        self._welcomes.add(welcome)
        welcome.add_done_callback(self._welcomes.discard)
        return True

    def _listen(self) -> None:
        """Take clients in as they come, unless the end has come first."""
        if self._listener.fileno() >= 0 and not self._ended.is_set():
            self._loop.add_reader(self._listener, self._accept)

    async def _welcome(self, link: socket.socket) -> None:
        await self._loop.connect_accepted_socket(partial(Connection, self), link)

    async def _watch(self) -> None:
        """Reassure those who wait, bound the log, and end once nobody was there for the grace."""
        last_user = time.monotonic()
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            for connection in list(self.connections):
                connection.reassure()
            if os.fstat(sys.stderr.fileno()).st_size > LOG_BYTES:
                os.ftruncate(sys.stderr.fileno(), 0)
            if self.connections:
                last_user = time.monotonic()
            elif time.monotonic() - last_user >= self.settings.engine_grace_seconds and self._retire():
                self._ended.set()
                return

    def _retire(self, *, whatever: bool = False) -> bool:
        """Take the socket away, unless somebody is about to connect; say whether that was done."""
        try:
            with rendezvous.locked(self._folder, 0):
                if not whatever and self._accept():
                    return False
                if rendezvous.mark_of(self._folder, self._name) == self._mark:
                    os.unlink(f"{self._name}.sock", dir_fd=self._folder)
                    if os.fstat(sys.stderr.fileno()).st_size == 0:
                        os.unlink(f"{self._name}.log", dir_fd=self._folder)
        except BlockingIOError:
            return False
        except OSError as error:  # somebody cleared the folder away, and nobody finds us any more
            log.warning("the engine's folder cannot be used: %s", error)
        self._listener.close()
        return True


def main(listener: int, folder: int, name: str) -> None:
    """Be an engine.

    Args:
        listener: Descriptor of the listening socket.
        folder: Descriptor of the folder it lies in.
        name: The engine's name there.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings(**json.load(sys.stdin))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    host = Host(settings, socket.socket(fileno=listener), folder, name)
    try:
        asyncio.run(host.serve())
    finally:
        ending = threading.Thread(target=host.close, daemon=True)
        ending.start()
        ending.join(ENDING_SECONDS)
        logging.shutdown()
        os._exit(0)
