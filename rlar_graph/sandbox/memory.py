"""Sealed memory files: how payloads travel, as descriptors that nobody can resize or rewrite."""

from __future__ import annotations

import fcntl
import mmap
import os

_SEAL, _SHRINK, _GROW, _WRITE = 0x0001, 0x0002, 0x0004, 0x0008
_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING


def sealed_file(content: bytes) -> int:
    """A descriptor of a memory file that holds ``content`` and can no longer be changed by anyone."""
    descriptor = os.memfd_create("rlar", _FLAGS)
    view = memoryview(content)
    while view:
        view = view[os.pwrite(descriptor, view, len(content) - len(view)) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEAL | _SHRINK | _GROW | _WRITE)
    return descriptor


def shared_pages(size: int) -> tuple[int, mmap.mmap]:
    """Memory to share with a child: its descriptor and our mapping.

    The size is sealed: a child that truncated the file would make the trainer's next read of it a fatal signal.
    """
    descriptor = os.memfd_create("rlar", _FLAGS)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEAL | _SHRINK | _GROW)
    return descriptor, mmap.mmap(descriptor, size)
