"""Lockdown: the layers put on the zygote once, then what each child adds after the fork."""

from __future__ import annotations

import gc
import os
import resource
import signal
from dataclasses import dataclass

from rlar_graph.sandbox import landlock, libc, namespaces
from rlar_graph.sandbox.seccomp import Filter, base_filter, child_filter
from rlar_graph.sandbox.syscalls import AUDIT_ARCH, MACHINE
from rlar_graph.sandbox.wire import Kind

NOBODY = 65534
_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7
_STACK = 64 << 20
_CHILD_FILES = 64

Notes = dict[str, tuple[bool, str]]
"""Layers by name: in force or not, and why."""


@dataclass
class Confinement:
    """What :func:`confine` put in force, kept for the children."""

    notes: Notes
    """Every layer tried."""
    filters: dict[bool, Filter]
    """The children's filters, by whether descriptors may be passed to them; empty when unconfined."""
    mapped: int
    """Bytes of address space the zygote had mapped: a child's limit is counted from here."""


@dataclass(frozen=True)
class Before:
    """What must be read while /proc can still be seen."""

    mapped: int
    """Bytes of address space mapped."""
    capabilities: int
    """The effective capabilities, as a mask."""


def look() -> Before:
    """Read what the layers below need to know."""
    with open("/proc/self/status") as file:
        found = dict(line.split(":", 1) for line in file if ":" in line)
    return Before(int(found["VmSize"].split()[0]) << 10, int(found["CapEff"], 16))


def isolate(readable: list[str]) -> Notes:
    """Enter namespaces where there are any; return in the process that will be the zygote."""
    try:
        how = namespaces.enter()
    except OSError as error:
        return {
            "namespaces": (False, str(error)),
            "mount namespace": (False, "no namespaces"),
        }
    namespaces.become_init()
    notes: Notes = {"namespaces": (True, f"pid, net, ipc, uts ({how})")}
    try:
        namespaces.show_only(readable)
        notes["mount namespace"] = (True, "only the interpreter is in the file tree")
    except OSError as error:
        notes["mount namespace"] = (False, str(error))
    return notes


def confine(notes: Notes, readable: list[str], before: Before) -> Confinement:
    """Put every layer on this process; it and all its children keep them for good.

    The order matters: the user is dropped while there are capabilities, Landlock before the filter forbids it.

    Raises:
        OSError: A layer everything rests on could not be put in force.
    """
    if MACHINE not in AUDIT_ARCH:
        raise OSError(38, f"seccomp: no system call table for {MACHINE}")
    notes["uid drop"] = _drop_user(notes["mount namespace"][0], readable, before.capabilities)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user clears it
    libc.drop_capabilities()
    notes["capabilities"] = (True, "none left")
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    notes["no_new_privs"] = (True, "")
    _limit()
    notes["rlimits"] = (True, "memory, CPU, files, core, locks")
    try:
        version = landlock.restrict(readable)
        notes["landlock"] = (True, f"ABI {version}")
    except OSError as error:
        notes["landlock"] = (False, str(error))
    sealed = not (notes["landlock"][0] or notes["mount namespace"][0])
    notes["sealed"] = (
        sealed,
        "no file can be opened; only what is preloaded can be imported" if sealed else "not needed here",
    )
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    Filter(base_filter(sealed)).install()
    notes["seccomp"] = (True, f"{MACHINE} allow-list")
    return Confinement(notes, {flag: Filter(child_filter(flag)) for flag in (False, True)}, before.mapped)


def unconfined(mapped: int) -> Confinement:
    """No layer at all: the ``unsafe`` engine."""
    return Confinement({"seccomp": (False, "unsafe was asked for")}, {}, mapped)


def harden_child(confinement: Confinement, kind: Kind, memory_mb: int, cpu_seconds: int, zygote: int) -> None:
    """What a child adds before it sees any payload."""
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)  # the zygote died before the line above could matter
    space = confinement.mapped + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_CHILD_FILES, _CHILD_FILES))
    if cpu_seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    chosen = confinement.filters.get(kind is Kind.GRADER)
    if chosen is not None:
        chosen.install()
    gc.enable()


def _limit() -> None:
    for name, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 1024),  # the zygote holds a pidfd per child
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(name, (value, value))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    stack = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))


def _drop_user(own_tree: bool, readable: list[str], held: int) -> tuple[bool, str]:
    if os.geteuid() != 0:
        return (False, "not root: the user stays, without capabilities")
    if not all(held >> bit & 1 for bit in (_CAP_SETUID, _CAP_SETGID, _CAP_KILL)):
        return (False, "no capability to change the user, or none to kill it afterwards")
    closed = None if own_tree else next((path for path in readable if not _open_to_all(path)), None)
    if closed is not None:
        return (False, f"{closed} can be read by its owner only")
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        return (False, str(error))  # a user namespace maps one user only
    return (True, f"uid {NOBODY}")


def _open_to_all(path: str) -> bool:
    """Whether a user without rights of its own could read ``path``."""
    if not os.path.exists(path):
        return True
    real = os.path.realpath(path)
    mode = os.stat(real).st_mode
    if not mode & 0o004:
        return False
    while real != "/":
        real = os.path.dirname(real)
        if not os.stat(real).st_mode & 0o001:
            return False
    return True
