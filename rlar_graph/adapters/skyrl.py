"""SkyRL: ``skyrl_gym.register(id="rlar", entry_point="rlar_graph.adapters.skyrl:rlar_env")``.

A single-turn text environment. SkyRL wants its own base class, which :func:`rlar_env` adds when it is called, so that
this module imports without SkyRL. SkyRL has no word for an abstention: the neutral value stands in, flagged in the
metadata and the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from rlar_graph.adapters.abstention import settle
from rlar_graph.adapters.chat_text import bare
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import neutral_reward, score_items
from rlar_graph.types import Message


class SingleTurn:
    """One prompt, answered once.

    Args:
        env_config: SkyRL's configuration of the environment; ``neutral`` is the reward of an abstention.
        extras: The data set's row; the reference is at ``reward_spec.ground_truth``.
    """

    def __init__(self, env_config: object = None, extras: Mapping[str, object] | None = None) -> None:
        self._neutral = env_config.get("neutral") if isinstance(env_config, Mapping) else None
        self._row = dict(extras or {})
        spec = self._row.pop("reward_spec", None)
        self._label = spec.get("ground_truth") if isinstance(spec, Mapping) else None
        self._prompt: Sequence[Message] | None = None
        self._abstained = False
        self.turns, self.max_turns = 0, 1

    def init(self, prompt: Sequence[Message]) -> tuple[Sequence[Message], dict[str, object]]:
        """Take the prompt and pass it on as it is."""
        self._prompt = prompt
        return prompt, {}

    def step(self, action: str) -> dict[str, object]:
        """Score what the policy answered.

        Args:
            action: The completion.

        Raises:
            InputError: A column cannot be read.
            RegistryError: The registry cannot be opened or read.
            EngineError: No engine could be had.
        """
        self.turns += 1
        ((score,),) = score_items([rollout_of(self._prompt, bare(action), self._label, self._row)])
        (settled,) = settle([score], neutral_reward(self._neutral))
        self._abstained = settled.abstained
        metadata = {"rlar_abstained": score.abstained, "rlar_tool": score.tool}
        return {"observations": [], "reward": settled.value, "done": True, "metadata": metadata}

    def get_metrics(self) -> dict[str, float]:
        """Return whether the reward is the neutral value."""
        return {"rlar_abstain": float(self._abstained)}

    @staticmethod
    def aggregate_metrics(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return the share of abstentions."""
        flags = [each.get("rlar_abstain", 0.0) for each in metrics]
        return {"rlar_abstain": sum(flags) / len(flags)} if flags else {}

    def close(self) -> None:
        """Do nothing: the reward function is shared."""


@cache
def _env_class() -> type[SingleTurn]:
    from skyrl_gym.envs.base_text_env import BaseTextEnv  # type: ignore[import-not-found, unused-ignore]

    return type("RlarEnv", (SingleTurn, BaseTextEnv), {"__doc__": SingleTurn.__doc__})


def rlar_env(env_config: object = None, extras: Mapping[str, object] | None = None) -> SingleTurn:
    """Return an environment that SkyRL takes for its own; see :class:`SingleTurn` for the arguments."""
    return _env_class()(env_config, extras)
