"""The zygote: a trusted process that forks children for the trainer and never sees a payload.

It receives numbers and descriptors, forks, and passes the descriptors on unread. A zygote that looked at a payload
would leave it in the memory of every child it forks later, where a program finds it by scanning its own heap.
"""

from __future__ import annotations

import array
import builtins
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from rlar_graph.sandbox import candidate, grader, landlock, lockdown, probe, program, serve
from rlar_graph.sandbox.libc import PR_SET_PDEATHSIG, keep_freed_memory, prctl
from rlar_graph.sandbox.wire import SPAWN, SPAWNED, Kind

CONTROL, OWNER = 3, 4
"""The zygote's descriptors: the socket to the trainer, and the trainer's pidfd."""

_MAINS: dict[int, Callable[[list[int]], None]] = {
    Kind.WORKER: serve.main,
    Kind.CANDIDATE: candidate.main,
    Kind.GRADER: grader.main,
    Kind.PROGRAM: program.main,
    Kind.TOGETHER: grader.main_together,
    Kind.PROBE: probe.main,
}


@dataclass(frozen=True)
class Config:
    """What the trainer tells a zygote at its start."""

    path: list[str]
    """Directories to import from besides the standard library."""
    readable: list[str]
    """Files and directories children may read."""
    preload: list[str]
    """Modules to import before lockdown; one that is missing is passed over."""
    extra: list[str]
    """Modules to import besides where nothing can be imported later."""
    warm: str
    """Statements run after the imports, to fill their caches."""
    confine: bool
    """False for the ``unsafe`` engine."""


def main(text: str, control: int, owner: int) -> None:
    """Run a zygote until its trainer is gone.

    Args:
        text: The configuration, as JSON.
        control: Descriptor of the socket to the trainer.
        owner: The trainer's pidfd.
    """
    _place(control, owner)
    trainer = socket.socket(fileno=CONTROL)
    try:
        confinement = _prepare(Config(**json.loads(text)))
    except Exception as error:  # noqa: BLE001  the process edge: the trainer must learn why there is no zygote
        trainer.send(f"!the sandbox could not be confined: {type(error).__name__}: {error}".encode())
        os._exit(1)
    lines = [f"{name}\t{int(on)}\t{note}" for name, (on, note) in confinement.notes.items()]
    trainer.send("\n".join(lines).encode("utf-8", "replace")[:8000])
    _serve(trainer, confinement)


def _prepare(config: Config) -> lockdown.Confinement:
    """Import, warm up, lock down; what is left is a process small and blind enough to be forked."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the trainer, which then closes us
    # A trainer may ignore how its children end; we wait for ours.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = sys.orig_argv = [""]
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # where memory runs out, a program in the sandbox goes before the trainer
    # Programs expect what the site module, which we skip, would add.
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    _preload(config.preload)
    _warm(config.warm)
    serve.rehearse()
    keep_freed_memory()
    confinement = _confine(config)
    for name in [name for name in os.environ if not name.endswith("_NUM_THREADS")]:
        del os.environ[name]
    gc.collect()
    gc.disable()
    gc.freeze()
    return confinement


def _confine(config: Config) -> lockdown.Confinement:
    before = lockdown.look()
    if not config.confine:
        return lockdown.unconfined(before.mapped)
    notes = lockdown.isolate(config.readable)
    if not notes["mount namespace"][0] and landlock.abi() < 1:
        _preload(config.extra)
    return lockdown.confine(notes, config.readable, before)


def _place(control: int, owner: int) -> None:
    """Move the two descriptors to their places; either may sit in the other's."""
    spare = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in (control, owner)]
    for descriptor in (control, owner):
        os.close(descriptor)
    for descriptor, place in zip(spare, (CONTROL, OWNER), strict=True):
        os.dup2(descriptor, place)
        os.close(descriptor)


def _preload(names: list[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # not installed here: code that asks for it gets its own ImportError


def _warm(statements: str) -> None:
    try:
        exec(statements, {})  # noqa: S102  our own text, from flavours.py
    except ImportError:
        return


def _serve(control: socket.socket, confinement: lockdown.Confinement) -> None:
    poller = select.poll()
    poller.register(CONTROL, select.POLLIN)
    poller.register(OWNER, select.POLLIN)
    children: set[int] = set()
    me = os.getpid()
    while True:
        for ready, _ in poller.poll():
            if ready in children:
                children.discard(ready)
                poller.unregister(ready)
                _bury(ready)
                continue
            # The trainer's pidfd as well: a fork of the trainer may hold our socket open after its death.
            request = _receive(control) if ready == CONTROL else None
            if request is None:
                _end(children)
            else:
                handle = _spawn(control, confinement, *request, me)
                if handle is not None:
                    children.add(handle)
                    poller.register(handle, select.POLLIN)


def _receive(control: socket.socket) -> tuple[bytes, list[int]] | None:
    """One request and its descriptors; None when the trainer hung up."""
    try:
        message, ancillary, _, _ = control.recvmsg(SPAWN.size, socket.CMSG_SPACE(8 * 4))
    except OSError:
        return None
    descriptors = array.array("i")
    for _level, _type, received in ancillary:
        descriptors.frombytes(received[: len(received) - len(received) % 4])
    return (message, list(descriptors)) if message else None


def _bury(handle: int) -> None:
    """Reap a child at once, by its pidfd: neither a zombie nor a recycled pid is ever looked at."""
    os.waitid(os.P_PIDFD, handle, os.WEXITED)
    os.close(handle)


def _end(children: set[int]) -> NoReturn:
    """End every child and reap it: where the trainer is process 1 of a container, nobody else would."""
    for handle in children:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in children:
        _bury(handle)
    os._exit(0)


def _spawn(
    control: socket.socket, confinement: lockdown.Confinement, message: bytes, descriptors: list[int], me: int
) -> int | None:
    kind, memory_mb, cpu_seconds, _ = SPAWN.unpack(message)
    handle = None
    try:
        pid = os.fork()
        if pid == 0:
            _child(confinement, kind, memory_mb, cpu_seconds, descriptors, me)
        handle = os.pidfd_open(pid)
    except OSError as error:
        control.send(SPAWNED.pack(error.errno or 1))
    else:
        passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))
        control.sendmsg([SPAWNED.pack(0)], [passed])
    for descriptor in descriptors:
        os.close(descriptor)
    return handle


def _child(
    confinement: lockdown.Confinement,
    kind: int,
    memory_mb: int,
    cpu_seconds: int,
    descriptors: list[int],
    me: int,
) -> None:
    try:
        _keep_only(descriptors)
        lockdown.harden_child(confinement, Kind(kind), memory_mb, cpu_seconds, me)
        _MAINS[kind](descriptors)
    finally:
        os._exit(0)


def _keep_only(descriptors: list[int]) -> None:
    """Close what the zygote holds: its sockets, and the handles of this child's siblings."""
    edge = CONTROL
    for descriptor in sorted(descriptors):
        os.closerange(edge, descriptor)
        edge = descriptor + 1
    os.closerange(edge, 1 << 16)
