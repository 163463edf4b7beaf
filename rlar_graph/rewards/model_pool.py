"""The networks of one run under one memory budget: loaded at first use, the least recently used leaves for a new one.

A network in use never leaves; whoever needs its room waits.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rlar_graph.errors import ToolError
from rlar_graph.rewards.model_process import ModelGone
from rlar_graph.rewards.reading import Reader

if TYPE_CHECKING:
    from rlar_graph.resources import Resources


class Loaded(Reader, Protocol):
    """A network that is loaded: in a process here, or as replicas on a cluster."""

    @property
    def alive(self) -> bool:
        """Whether it can still be used."""
        ...

    def close(self) -> None:
        """End it; may be called twice."""
        ...


class _Place:
    """A network that is loaded or about to be."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.users = 0
        self.process: Loaded | None = None
        self.loading = threading.Lock()


class ModelPool:
    """Loaded networks. Safe to share between threads; a context manager that ends its processes.

    Args:
        budget: Bytes they may take together.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def loaded(self) -> tuple[str, ...]:
        """Keys of what is loaded, the least recently used first."""
        with self._changed:
            return tuple(key for key, place in self._places.items() if place.process is not None)

    @contextmanager
    def using(self, key: str, size: int, load: Callable[[], Loaded]) -> Iterator[Loaded]:
        """Give a network to use, loaded if need be.

        Args:
            key: What it is.
            size: Bytes it takes.
            load: Loads it.

        Raises:
            ToolError: It is larger than the budget, or cannot be loaded.
        """
        place = self._take(key, size)
        try:
            with place.loading:
                if place.process is None or not place.process.alive:
                    if place.process is not None:
                        place.process.close()
                    place.process = load()
            yield place.process
        except ModelGone:
            self._drop(key, place)
            raise
        finally:
            with self._changed:
                place.users -= 1
                if place.process is None and place.users == 0:
                    self._places.pop(key, None)
                self._changed.notify_all()

    def _take(self, key: str, size: int) -> _Place:
        """Return the place of a network, others sent away for it; waits while they are in use."""
        if size > self.budget:
            raise ToolError(
                f"the model needs {size / 1e9:.2f} GB, and models may take {self.budget / 1e9:.2f} GB"
                " (RLAR_REWARD_MODEL_MEMORY_MB)"
            )
        with self._changed:
            while True:
                if self._closed:
                    raise ToolError("the models were closed")
                place = self._places.get(key)
                if place is None and self._make_room(size):
                    place = self._places[key] = _Place(size)
                if place is not None:
                    place.users += 1
                    self._places.move_to_end(key)
                    return place
                self._changed.wait()

    def _make_room(self, size: int) -> bool:
        """Send idle networks away, the least recently used first; say whether there is room now."""
        for key, place in list(self._places.items()):
            if self._used() + size <= self.budget:
                break
            if place.users == 0:
                del self._places[key]
                if place.process is not None:
                    place.process.close()
        return self._used() + size <= self.budget

    def _used(self) -> int:
        return sum(place.size for place in self._places.values())

    def _drop(self, key: str, place: _Place) -> None:
        with self._changed:
            if self._places.get(key) is place and place.process is not None and not place.process.alive:
                place.process.close()
                place.process = None

    def leave(self, key: str) -> None:
        """End a network that is not in use, before others need its room."""
        with self._changed:
            place = self._places.get(key)
            if place is not None and place.users == 0:
                del self._places[key]
                self._changed.notify_all()
        if place is not None and place.users == 0 and place.process is not None:
            place.process.close()

    def close(self) -> None:
        """End every process; may be called twice."""
        with self._changed:
            self._closed = True
            places = list(self._places.values())
            self._places.clear()
            self._changed.notify_all()
        for place in places:
            if place.process is not None:
                place.process.close()

    def __enter__(self) -> ModelPool:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


_POOLS: weakref.WeakKeyDictionary[Resources, ModelPool] = weakref.WeakKeyDictionary()
_OPENING = threading.Lock()


def pool_of(resources: Resources, budget: Callable[[], int]) -> ModelPool:
    """Return the pool of a run, opened at first use; it ends with the run's resources or :func:`close_pool`.

    Args:
        resources: Whose networks they are.
        budget: Says how many bytes there are for them.
    """
    with _OPENING:
        pool = _POOLS.get(resources)
        if pool is None:
            pool = _POOLS[resources] = ModelPool(budget())
            weakref.finalize(resources, pool.close)
        return pool


def close_pool(resources: Resources) -> None:
    """End the networks of a run, if there are any; a later use opens them again."""
    with _OPENING:
        pool = _POOLS.pop(resources, None)
    if pool is not None:
        pool.close()


def leave(resources: Resources, key: str) -> None:
    """End one network of a run, if it is loaded and not in use."""
    with _OPENING:
        pool = _POOLS.get(resources)
    if pool is not None:
        pool.leave(key)
