"""The system call filters: an allow-list for the zygote and its children, and a small filter that takes more back.

Two stages, because installing the large filter costs 200 us: it goes on once, in the zygote, and each child adds only
what it must lose on top (fork, prctl, descriptor passing).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable

from rlar_graph.sandbox import libc
from rlar_graph.sandbox.syscalls import AUDIT_ARCH, MACHINE, number

Program = list[tuple[int, int, int, int]]

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, _KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _EROFS, _ENOSYS = 1, 30, 38
_SET_MODE_FILTER = 1
_X32_BIT = 0x40000000

PLAIN = [
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "close",
    "close_range",
    "lseek",
    "fstat",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "set_tid_address",
    "membarrier",
    "gettid",
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "getpgrp",
    "getpgid",
    "getsid",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "getrlimit",
    "sysinfo",
    "uname",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "getcpu",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sigaltstack",
    "pause",
    "alarm",
    "setitimer",
    "getitimer",
    "restart_syscall",
    "exit",
    "exit_group",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "getrandom",
    "shutdown",
    "getsockopt",
    "getsockname",
    "getpeername",
]
"""Calls that reach nothing outside the process, whatever their arguments."""

FILES = [
    "stat",
    "lstat",
    "access",
    "readlink",
    "newfstatat",
    "statx",
    "faccessat",
    "faccessat2",
    "readlinkat",
    "getcwd",
    "getdents64",
]
"""Calls that look at the file system; sealed mode does without."""

ZYGOTE = ["waitid", "pidfd_open", "pidfd_send_signal", "sendmsg", "recvmsg"]
"""Calls only the zygote makes; each child loses them."""

_FCNTL = (
    0,
    1,
    2,
    3,
    4,
    1030,
    1034,
)  # no F_SETOWN or F_SETSIG: with O_ASYNC they send any signal to any process
_IOCTL = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
    0x802C542A,
)  # terminal queries, FIONREAD, FIONBIO, CLOEXEC
_PRCTL = (1, 4, 22, 38)  # death signal, dumpable, seccomp, no_new_privs
_OPEN_WRITE = 0x1 | 0x2 | 0x40 | 0x200 | 0x400000  # WRONLY, RDWR, CREAT, TRUNC, TMPFILE
_AT_EMPTY_PATH = 0x1000
_MSG_OOB = 1
_FUTEX = tuple(op | private | clock for op in (0, 1, 9, 10) for private in (0, 128) for clock in (0, 256))
_CLONE_BAD = 0x7E020000 | 0x02000000 | 0x00010100 | 0x0000E000  # namespaces, threads, memory, tracing


def _load(argument: int, high: bool = False) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, 16 + 8 * argument + (4 if high else 0))


def give(code: int) -> tuple[int, int, int, int]:
    """The instruction that ends a filter with ``code``."""
    return (_RETURN, 0, 0, code)


def rule(name: str, body: Program) -> Program:
    """``body`` for the call ``name``; nothing where the architecture has no such call."""
    nr = number(name)
    return [] if nr is None else [(_EQUAL, 0, len(body), nr), *body]


def _one_of(argument: int, values: Iterable[int]) -> Program:
    tests: Program = []
    for value in values:
        tests += [(_EQUAL, 0, 1, value), give(ALLOW)]
    return [_load(argument), *tests, give(ERRNO | _EPERM)]


def _without(argument: int, bits: int, error: int) -> Program:
    return [_load(argument), (_BITS, 0, 1, bits), give(ERRNO | error), give(ALLOW)]


def _with(argument: int, bits: int) -> Program:
    return [_load(argument), (_BITS, 0, 1, bits), give(ALLOW), give(ERRNO | _EPERM)]


def _null(argument: int) -> Program:
    return [
        _load(argument),
        (_EQUAL, 0, 3, 0),
        _load(argument, high=True),
        (_EQUAL, 0, 1, 0),
        give(ALLOW),
        give(ERRNO | _EPERM),
    ]


def head() -> Program:
    """Calls through another architecture's table die; x32 numbers are refused."""
    head: Program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, AUDIT_ARCH[MACHINE]), give(_KILL), (_LOAD, 0, 0, 0)]
    if MACHINE == "x86_64":
        head += [(_AT_LEAST, 0, 1, _X32_BIT), give(ERRNO | _EPERM)]
    return head


def base_filter(sealed: bool) -> Program:
    """The allow-list that zygote and children share.

    Args:
        sealed: Leave out every call that opens or looks at files: for machines where nothing else confines them.
    """
    program = head()
    for name in (*PLAIN, *ZYGOTE, *(() if sealed else FILES)):
        program += rule(name, [give(ALLOW)])
    if sealed:
        # glibc's fstat is newfstatat with this flag; the path beside it cannot be read from here.
        program += rule("newfstatat", _with(3, _AT_EMPTY_PATH))
    else:
        program += rule("openat", _without(2, _OPEN_WRITE, _EROFS))
    program += rule("fcntl", _one_of(1, _FCNTL))
    program += rule("ioctl", _one_of(1, _IOCTL))
    program += rule("prctl", _one_of(0, _PRCTL))
    program += rule("socketpair", _one_of(0, (1,)))
    # A datagram socketpair with an address would reach any Unix socket of the host; out-of-band data on Unix sockets
    # and priority-inheriting futexes have each been a way into the kernel, and Python needs neither.
    program += rule("sendto", [_load(3), (_BITS, 0, 1, _MSG_OOB), give(ERRNO | _EPERM), *_null(4)])
    program += rule("recvfrom", _without(3, _MSG_OOB, _EPERM))
    program += rule("futex", _one_of(1, _FUTEX))
    program += rule("prlimit64", _one_of(0, (0,)))
    program += rule("seccomp", _one_of(0, (_SET_MODE_FILTER,)))
    program += rule("clone", _without(0, _CLONE_BAD, _EPERM))
    for name in ("clone3", "openat2"):
        program += rule(
            name, [give(ERRNO | _ENOSYS)]
        )  # callers fall back to the call whose arguments can be read
    return [*program, give(ERRNO | _EPERM)]


def child_filter(passes_descriptors: bool) -> Program:
    """What every child loses on top of :func:`base_filter`.

    Args:
        passes_descriptors: Keep ``recvmsg``, for a grader that is handed one pair of pipes per program.
    """
    program = head()
    lost = ["clone", "prctl", "seccomp", "waitid", "pidfd_open", "pidfd_send_signal", "sendmsg"]
    if not passes_descriptors:
        lost.append("recvmsg")
    for name in lost:
        program += rule(name, [give(ERRNO | _EPERM)])
    program += rule("prlimit64", _null(2))
    return [*program, give(ALLOW)]


class _Prog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class Filter:
    """A filter, assembled ahead so that a child installs it with one system call."""

    def __init__(self, program: Program) -> None:
        text = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
        self._text = ctypes.create_string_buffer(text, len(text))
        self._prog = _Prog(len(program), ctypes.addressof(self._text))
        self._pointer = ctypes.byref(self._prog)

    def install(self) -> None:
        """Put the filter on this process, for good."""
        libc.syscall("seccomp", _SET_MODE_FILTER, 0, self._pointer)
