"""Leases: claims of this process that are renewed in the background for as long as it lives.

So a claim can be short: of a process that is killed, or a machine that is gone, it runs out within a minute, and an
acquisition that takes an hour keeps it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlar_graph.errors import RegistryError
from rlar_graph.registry.claims import new_owner

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

log = logging.getLogger(__name__)

SECONDS = 60.0
BEATS = 4
"""Renewals within the time of a claim, so that a few that fail do not lose it."""


class Leases:
    """Takes claims and keeps them. Safe to share between threads; close it to give everything back.

    Args:
        registry: Where the claims are.
        seconds: When a claim runs out that is not renewed.
    """

    def __init__(self, registry: Registry, seconds: float = SECONDS) -> None:
        self._registry = registry
        self._seconds = seconds
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}
        self._paused: dict[str, float] = {}
        self._wake = threading.Event()
        self._beating: threading.Thread | None = None

    def take(self, family: str) -> str | None:
        """Claim the acquisition for a family.

        Returns:
            The owner of the claim, to be given to the registrar and to :meth:`drop`; None when somebody else, another
            thread of this process included, acquires for the family, or the registry is frozen.
        """
        owner = new_owner()
        if not self._registry.claim(family, owner, self._seconds):
            return None
        with self._lock:
            self._held[family] = owner
            self._paused.pop(family, None)
            if self._beating is None or not self._beating.is_alive():
                self._wake.clear()
                self._beating = threading.Thread(target=self._beat, name="rlar-leases", daemon=True)
                self._beating.start()
        return owner

    def drop(self, family: str, owner: str) -> None:
        """Give a claim back, whether or not the registrar has done so; call it in ``finally``."""
        with self._lock:
            if self._held.get(family) == owner:
                del self._held[family]
                self._paused.pop(family, None)
        self._registry.release(family, owner)

    @contextmanager
    def working(self, family: str, owner: str) -> Iterator[None]:
        """Keep a claim while this lasts, and let it run out when nothing follows within the time of a claim.

        A run that is cancelled between two steps never gets to give its claim back.
        """
        with self._lock:
            self._paused.pop(family, None)
        try:
            yield
        finally:
            with self._lock:
                if self._held.get(family) == owner:
                    self._paused[family] = time.monotonic()

    def close(self) -> None:
        """Give every claim back and stop renewing; may be called twice."""
        with self._lock:
            held, self._held = self._held, {}
            beating, self._beating = self._beating, None
        self._wake.set()
        if beating is not None and beating.is_alive():
            beating.join()
        for family, owner in held.items():
            self._registry.release(family, owner)

    def _beat(self) -> None:
        while not self._wake.wait(self._seconds / BEATS):
            now = time.monotonic()
            with self._lock:
                held = list(self._held.items())
                left = {family for family, since in self._paused.items() if now - since > self._seconds}
            for family, owner in held:
                self._beat_once(family, owner, given_up=family in left)

    def _beat_once(self, family: str, owner: str, *, given_up: bool) -> None:
        try:
            if given_up:
                self.drop(family, owner)
                return
            kept = self._registry.renew(family, owner, self._seconds)
        except RegistryError as error:
            # A beat that fails is no loss yet: the next one comes before the claim runs out.
            log.warning("the claim on %s could not be renewed: %s", family, error)
            return
        if not kept:
            # Given back by the registrar, or run out while the machine slept; adoption looks again.
            with self._lock:
                if self._held.get(family) == owner:
                    del self._held[family]
