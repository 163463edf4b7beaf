"""The trainer's handle on one zygote: start it, ask it for children, end it.

The trainer is never forked: it may hold a CUDA context and threads. The zygote is executed by a keeper thread of its
own, because the kernel's parent-death signal follows the *thread* that started a process, and a sandbox opened in a
short-lived thread would lose its zygote when that thread ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass

from rlar_graph.errors import SandboxClosed, SandboxError, SandboxUnavailable
from rlar_graph.sandbox import flavours
from rlar_graph.sandbox.base import Layer
from rlar_graph.sandbox.memory import sealed_file
from rlar_graph.sandbox.plain import pack
from rlar_graph.sandbox.wire import PROBE_MAGIC, PROBED, SPAWN, SPAWNED, Kind

# The environment is ours alone, so -E is not needed; with a fixed hash seed the same verifier gives the same score in
# every run, even where it depends on the order of a set.
_SWITCHES = ("-P", "-s", "-S", "-B", "-X", "utf8")
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    **{f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR")},
}
_READY_SECONDS = 30.0
_PROBE_MB = 256
_BOOT = """
import json, sys, types
sys.path += json.loads(sys.argv[2])["path"]
for name, path in (("rlar_graph", []), ("rlar_graph.sandbox", [sys.argv[1]])):
    module = types.ModuleType(name)
    module.__path__ = path
    sys.modules[name] = module
from rlar_graph.sandbox.zygote import main
main(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


@dataclass(frozen=True)
class Child:
    """A process the zygote forked for us."""

    handle: int
    """Its pidfd: readable once it has ended, and the only way we signal it."""

    def kill(self) -> None:
        """End it now; nothing happens where it has ended already."""
        try:
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self, seconds: float) -> bool:
        """Wait for its end; say whether it came."""
        poller = select.poll()
        poller.register(self.handle, select.POLLIN)
        return bool(poller.poll(max(0.0, seconds) * 1000))

    def close(self) -> None:
        """Let go of the handle."""
        os.close(self.handle)


class Zygote:
    """One running zygote. Safe to share between threads."""

    def __init__(self, flavour: str, *, confine: bool) -> None:
        """Start a zygote and attack it.

        Args:
            flavour: What it preloads, see :mod:`rlar_graph.sandbox.flavours`.
            confine: False for the ``unsafe`` engine.

        Raises:
            SandboxUnavailable: It did not start, or the self-test got through a layer.
        """
        self._lock = threading.Lock()
        self._closed = False
        self._is_dead = False
        self._owner = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        command = self._command(flavour, confine)
        try:
            self._start(command, theirs)
            self.layers = self._greet()
            self.escaped = self._attack() if confine else ("everything: no confinement was asked for",)
            if confine and self.escaped:
                raise SandboxUnavailable(f"code in the sandbox could still {', '.join(self.escaped)}")
        except OSError as error:
            self.close()
            raise SandboxUnavailable(f"the sandbox could not be started: {error}") from error
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _command(flavour: str, confine: bool) -> list[str]:
        config = {
            "path": flavours.import_path(),
            "readable": flavours.readable(),
            "preload": flavours.preloads(flavour),
            "extra": flavours.sealed_preloads(flavour),
            "warm": flavours.warm_up(flavour),
            "confine": confine,
        }
        here = os.path.dirname(os.path.abspath(__file__))
        return [sys.executable, *_SWITCHES, "-c", _BOOT, here, json.dumps(config)]

    def _start(self, command: list[str], theirs: socket.socket) -> None:
        started = threading.Event()
        problems: list[OSError] = []

        def keep() -> None:
            owner = os.pidfd_open(os.getpid())
            try:
                # Shell-free plumbing: the zygote finds its socket at 3 and its owner at 4 whatever their numbers here.
                process = _execute(command, theirs.fileno(), owner)
            except OSError as error:
                problems.append(error)
                started.set()
                self._ended.set()
                return
            finally:
                os.close(owner)
                theirs.close()
            self._process = process
            started.set()
            process.wait()
            self._ended.set()

        threading.Thread(target=keep, name="rlar-sandbox-keeper", daemon=True).start()
        started.wait()
        if problems:
            raise SandboxUnavailable(
                f"the sandbox's zygote could not be executed: {problems[0]}"
            ) from problems[0]

    def _greet(self) -> tuple[Layer, ...]:
        self._control.settimeout(_READY_SECONDS)
        try:
            text = self._control.recv(8192).decode("utf-8", "replace")
        except OSError as error:
            raise SandboxUnavailable(
                f"the sandbox's zygote was not ready in {_READY_SECONDS:.0f} s"
            ) from error
        if not text:
            raise SandboxUnavailable(
                "the sandbox's zygote ended at its start: a layer below the minimum is missing"
            )
        if text.startswith("!"):
            raise SandboxUnavailable(text[1:])
        rows = [line.split("\t") for line in text.split("\n")]
        return tuple(Layer(name, on == "1", note) for name, on, note in rows)

    def _attack(self) -> tuple[str, ...]:
        from rlar_graph.sandbox.probe import ATTACKS

        with tempfile.TemporaryDirectory(prefix="rlar-probe-") as directory:
            os.chmod(directory, 0o755)  # noqa: S103  the sandbox must keep it closed, not the file's mode
            secret = os.path.join(directory, "secret")
            with open(secret, "w") as file:
                file.write("planted")
            os.chmod(secret, 0o644)
            target = {"secret": secret, "directory": directory, "pid": os.getpid(), "memory_mb": _PROBE_MB}
            reader, writer = os.pipe()
            try:
                child = self.spawn_files(Kind.PROBE, _PROBE_MB, 0, [sealed_file(pack(target))], [writer])
                os.close(writer)
                poller = select.poll()
                poller.register(reader, select.POLLIN)
                found = os.read(reader, PROBED.size) if poller.poll(_READY_SECONDS * 1000) else b""
                child.kill()
                child.close()
            finally:
                os.close(reader)
        if len(found) != PROBED.size or PROBED.unpack(found)[0] != PROBE_MAGIC:
            raise SandboxUnavailable("the sandbox's self-test did not report")
        mask = PROBED.unpack(found)[1]
        return tuple(name for bit, name in enumerate(ATTACKS) if mask >> bit & 1)

    def spawn_files(
        self, kind: Kind, memory_mb: int, cpu_seconds: int, owned: list[int], shared: list[int]
    ) -> Child:
        """As :meth:`spawn`, with descriptors that are closed here afterwards (``owned``) before those that are not."""
        try:
            return self.spawn(kind, memory_mb, cpu_seconds, [*owned, *shared])
        finally:
            for descriptor in owned:
                os.close(descriptor)

    def spawn(self, kind: Kind, memory_mb: int, cpu_seconds: int, descriptors: list[int]) -> Child:
        """Ask for a child.

        Args:
            kind: What it is for.
            memory_mb: MiB of address space beyond the interpreter's.
            cpu_seconds: Seconds of CPU after which the kernel ends it; 0 for no limit.
            descriptors: Passed to the child in this order.

        Raises:
            SandboxClosed: The zygote is closed.
            SandboxError: The zygote is gone or could not fork.
        """
        request = SPAWN.pack(kind, memory_mb, cpu_seconds, 0)
        if os.getpid() != self._owner:
            raise SandboxError("this sandbox was opened before a fork: open one in each process")
        # One frame and its answer at a time: interleaved frames of two threads would hand one the other's child.
        with self._lock:
            if self._closed:
                raise SandboxClosed("the sandbox is closed")
            try:
                socket.send_fds(self._control, [request], descriptors, socket.MSG_NOSIGNAL)
                answer, handles, _, _ = socket.recv_fds(self._control, SPAWNED.size, 1)
            except OSError as error:
                self._is_dead = True
                raise SandboxError(f"the sandbox's zygote does not answer: {error}") from error
        if len(answer) != SPAWNED.size or not handles:
            self._is_dead = not answer
            code = SPAWNED.unpack(answer)[0] if len(answer) == SPAWNED.size else 0
            raise SandboxError(
                f"the sandbox's zygote gave no child: {os.strerror(code) if code else 'it ended'}"
            )
        return Child(handles[0])

    @property
    def pid(self) -> int:
        """Its process, or the one that waits for it."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not (self._closed or self._is_dead or self._ended.is_set())

    def close(self) -> None:
        """End the zygote and, with it, every child."""
        if os.getpid() != self._owner:
            return  # a fork of the trainer holds a copy of us; the zygote is not its to end
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._control.close()
        process = self._process
        if process is not None and not self._ended.wait(1.0):
            process.kill()
            self._ended.wait(1.0)


def _execute(command: list[str], control: int, owner: int) -> subprocess.Popen[bytes]:
    """Execute ``command`` with ``control`` and ``owner`` as its descriptors 3 and 4, and nothing else of ours."""
    # subprocess keeps descriptor numbers, so the child is told where they are and moves them itself.
    told = [*command, str(control), str(owner)]
    return subprocess.Popen(  # noqa: S603  our own interpreter, no shell
        told,
        env=_ENVIRONMENT,
        cwd="/",
        pass_fds=(control, owner),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
