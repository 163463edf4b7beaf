"""Where processes of one user meet: a private folder with a socket per engine, and how an engine is started there.

An engine is named after everything that decides its scores, so that processes with the same settings find the same
one. Whoever finds none starts it under the folder's lock: the socket listens before the process is there, which is
why eight processes that start at once get one engine and wait for nothing but its first word. Paths lead through the
folder's descriptor: it is checked once and cannot be exchanged afterwards, and a socket's 108 bytes are always enough.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeAlias

import rlar_graph
from rlar_graph.errors import EngineError
from rlar_graph.machine.mine import mine, unforked
from rlar_graph.machine.name import engine_name, revealed, settings_for_engine
from rlar_graph.settings import Settings

Mark: TypeAlias = tuple[int, int]
"""Tells one socket of a name from a later one: inode and time of its making."""

CREDENTIALS = struct.Struct("3i")
BACKLOG = 4096
LOCK_SECONDS = 20.0
LINE_SECONDS = 30.0
"""Longest wait for an engine whose line is full."""
ELSEWHERE = "set XDG_RUNTIME_DIR or TMPDIR to a folder of yours, or RLAR_ENGINE=own"
ELSE = "RLAR_ENGINE=own does without it"
_BOOT = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, ())
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
if os.fork():
    os._exit(0)
from rlar_graph.machine.process import main
main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
"""


@dataclass(frozen=True, slots=True)
class Meeting:
    """The engine that processes with the same settings meet at."""

    settings: Settings
    """What it runs with, see :func:`settings_for_engine`."""
    name: str
    """Names it among the engines of a user; made so that it gives nothing of the settings away."""

    @classmethod
    def at(cls, settings: Settings) -> Meeting:
        """Return the meeting for a process's settings."""
        settings = settings_for_engine(settings)
        return cls(settings, engine_name(settings))

    def connect(self) -> tuple[socket.socket, Mark]:
        """Return a connection to the engine, which is started if there is none, and the mark of its socket.

        Raises:
            EngineError: The folder is not this user's alone, or the engine cannot be started.
        """
        try:
            with open_folder() as folder:
                found = self._connected(folder)
                if found is None:
                    with locked(folder):
                        found = self._connected(folder)
                        if found is None:
                            self._start(folder)
                            found = self._connected(folder)
        except OSError as error:
            raise EngineError(f"the engine of this machine cannot be reached: {error}; {ELSE}") from error
        if found is None:
            raise EngineError("the engine of this machine ended while it was started")
        return found

    def abandon(self, mark: Mark) -> None:
        """Take an engine that does not answer out of reach; it ends when it finds itself without users."""
        try:
            with open_folder() as folder, locked(folder):
                if mark_of(folder, self.name) == mark:
                    os.unlink(f"{self.name}.sock", dir_fd=folder)
        except OSError as error:
            raise EngineError(f"the engine of this machine cannot be replaced: {error}") from error

    def _connected(self, folder: int) -> tuple[socket.socket, Mark] | None:
        """Return a connection, waiting where too many others do; None where there is nobody to connect to."""
        until = time.monotonic() + LINE_SECONDS
        while (mark := mark_of(folder, self.name)) is not None:
            link = mine(partial(socket.socket, socket.AF_UNIX))
            try:
                link.setblocking(False)
                link.connect(path_of(folder, self.name))
                if peer_of(link) != os.geteuid():
                    raise EngineError("the engine of this machine belongs to somebody else")
            except (
                FileNotFoundError,
                ConnectionRefusedError,
            ):  # it ended; the lock's holder clears up after it
                link.close()
                return None
            except BlockingIOError:
                link.close()
                if time.monotonic() >= until:
                    raise
                time.sleep(0.05)
            except BaseException:
                link.close()
                raise
            else:
                return link, mark
        return None

    def _start(self, folder: int) -> None:
        """Start the engine: its socket first, then the process, as nobody's child."""
        name = f"{self.name}.sock"
        if mark_of(folder, self.name) is not None:
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(f"{self.name}.log", flags, 0o600, dir_fd=folder)
        try:
            with mine(partial(socket.socket, socket.AF_UNIX)) as listener:
                listener.bind(path_of(folder, self.name))
                listener.listen(BACKLOG)
                self._execute(folder, listener.fileno(), log)
        finally:
            os.close(log)

    def _execute(self, folder: int, listener: int, log: int) -> None:
        root = str(Path(rlar_graph.__file__).parents[1])
        known = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RLAR_")}
        # A process that closed its standard streams has ours in their place, where the child has its own.
        above = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3) for each in (listener, folder)]
        try:
            with mine(self._said) as said, unforked():
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-P", "-c", _BOOT, *map(str, above), self.name],
                    stdin=said,
                    stdout=log,
                    stderr=log,
                    pass_fds=above,
                    cwd=f"/proc/self/fd/{above[1]}",
                    start_new_session=True,
                    env={**environment, "PYTHONPATH": os.pathsep.join([root, *known])},
                )
        finally:
            for each in above:
                os.close(each)
        if process.wait():
            raise EngineError(
                f"the engine of this machine could not be started (status {process.returncode})"
            )

    def _said(self) -> FileIO:
        """Return the settings in a file without a name: of a pipe, a forked child's copy would hide the end."""
        said = FileIO(os.memfd_create("settings"), "r+")
        said.write(json.dumps(revealed(self.settings)).encode())
        said.seek(0)
        return said


@contextmanager
def open_folder() -> Iterator[int]:
    """Open the folder where this user's processes meet; it is made if there is none.

    Raises:
        EngineError: Somebody else owns it, others may enter it, or nothing can be made in it.
    """
    path = _folder()
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise EngineError(f"{path} cannot be made: {error.strerror}; {ELSEWHERE}") from error
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise EngineError(
            f"{path} is no folder of ours: {error.strerror}; remove it, or set TMPDIR"
        ) from error
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise EngineError(
                f"{path} is not this user's alone (owner {found.st_uid}, mode"
                f" {stat.S_IMODE(found.st_mode):o}): remove it, or set XDG_RUNTIME_DIR or TMPDIR"
            )
        try:
            _lock_of(folder).close()
        except OSError as error:
            raise EngineError(f"nothing can be made in {path}: {error.strerror}; {ELSEWHERE}") from error
        yield folder
    finally:
        os.close(folder)


def _folder() -> str:
    """Return the folder's path: in the session's runtime folder where there is one, else per user where files pass.

    A runtime folder of somebody else's came with ``sudo``, and a folder made there would lock its owner out.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK) and os.stat(runtime).st_uid == os.geteuid():
        return os.path.join(runtime, "rlar")
    try:
        return os.path.join(tempfile.gettempdir(), f"rlar-{os.geteuid()}")
    except OSError as error:
        raise EngineError(f"there is no folder to meet in: {error.strerror}; {ELSEWHERE}") from error


def _lock_of(folder: int) -> FileIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return mine(
        lambda: FileIO("lock", "r+", opener=lambda name, _: os.open(name, flags, 0o600, dir_fd=folder))
    )


@contextmanager
def locked(folder: int, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the folder's lock: who holds it may make and remove sockets.

    Args:
        folder: The folder.
        seconds: Longest wait for it.

    Raises:
        BlockingIOError: Somebody else holds it all that time.
    """
    until = time.monotonic() + seconds
    with _lock_of(folder) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    path = os.readlink(f"/proc/self/fd/{folder}")
                    held = f"{path}/lock was held for {seconds:g} s, by a stopped process?"
                    raise BlockingIOError(error.errno, held) from error
                time.sleep(0.01)
        yield


def path_of(folder: int, name: str) -> str:
    """Return the path of an engine's socket, which leads through the folder's descriptor."""
    return f"/proc/self/fd/{folder}/{name}.sock"


def mark_of(folder: int, name: str) -> Mark | None:
    """Return the mark of an engine's socket, or None where there is none."""
    try:
        found = os.stat(f"{name}.sock", dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def peer_of(link: socket.socket) -> int:
    """Return the user at the other end of a connection."""
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    uid: int = CREDENTIALS.unpack(credentials)[1]
    return uid
