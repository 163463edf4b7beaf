"""The self-test: a confined child attacks every layer, and only what it could not do is believed."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable
from functools import partial

from rlar_graph.sandbox import libc
from rlar_graph.sandbox.plain import unpack
from rlar_graph.sandbox.serve import read_all
from rlar_graph.sandbox.wire import PROBE_MAGIC, PROBED

_REFUSED = (errno.EPERM, errno.ENOSYS)
_RAW = [
    "ptrace",
    "process_vm_readv",
    "memfd_create",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "keyctl",
    "unshare",
    "setns",
    "mount",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kill",
    "tgkill",
    "rt_sigqueueinfo",
    "execveat",
    "clone3",
    "wait4",
    "setresuid",
]


def _succeeds(attack: Callable[[], object]) -> bool:
    try:
        attack()
    except (OSError, RuntimeError, ValueError, MemoryError):
        return False
    return True


def _reads_secret(target: dict[str, object]) -> bool:
    return _succeeds(lambda: os.open(str(target["secret"]), os.O_RDONLY))


def _lists_directory(target: dict[str, object]) -> bool:
    return any(_succeeds(partial(os.listdir, path)) for path in (str(target["directory"]), "/etc", "/root"))


def _reads_proc(target: dict[str, object]) -> bool:
    owners = ("self", "1", target["pid"])
    return any(_succeeds(partial(os.open, f"/proc/{who}/environ", os.O_RDONLY)) for who in owners)


def _writes(target: dict[str, object]) -> bool:
    flags = os.O_WRONLY | os.O_CREAT
    paths = (f"{target['directory']}/planted", "/tmp/planted", "/dev/shm/planted")  # noqa: S108
    return any(_succeeds(partial(os.open, path, flags)) for path in paths)


def _changes_mode(target: dict[str, object]) -> bool:
    return _succeeds(lambda: os.chmod(str(target["secret"]), 0o666))  # noqa: S103


def _opens_socket(_: dict[str, object]) -> bool:
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)
    return any(_succeeds(partial(socket.socket, family, socket.SOCK_DGRAM)) for family in families)


def _forks(_: dict[str, object]) -> bool:
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError:
        return False
    return True


def _starts_thread(_: dict[str, object]) -> bool:
    return _succeeds(threading.Thread(target=int, daemon=True).start)


def _executes(_: dict[str, object]) -> bool:
    try:
        os.execv("/nonexistent", ["nothing"])  # noqa: S606  it must fail in the filter, not in the file system
    except OSError as error:
        return error.errno != errno.EPERM


def _signals(target: dict[str, object]) -> bool:
    pids = (int(str(target["pid"])), os.getppid(), 1)
    return any(_succeeds(partial(os.kill, pid, 0)) for pid in pids)


def _raises_limit(_: dict[str, object]) -> bool:
    return _succeeds(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))


def _allocates(target: dict[str, object]) -> bool:
    return _succeeds(lambda: mmap.mmap(-1, (int(str(target["memory_mb"])) + 16) << 20))


def _calls_kernel(_: dict[str, object]) -> bool:
    for name in _RAW:
        try:
            libc.syscall(name, 0, 0, 0, 0, 0, 0)
        except OSError as error:
            if error.errno in _REFUSED:
                continue
        return True
    return False


def _finds_descriptor(target: dict[str, object]) -> bool:
    null = os.makedev(1, 3)
    for descriptor in range(64):
        try:
            found = os.fstat(descriptor)
        except OSError:
            continue
        if descriptor < 3 and stat.S_ISCHR(found.st_mode) and found.st_rdev == null:
            continue
        if descriptor != target["report"]:
            return True
    return False


def _finds_environment(_: dict[str, object]) -> bool:
    return any(not name.endswith("_NUM_THREADS") for name in os.environ)


ATTACKS: dict[str, Callable[[dict[str, object]], bool]] = {
    "read a file": _reads_secret,
    "list a directory": _lists_directory,
    "read /proc": _reads_proc,
    "write a file": _writes,
    "change a file's mode": _changes_mode,
    "open a socket": _opens_socket,
    "fork": _forks,
    "start a thread": _starts_thread,
    "execute a program": _executes,
    "signal another process": _signals,
    "raise a limit": _raises_limit,
    "allocate past the limit": _allocates,
    "reach the kernel's other calls": _calls_kernel,
    "use an inherited descriptor": _finds_descriptor,
    "read the environment": _finds_environment,
}
"""Every attack by name; its place is its bit in the mask."""


def main(descriptors: list[int]) -> None:
    """Attack everything, then report the mask of what got through.

    Args:
        descriptors: A description of the targets, and the pipe for the report.
    """
    description, report = descriptors
    target = dict(unpack(read_all(description)), report=report)
    mask = sum(1 << bit for bit, attack in enumerate(ATTACKS.values()) if attack(target))
    os.write(report, PROBED.pack(PROBE_MAGIC, mask))
