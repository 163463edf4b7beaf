"""The one internal call behind every adapter: rollouts in, scores out, by the engine of this process or its machine.

Trainers call from thread pools, event loops and forked or spawned children, and give an adapter nothing but its
dotted name. So each process has one line for a registry, opened at the first call. It leads to an engine that the
processes of the machine share (:mod:`rlar_graph.machine`); with ``RLAR_ENGINE=own``, or where there is no folder to
meet in, to a reward function of the process's own, before which calls are gathered into batches
(:mod:`rlar_graph.microbatch`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from rlar_graph.errors import EngineError, SettingsError
from rlar_graph.machine.client import MachineEngine
from rlar_graph.machine.rendezvous import open_folder
from rlar_graph.microbatch import Microbatch, Rows
from rlar_graph.reward import AgentReward
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score

log = logging.getLogger(__name__)


class Line(Protocol):
    """What takes rollouts and gives scores, for any number of threads and event loops."""

    def submit(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Future[Rows]:
        """Put rollouts in line; return where their scores will be."""
        ...

    def score(self, rollouts: Sequence[Rollout], *, step: int | None = None) -> Rows:
        """Return one list of scores per rollout."""
        ...

    async def ascore(self, rollouts: Sequence[Rollout]) -> Rows:
        """Return one list of scores per rollout, without blocking the event loop."""
        ...


class SharedReward:
    """A reward function and the line in front of it.

    Args:
        reward: The reward function; closed with this.
        wait_seconds: How long a call waits for company.
    """

    def __init__(self, reward: AgentReward, *, wait_seconds: float = 0.003) -> None:
        self.reward = reward
        self.line = Microbatch(reward.score, wait_seconds=wait_seconds)

    def close(self) -> None:
        """Score what is in line, then end every process; may be called twice."""
        self.line.close()
        self.reward.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """What a process has open for a registry."""

    settings: Settings
    """The settings it was opened with."""
    line: Line
    """Where rollouts go."""
    close: Callable[[], None]
    """Ends it."""


_lock = threading.Lock()
_open: dict[tuple[int, str | None], Opened] = {}


def opened(registry_url: str | None = None) -> Opened:
    """Return what this process scores with, opened at the first call and closed when the process ends.

    Args:
        registry_url: Registry to use; by default the one of the settings (``RLAR_REGISTRY_URL``, ``rlar.toml``).

    Raises:
        SettingsError: A setting is unknown or out of range.
    """
    key = (os.getpid(), registry_url)  # a forked child has none of its parent's threads, so it opens its own
    with _lock:
        found = _open.get(key)
        if found is None:
            if not _open:
                atexit.register(close_all)
                os.register_at_fork(after_in_child=_renew_lock)
            found = _open[key] = _opened_with(Settings.load(registry_url=registry_url))
        return found


def _opened_with(settings: Settings) -> Opened:
    if settings.engine == "machine" or (settings.engine == "auto" and _can_meet()):
        client = MachineEngine(settings)
        return Opened(settings, client, client.close)
    own = SharedReward(AgentReward(settings))
    return Opened(settings, own.line, own.close)


def _can_meet() -> bool:
    try:
        with open_folder():
            return True
    except EngineError as error:
        log.warning("this process scores with an engine of its own: %s", error)
        return False


def close_all() -> None:
    """Close what this process has open; the next call opens anew."""
    with _lock:
        mine = [key for key in _open if key[0] == os.getpid()]
        closing = [_open.pop(key) for key in mine]
    for each in closing:
        each.close()


def _renew_lock() -> None:
    """Give a forked child a lock that nobody holds."""
    global _lock
    _lock = threading.Lock()


def score_items(
    rollouts: Sequence[Rollout], registry_url: str | None = None, *, step: int | None = None
) -> Rows:
    """Score rollouts of a trainer's step, None where it is not known.

    Raises:
        EngineError: No engine could be had.
        InputError: A rollout has no completions.
        RegistryError: The registry cannot be opened or read.
        SettingsError: A setting is unknown or out of range.
    """
    return opened(registry_url).line.score(rollouts, step=step)


async def ascore_items(rollouts: Sequence[Rollout], registry_url: str | None = None) -> Rows:
    """Score rollouts without blocking the event loop; see :func:`score_items`."""
    return await opened(registry_url).line.ascore(rollouts)


def judge(make: Callable[[], Rollout], seconds: float) -> Score:
    """Score one completion for a trainer that would swallow an exception; see :func:`judge_all`."""
    (score,) = judge_all([make], seconds)
    return score


def judge_all(makes: Sequence[Callable[[], Rollout]], seconds: float) -> list[Score]:
    """Score completions for a trainer that would swallow an exception or turn it into a zero.

    Whatever goes wrong (a label that cannot be read, an engine that cannot be reached, time that runs out) becomes
    an abstention with a reason, and an entry in the log. All are asked for before any is waited for, so that an engine
    that hangs costs the wait once.

    Args:
        makes: Each makes the rollout of one completion.
        seconds: Longest wait for all of them; shorter than the trainer's own, which would end in a zero.
    """
    end = time.monotonic() + seconds
    asked = [_asked(make) for make in makes]
    return [each if isinstance(each, Score) else _awaited(each, end, seconds) for each in asked]


def _asked(make: Callable[[], Rollout]) -> Future[Rows] | Score:
    """Put one completion in line, or return why that cannot be done."""
    try:
        return opened().line.submit([make()])
    except Exception as error:  # noqa: BLE001 - of whatever is raised here, the trainer makes a zero or worse
        return _unscored(f"{type(error).__name__}: {error}")


def _awaited(asked: Future[Rows], end: float, seconds: float) -> Score:
    """Return the score of a completion in line, or why there is none by the end."""
    try:
        return asked.result(max(0.0, end - time.monotonic()))[0][0]
    except TimeoutError:
        asked.cancel()
        return _unscored(f"no verdict within {seconds:g} s")
    except Exception as error:  # noqa: BLE001 - as above
        return _unscored(f"{type(error).__name__}: {error}")


def _unscored(problem: str) -> Score:
    log.error("a completion was not scored: %s", problem)
    return Score(None, abstained=problem)


def neutral_reward(given: object = None, registry_url: str | None = None) -> float:
    """Return what stands in for an abstention: the value given to the adapter, else the setting ``neutral_reward``.

    Raises:
        SettingsError: What was given is no number in [0, 1], or a setting is unknown or out of range.
    """
    if given is None:
        return opened(registry_url).settings.neutral_reward
    if not isinstance(given, int | float | str):
        raise SettingsError(f"neutral must be a number in [0, 1], not {type(given).__name__}")
    try:
        value = float(given)
    except ValueError as error:
        raise SettingsError(f"neutral must be a number in [0, 1], not {given!r}") from error
    if not 0 <= value <= 1:
        raise SettingsError(f"neutral must be in [0, 1], not {value}")
    return value


def neutral_whatever_is_set() -> float:
    """Return the neutral value for an adapter that may not fail: the default where the settings cannot be read."""
    try:
        return neutral_reward()
    except SettingsError:
        default: float = Settings.model_fields["neutral_reward"].default
        return default
