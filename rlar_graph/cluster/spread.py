"""One batch of jobs, spread over a fleet: results in order, none lost and none twice, whatever dies on the way.

Jobs go out in pieces that take a tenth of a second or so, two to an actor, so that none waits for the next. An actor
gives back a piece unfinished when it takes much longer: a slow job holds up nobody but itself. What an actor leaves
unfinished when it dies goes to the others. Which of its two pieces it died of cannot be told: a finished piece whose
answer was still on its way looks like one that was never begun. So both come back in smaller pieces that an actor is
given alone, and a job that ends a third actor is given up.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rlar_graph.cluster.connection import is_joined, ray_module
from rlar_graph.cluster.fleet import REASON_CHARS, Fleet, Member, reason_of
from rlar_graph.errors import RlarError

Job = TypeVar("Job")
Result = TypeVar("Result")

STRIKES = 3
"""Actors that a job may end before it is given up."""
DEPTH = 2
"""Pieces that an actor has at once."""
SPLIT = 16
"""Into how many pieces one comes back that an actor died of."""
LEAST_SECONDS = 0.01
"""Worth of work that a piece at the end of a batch should still have."""
TICK = 0.5
LANDING_SECONDS = 60.0
"""Longest wait for a result that is there to arrive here."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A job without a result."""

    why: str
    """Why there is none."""
    sent: bool = True
    """False when it could not even be sent."""


@dataclass(frozen=True, slots=True)
class Part(Generic[Result]):
    """What an actor answers to a piece."""

    results: Sequence[Result]
    """Results of its first jobs, at least of one; the others are handed out again."""
    seconds: float
    """How long they took."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How large pieces are."""

    first: int
    """Jobs in the first pieces, before it is known how long they take."""
    most: int
    """Jobs in a piece at most."""
    seconds: float
    """How long a piece should take."""
    patience: float
    """How long a piece may take before its actor is given up as hung."""
    deaths: int = 24
    """Actors that a batch may end before the rest of it is given up: each takes seconds to replace."""


@dataclass(frozen=True, slots=True)
class _Piece:
    jobs: Sequence[int]
    strikes: int = 0
    whole: bool = False


def spread(
    fleet: Fleet, jobs: Sequence[Job], send: Callable[[Any, Sequence[Job]], Any], pace: Pace
) -> list[Any | Lost]:
    """Have a fleet do jobs.

    Args:
        fleet: The actors.
        jobs: What is to be done; it may be done twice where an actor dies, and is counted once.
        send: Sends jobs to the actor of a handle and returns the reference to their :class:`Part`.
        pace: How large pieces are.

    Returns:
        One result per job, in order; :class:`Lost` where there is none.
    """
    return _Spread(fleet, jobs, send, pace).run() if jobs else []


class _Spread(Generic[Job]):
    """The state of one :func:`spread`; used once, by one thread."""

    def __init__(
        self, fleet: Fleet, jobs: Sequence[Job], send: Callable[[Any, Sequence[Job]], Any], pace: Pace
    ) -> None:
        self._fleet, self._jobs, self._send, self._pace = fleet, jobs, send, pace
        self._results: list[Any] = [None] * len(jobs)
        self._missing = len(jobs)
        self._unsent = len(jobs)
        self._pending = deque([_Piece(range(len(jobs)))])
        self._flying: dict[Any, tuple[Member, _Piece]] = {}
        self._size, self._least = pace.first, 1
        self._deaths = 0

    def run(self) -> list[Any]:
        """Do every job; the results in order."""
        ray = ray_module()
        try:
            while self._missing:
                reason = self._hand_out() if is_joined() else self._fleet.hopeless()
                if reason:
                    self._give_up(reason)
                else:
                    self._collect(ray)
        except (ray.exceptions.RayError, ConnectionError) as error:
            self._give_up(f"the Ray cluster failed: {reason_of(error)}")
        finally:
            for flight, (member, _) in self._flying.items():
                _withdraw(member, flight)
            for member in self._fleet.ready():
                if member.alone is self:
                    member.alone = None
        return self._results

    def _hand_out(self) -> str:
        """Give the actors what they have room for; return why there is nobody to give anything to."""
        members = self._fleet.ready()
        if not members and not self._flying:
            return self._fleet.hopeless()
        if self._deaths > self._pace.deaths:
            return f"{self._deaths} Ray actors died of this batch, the last: {self._fleet.last_loss}"
        busy = [member for member, _ in self._flying.values()]
        for depth in range(DEPTH):
            for member in members:
                if self._pending and busy.count(member) == depth and self._may_have(member):
                    busy += [member] * self._give(member, len(members))
        return ""

    def _may_have(self, member: Member) -> bool:
        """Say whether an actor may be given what comes next; suspects reserve theirs until it has nothing else."""
        suspect = self._pending[0].strikes > 0
        if member.alone is None and suspect:
            member.alone = self
        elif member.alone is self and not suspect and not self._is_suspected_on(member):
            member.alone = None
        if member.alone is None:
            return True
        return member.alone is self and suspect and not member.flights

    def _is_suspected_on(self, member: Member) -> bool:
        return any(on is member and piece.strikes for on, piece in self._flying.values())

    def _give(self, member: Member, among: int) -> bool:
        """Send an actor a piece; say whether that was possible."""
        piece = self._next(among)
        try:
            flight = self._send(member.handle, [self._jobs[index] for index in piece.jobs])
        except Exception as error:  # noqa: BLE001 - whatever pickling a caller's value may raise
            self._unsendable(piece, error)
            return False
        if not member.flights:
            member.since = time.monotonic()
        member.flights.append(flight)
        self._flying[flight] = (member, piece)
        return True

    def _next(self, among: int) -> _Piece:
        """Take a piece of what waits: smaller ones towards the end, so that the actors finish together."""
        piece = self._pending.popleft()
        share = math.ceil(self._unsent / (DEPTH * among))
        size = len(piece.jobs) if piece.whole else min(self._size, max(share, self._least))
        if size < len(piece.jobs):
            self._pending.appendleft(_Piece(piece.jobs[size:]))
            piece = _Piece(piece.jobs[:size])
        self._unsent -= len(piece.jobs)
        return piece

    def _unsendable(self, piece: _Piece, error: Exception) -> None:
        """Halve a piece that could not be sent, until the job that is the reason stands alone."""
        if len(piece.jobs) == 1:
            self._keep(piece.jobs, [Lost(f"{type(error).__name__}: {error}"[:REASON_CHARS], sent=False)])
            return
        half = len(piece.jobs) // 2
        for jobs in (piece.jobs[half:], piece.jobs[:half]):
            self._wait_again(_Piece(jobs, piece.strikes, whole=True))

    def _wait_again(self, piece: _Piece) -> None:
        if piece.jobs:
            self._pending.appendleft(piece)
            self._unsent += len(piece.jobs)

    def _collect(self, ray: Any) -> None:
        """Wait until something has happened, and take in what has."""
        waiting = [*self._flying, *self._fleet.hellos()]
        if waiting:
            ray.wait(waiting, num_returns=1, timeout=TICK)
        else:
            time.sleep(TICK)
        flying = list(self._flying)
        landed = set(ray.wait(flying, num_returns=len(flying), timeout=0)[0]) if flying else set()
        for flight in flying:
            member, _ = self._flying[flight]
            if flight in landed or member.gone:
                self._land(ray, flight)
            elif member.flights[0] is flight and time.monotonic() - member.since > self._pace.patience:
                self._deaths += self._fleet.lost(
                    member, f"a Ray actor gave no answer within {self._pace.patience:.0f} s"
                )

    def _land(self, ray: Any, flight: Any) -> None:
        """Take in the end of a piece, whichever it was."""
        member, piece = self._flying.pop(flight)
        try:
            part: Part[Any] = ray.get(flight, timeout=0 if member.gone else LANDING_SECONDS)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error, RlarError):  # the actor says that it cannot do its work
                self._deaths += self._fleet.lost(member, reason_of(error))
            self._strike(piece, reason_of(error))
        except ray.exceptions.RayError as error:
            self._deaths += self._fleet.lost(member, reason_of(error))
            self._strike(piece, member.why)
        else:
            self._take(piece, part)
        _withdraw(member, flight)
        if piece.strikes and member.alone is self:
            member.alone = None
        member.since = time.monotonic()

    def _take(self, piece: _Piece, part: Part[Any]) -> None:
        done = len(part.results)
        self._keep(piece.jobs[:done], part.results)
        self._wait_again(_Piece(piece.jobs[done:], piece.strikes, piece.whole))
        each = max(part.seconds, 1e-6) / done
        self._size = max(1, min(self._pace.most, 2 * self._size, int(self._pace.seconds / each)))
        self._least = max(1, min(self._size, int(LEAST_SECONDS / each)))

    def _strike(self, piece: _Piece, why: str) -> None:
        """Have a piece done again that failed as a whole, in smaller pieces; give a job up that failed too often."""
        strikes = piece.strikes + 1
        if strikes >= STRIKES and len(piece.jobs) == 1:
            self._keep(piece.jobs, [Lost(f"{strikes} Ray actors failed at it: {why}")])
            return
        size = max(1, len(piece.jobs) // SPLIT) if strikes == 1 else 1
        for start in reversed(range(0, len(piece.jobs), size)):
            self._wait_again(_Piece(piece.jobs[start : start + size], strikes, whole=True))

    def _keep(self, jobs: Sequence[int], results: Sequence[Any]) -> None:
        for index, result in zip(jobs, results, strict=True):
            self._results[index] = result
        self._missing -= len(jobs)

    def _give_up(self, reason: str) -> None:
        lost = Lost(reason)
        self._results = [lost if result is None else result for result in self._results]
        self._missing = 0


def _withdraw(member: Member, flight: Any) -> None:
    """Note that an actor has one work less; threads share the list, so it is changed in place."""
    with suppress(ValueError):
        member.flights.remove(flight)
