"""The few C-library calls confinement needs and the standard library lacks, by ctypes."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from rlar_graph.sandbox.syscalls import number

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def syscall(name: str, *arguments: object) -> int:
    """Make the system call ``name``; raise OSError where it fails."""
    nr = number(name)
    if nr is None:
        raise OSError(38, f"{name} does not exist on this architecture")
    # Every integer goes as a 64-bit word: ctypes would pass 32 and leave the upper half of the register undefined.
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(nr), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def prctl(option: int, *arguments: int) -> None:
    """``prctl(2)``; raise OSError where it fails."""
    words = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc.prctl(ctypes.c_int(option), *words) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """``mount(2)``; raise OSError where it fails."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    if _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {target}: {os.strerror(code)}")


def keep_freed_memory() -> None:
    """Make malloc reuse large blocks: handing 32 KB buffers back to the kernel costs more than running a verifier."""
    for option, value in ((_M_MMAP_THRESHOLD, 1 << 26), (_M_TRIM_THRESHOLD, 1 << 26), (_M_TOP_PAD, 1 << 20)):
        _libc.mallopt(option, value)


def drop_capabilities() -> None:
    """Give up every capability, in the bounding and ambient sets too."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break  # EPERM: nothing to drop from; EINVAL: past the kernel's last capability
    with suppress(OSError):  # kernels without ambient capabilities have nothing to clear
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    syscall("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
