"""Where processes of one user meet: a private folder with a socket per engine, and how an engine is started there.

An engine is named after everything that decides its scores, so that processes with the same settings find the same
one. Whoever finds none starts it under the folder's lock: the socket listens before the process is there, which is
why eight processes that start at once get one engine and wait for nothing but its first word. Paths lead through the
folder's descriptor: it is checked once and cannot be exchanged afterwards, and a socket's 108 bytes are always enough.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
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
from pathlib import Path
from typing import TypeAlias

from pydantic import SecretStr

import rlar_graph
from rlar_graph.errors import EngineError
from rlar_graph.settings import Settings

Mark: TypeAlias = tuple[int, int]
"""Tells one socket of a name from a later one: inode and time of its making."""

ASIDE = frozenset(
    {"engine", "engine_grace_seconds", "engine_silent_seconds", "neutral_reward", "server_token"}
)
"""Settings that decide nothing about a score."""
CREDENTIALS = struct.Struct("3i")
BACKLOG = 4096
MOST_WORKERS = 32
LOCK_SECONDS = 20.0
_RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!/|:memory:|file:|\?|$)(.*)", re.DOTALL)
_BOOT = """
import os, sys
if os.fork():
    os._exit(0)
from rlar_graph.machine.process import main
main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
"""


def settings_for_engine(settings: Settings) -> Settings:
    """Return the settings a shared engine runs with: they hold wherever it is started, and for more than one.

    Paths become absolute. Unless the settings say how, tools are sought in the background (nobody waits for a language
    model that somebody else's prompt needs), and there is a worker for every second core.
    """
    update: dict[str, object] = {"engine": "own", "server_token": None}
    found = _RELATIVE.fullmatch(settings.registry_url)
    if found:
        update["registry_url"] = f"{found[1]}{os.path.abspath(found[2])}"
    if settings.hub_cache is not None:
        update["hub_cache"] = os.path.abspath(settings.hub_cache)
    if "acquire" not in settings.model_fields_set:
        update["acquire"] = "background"
    if "workers" not in settings.model_fields_set:
        cores = len(os.sched_getaffinity(0))
        update["workers"] = max(settings.workers, min(MOST_WORKERS, cores // 2))
    return settings.model_copy(update=update)


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
        said = {name: value for name, value in revealed(settings).items() if name not in ASIDE}
        place = [rlar_graph.__version__, str(Path(rlar_graph.__file__).parent), sys.prefix, *_paths_hold_in()]
        decisive = json.dumps([said, place], sort_keys=True).encode()
        # The settings hold passwords and the name is seen in logs: it must be dear to guess from.
        digest = hashlib.scrypt(decisive, salt=b"rlar-graph engine", n=4096, r=8, p=1, dklen=16)
        return cls(settings, digest.hex())

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
            raise EngineError(f"the engine of this machine cannot be reached: {error}") from error
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
        mark = mark_of(folder, self.name)
        if mark is None:
            return None
        link = socket.socket(socket.AF_UNIX)
        try:
            link.setblocking(False)
            link.connect(path_of(folder, self.name))
            if peer_of(link) != os.geteuid():
                raise EngineError("the engine of this machine belongs to somebody else")
        except (FileNotFoundError, ConnectionRefusedError):  # it ended; the lock's holder clears up after it
            link.close()
            return None
        except BaseException:
            link.close()
            raise
        return link, mark

    def _start(self, folder: int) -> None:
        """Start the engine: its socket first, then the process, as nobody's child."""
        name = f"{self.name}.sock"
        if mark_of(folder, self.name) is not None:
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log = os.open(f"{self.name}.log", flags, 0o600, dir_fd=folder)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path_of(folder, self.name))
                listener.listen(BACKLOG)
                self._execute(folder, listener.fileno(), log)
        finally:
            os.close(log)

    def _execute(self, folder: int, listener: int, log: int) -> None:
        root = str(Path(rlar_graph.__file__).parents[1])
        known = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RLAR_")}
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-c", _BOOT, str(listener), str(folder), self.name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener, folder],
            cwd=f"/proc/self/fd/{folder}",
            start_new_session=True,
            env={**environment, "PYTHONPATH": os.pathsep.join([root, *known])},
        )
        process.communicate(json.dumps(revealed(self.settings)).encode())
        if process.returncode:
            raise EngineError(
                f"the engine of this machine could not be started (status {process.returncode})"
            )


def revealed(settings: Settings) -> dict[str, object]:
    """Return settings as plain values, secrets in clear: for the engine's standard input only."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.model_dump().items()
    }


def _paths_hold_in() -> tuple[str, ...]:
    """Return what names the machine and its view of files: in another one a registry's path is another registry's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, os.readlink("/proc/self/ns/mnt")
    except OSError:  # no /proc to speak of
        return (socket.gethostname(),)


@contextmanager
def open_folder() -> Iterator[int]:
    """Open the folder where this user's processes meet; it is made if there is none.

    Raises:
        EngineError: Somebody else owns it, or others may enter it.
    """
    path = _folder()
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise EngineError(
            f"{path} cannot be made: {error.strerror}; set XDG_RUNTIME_DIR or TMPDIR"
        ) from error
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
        yield folder
    finally:
        os.close(folder)


def _folder() -> str:
    """Return the folder's path: in the session's runtime folder where there is one, else per user where files pass."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return os.path.join(runtime, "rlar")
    return os.path.join(tempfile.gettempdir(), f"rlar-{os.geteuid()}")


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
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(lock)


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
