"""Sockets and locks that are this process's alone: a child that is forked at any moment lets go of its copies.

A copy would keep an engine alive that nobody uses, a lock held, or a socket open that nobody listens at. Closing on
``exec`` is not enough: pools of processes fork and go on.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import FileIO
from socket import socket
from typing import TypeVar

Thing = TypeVar("Thing", socket, FileIO)

_forking = threading.RLock()
"""Held through every fork, and while something is made: a child has it with its keeper, or not at all."""
_things: weakref.WeakSet[socket | FileIO] = weakref.WeakSet()


def mine(make: Callable[[], Thing]) -> Thing:
    """Make something that holds a descriptor, and have forked children close it.

    Args:
        make: Makes it, without waiting for anybody.
    """
    with unforked():
        thing = make()
        _things.add(thing)
    return thing


@contextmanager
def unforked() -> Iterator[None]:
    """Have forks of other threads wait: a child that has a copy of the pipe in ``Popen`` would hold that up."""
    _watch_forks()
    with _forking:
        yield


@cache
def _watch_forks() -> None:
    os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_let_go)


def _let_go() -> None:
    for thing in list(_things):
        thing.close()
    _things.clear()
    _forking.release()
