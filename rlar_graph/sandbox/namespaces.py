"""Linux namespaces: a bonus layer that is there for root outside containers and where user namespaces are allowed.

With a mount namespace the children see a file tree that holds the interpreter and nothing else, and the user can be
dropped even when the interpreter lives under a home directory that only its owner may enter.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterable

from rlar_graph.sandbox import libc

_APART = libc.CLONE_NEWNS | libc.CLONE_NEWPID | libc.CLONE_NEWNET | libc.CLONE_NEWIPC | libc.CLONE_NEWUTS

_KEPT = libc.MS_NOSUID | libc.MS_NODEV | 8 | 1024 | 2048  # and noexec, noatime, nodiratime
_MS_RELATIME, _ST_RELATIME = 1 << 21, 4096


def enter() -> str:
    """Move this process into namespaces of its own; the next fork becomes process 1 of the new process tree.

    Returns:
        A note on how: ``root`` or ``user namespace``.

    Raises:
        OSError: The machine does not let us.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        libc.syscall("unshare", _APART)
        how = "root"
    except OSError:
        libc.syscall("unshare", _APART | libc.CLONE_NEWUSER)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        how = "user namespace"
    return how


def become_init() -> None:
    """Fork process 1 of the new process tree and return in it; the caller waits outside and ends with it.

    When process 1 ends, the kernel ends everything under it: nothing that ran in the sandbox can outlive it.
    """
    parent = os.getpid()
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.closerange(3, 256)  # the control socket must close with its user, not with this process
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (0, parent):
        os._exit(1)


def show_only(paths: Iterable[str]) -> None:
    """Replace the file tree by an empty, read-only one that holds ``paths`` at their places.

    Raises:
        OSError: A mount was refused.
    """
    libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)
    root = "/tmp"  # noqa: S108  a mount point every machine has; only this namespace sees what is put there
    keep = [(path, os.path.realpath(path)) for path in paths if os.path.exists(path)]
    # A path under the mount point would vanish beneath the new root before it is bound.
    held = [(path, os.open(real, os.O_PATH | os.O_CLOEXEC)) for path, real in keep]
    libc.mount("tmpfs", root, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "size=1m,mode=755")
    for path, handle in held:
        _bind(handle, root + path)
        os.close(handle)
    os.chdir(root)
    libc.syscall("pivot_root", b".", b".")
    libc.syscall("umount2", b".", libc.MNT_DETACH)
    os.chdir("/")
    libc.mount(
        "none", "/", None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV
    )


def _bind(handle: int, target: str) -> None:
    if os.path.exists(target):
        return
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
    libc.mount(f"/proc/self/fd/{handle}", target, None, libc.MS_BIND)
    # In a user namespace a remount must keep every flag of the mount it was bound from.
    found = os.statvfs(target).f_flag
    locked = found & _KEPT | (_MS_RELATIME if found & _ST_RELATIME else 0)
    flags = libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | libc.MS_NOSUID | locked
    if not stat.S_ISCHR(os.fstat(handle).st_mode):
        flags |= libc.MS_NODEV
    libc.mount("none", target, None, flags)
