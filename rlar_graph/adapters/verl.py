"""verl: ``reward.custom_reward_function.path=pkg://rlar_graph.adapters.verl name=compute_score``.

verl asks for one sample at a time and has no word for an abstention. Every sample returns the same keys, as verl wants
it: ``score``, and ``rlar_abstain``, which is 1.0 where the score is only the neutral value.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlar_graph.adapters.abstention import settle
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import ascore_items, neutral_reward


async def compute_score(
    data_source: str | None,
    solution_str: str,
    ground_truth: object,
    extra_info: Mapping[str, object] | None = None,
    *,
    neutral: float | None = None,
    registry_url: str | None = None,
    **_: object,
) -> dict[str, float]:
    """Score one sample.

    Args:
        data_source: Names the family the prompt belongs to.
        solution_str: The completion.
        ground_truth: The reference; or evidence as a mapping or as JSON text, e.g. test cases.
        extra_info: The data set's further columns; ``question`` (or ``prompt``, ...) is what was asked.
        neutral: Score of an abstention (``reward_kwargs.neutral``); by default ``RLAR_NEUTRAL_REWARD``.
        registry_url: Registry to use (``reward_kwargs.registry_url``); by default the one of the settings.
        **_: What verl adds when a reward model is enabled beside this.

    Returns:
        The same keys for every sample.

    Raises:
        InputError: A column cannot be read.
        RegistryError: The registry cannot be opened or read; verl stops, rather than train on nothing.
        EngineError: No engine could be had; the same.
    """
    row = dict(extra_info or {})
    if data_source is not None:
        row["data_source"] = data_source
    ((score,),) = await ascore_items([rollout_of(None, solution_str, ground_truth, row)], registry_url)
    (settled,) = settle([score], neutral_reward(neutral, registry_url))
    return {"score": settled.value, "rlar_abstain": float(settled.abstained)}
