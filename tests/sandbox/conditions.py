"""Machines that lack a layer: run a command as it would run in a container, as a plain user, or on an old kernel.

``python conditions.py NAME PYTHON ARGUMENTS...`` imposes the condition on itself and executes the command.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from rlar_graph.sandbox import libc
from rlar_graph.sandbox.seccomp import ALLOW, ERRNO, Filter, Program, give, head, rule

CONDITIONS = ("full", "rootless", "container", "user", "sealed", "sealed-user")
"""All layers; uid 1000 with user namespaces; root in a default container (no namespaces, few capabilities); uid 1000
there; both of these without Landlock."""

# The capabilities Docker leaves to root.
_DOCKER = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})
_NAMESPACE_FLAGS = 0x7E020000
_LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")


def _filter(landlock: bool) -> Program:
    program = head()
    for name in ("unshare", "setns", "mount", "umount2", "pivot_root", "pidfd_getfd", "bpf", "userfaultfd"):
        program += rule(name, [give(ERRNO | errno.EPERM)])
    program += rule("clone3", [give(ERRNO | errno.ENOSYS)])
    for name in () if landlock else _LANDLOCK:
        program += rule(name, [give(ERRNO | errno.ENOSYS)])
    flags = [(0x20, 0, 0, 16), (0x45, 0, 1, _NAMESPACE_FLAGS), give(ERRNO | errno.EPERM), give(ALLOW)]
    return [*program, *rule("clone", flags), give(ALLOW)]


BROKEN = {"no-seccomp": ("seccomp",), "no-prctl": ("prctl",), "no-limits": ("prlimit64", "setrlimit")}
"""Machines on which no code may be confined, by the calls they refuse."""


def impose(name: str) -> None:
    """Put the condition on this process."""
    if name == "full":
        return
    if name in BROKEN:
        program = head()
        for call in BROKEN[name]:
            program += rule(call, [give(ERRNO | errno.EPERM)])
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        Filter([*program, give(ALLOW)]).install()
        return
    if name == "rootless":
        _become_user()
        return
    if os.geteuid() == 0:
        for capability in range(41):
            if capability not in _DOCKER:
                libc.prctl(libc.PR_CAPBSET_DROP, capability)
    installed = Filter(_filter(landlock=not name.startswith("sealed")))
    if os.geteuid() != 0:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    installed.install()
    if name.endswith("user"):
        _become_user()


def _become_user() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)


def interpreter_for(name: str) -> str | None:
    """A Python that the condition's user may execute; None where there is none."""
    if name not in ("rootless", "user", "sealed-user") or os.geteuid() != 0:
        return sys.executable
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for path in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        real = Path(path).resolve()
        if real.exists() and all(os.stat(part).st_mode & 0o005 == 0o005 for part in (real, *real.parents)):
            return path
    return None


if __name__ == "__main__":
    impose(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  the command is the test's own
