"""The one internal call behind every adapter: rollouts in, scores out, by the reward function of this process.

Trainers call from thread pools, event loops and forked or spawned children, and give an adapter nothing but its
dotted name. So each process has one reward function for a registry, opened at the first call, and calls are gathered
into batches (:mod:`rlar_graph.microbatch`).
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence

from rlar_graph.errors import RlarError
from rlar_graph.microbatch import Microbatch, Rows
from rlar_graph.reward import AgentReward
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score

log = logging.getLogger(__name__)


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


_lock = threading.Lock()
_open: dict[tuple[int, str | None], SharedReward] = {}


def shared_reward(registry_url: str | None = None) -> SharedReward:
    """Return the reward function of this process, opened at the first call and closed when the process ends.

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
            found = _open[key] = SharedReward(AgentReward(Settings.load(registry_url=registry_url)))
        return found


def close_all() -> None:
    """Close the reward functions of this process; the next call opens anew."""
    with _lock:
        mine = [key for key in _open if key[0] == os.getpid()]
        closing = [_open.pop(key) for key in mine]
    for each in closing:
        each.close()


def _renew_lock() -> None:
    """Give a forked child a lock that nobody holds."""
    global _lock
    _lock = threading.Lock()


def score_items(rollouts: Sequence[Rollout], registry_url: str | None = None) -> Rows:
    """Score rollouts; see :func:`shared_reward` and :meth:`rlar_graph.reward.AgentReward.score` for the errors."""
    return shared_reward(registry_url).line.score(rollouts)


async def ascore_items(rollouts: Sequence[Rollout], registry_url: str | None = None) -> Rows:
    """Score rollouts without blocking the event loop; see :func:`score_items`."""
    return await shared_reward(registry_url).line.ascore(rollouts)


def judge(make: Callable[[], Rollout], seconds: float) -> Score:
    """Score one completion for a trainer that would swallow an exception or turn it into a zero.

    Whatever goes wrong (a label that cannot be read, an engine that cannot be reached, time that runs out) becomes
    an abstention with a reason, and an entry in the log.

    Args:
        make: Makes the rollout of one completion.
        seconds: Longest wait; shorter than the trainer's own, which would end in a zero.
    """
    try:
        waiting = shared_reward().line.submit([make()])
        try:
            return waiting.result(seconds)[0][0]
        except TimeoutError:
            waiting.cancel()
            problem = f"no verdict within {seconds:g} s"
    except RlarError as error:
        problem = f"{type(error).__name__}: {error}"
    log.error("a completion was not scored: %s", problem)
    return Score(None, abstained=problem)
