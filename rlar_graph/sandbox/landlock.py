"""Landlock: the rule that only the interpreter's own files can be read."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from rlar_graph.sandbox import libc

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_VERSION_FLAG = 1
_PATH_BENEATH = 1


def abi() -> int:
    """The kernel's Landlock version; 0 where it has none."""
    try:
        return libc.syscall("landlock_create_ruleset", None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def restrict(readable: Iterable[str]) -> int:
    """Let this process and its children read the paths ``readable`` and nothing else.

    Args:
        readable: Files and directories; one that does not exist is passed over.

    Returns:
        The Landlock version in force.

    Raises:
        OSError: Landlock is missing or refused.
    """
    version = abi()
    if version < 1:
        raise OSError(38, "no Landlock in this kernel")
    fs = (1 << _FS_BITS.get(version, 16)) - 1
    net = 0b11 if version >= 4 else 0
    scoped = 0b11 if version >= 6 else 0
    attr = struct.pack("<QQQ", fs, net, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc.syscall(
        "landlock_create_ruleset", ctypes.create_string_buffer(attr, len(attr)), len(attr), 0
    )
    try:
        for path in readable:
            _allow(ruleset, path)
        libc.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: str) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        access = _READ_FILE | _READ_DIR if is_directory else _READ_FILE
        rule = ctypes.create_string_buffer(struct.pack("<Qi", access, handle), 12)
        libc.syscall("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(handle)
