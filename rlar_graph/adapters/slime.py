"""slime and miles: ``--custom-rm-path rlar_graph.adapters.slime.reward``, with ``--group-rm`` or without.

An abstention sets ``remove_sample``, which keeps the sample out of the loss. Its reward still enters the mean of its
group, so it gets the mean of the others where the group is seen (``--group-rm``), else the neutral value; the reason
is in ``sample.metadata["rlar_abstained"]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from rlar_graph.adapters.abstention import Settled, settle_groups
from rlar_graph.adapters.chat_text import bare, plain_prompt
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import ascore_items, neutral_reward
from rlar_graph.types import Message, Rollout


class Sample(Protocol):
    """What is used of slime's sample."""

    prompt: str | list[Message]
    response: str
    label: str | None
    metadata: dict[str, object]
    remove_sample: bool


Reward: TypeAlias = float | dict[str, float]


async def reward(args: object, sample: Sample | Sequence[Sample]) -> Reward | list[Reward]:
    """Score a sample, or all of a group.

    Args:
        args: slime's arguments; with ``--reward-key``, rewards are mappings that have that key.
        sample: A sample, or a list of them.

    Raises:
        InputError: A label cannot be read.
        RegistryError: The registry cannot be opened or read.
        EngineError: No engine could be had.
    """
    if not isinstance(sample, Sequence):
        return (await _rewards(args, [sample]))[0]
    return await _rewards(args, sample)


async def _rewards(args: object, samples: Sequence[Sample]) -> list[Reward]:
    rows = await ascore_items([_rollout(sample) for sample in samples])
    prompts = [repr(sample.prompt) for sample in samples]
    settled = settle_groups(prompts, [score for (score,) in rows], neutral_reward())
    return [_noted(args, sample, each) for sample, each in zip(samples, settled, strict=True)]


def _rollout(sample: Sample) -> Rollout:
    prompt = plain_prompt(sample.prompt) if isinstance(sample.prompt, str) else sample.prompt
    return rollout_of(prompt, bare(sample.response), sample.label, sample.metadata)


def _noted(args: object, sample: Sample, settled: Settled) -> Reward:
    """Note an abstention on the sample and return its reward in the form the arguments ask for."""
    if settled.abstained:
        sample.remove_sample = True
        sample.metadata["rlar_abstained"] = settled.score.abstained
    key = getattr(args, "reward_key", None)
    if not key:
        return settled.value
    return {str(key): settled.value, "rlar_abstain": float(settled.abstained)}
