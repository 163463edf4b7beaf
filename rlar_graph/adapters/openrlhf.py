"""OpenRLHF: a one-line file for ``--reward.remote_url``, or the server's ``/get_reward``.

The file holds ``from rlar_graph.adapters.openrlhf import reward_func``. OpenRLHF passes a query (what the model saw,
special tokens and all, then what it wrote), the prompt, and one label; more evidence than an answer goes into the
label as JSON. It has no word for an abstention and swallows exceptions, to stop much later: so nothing is raised here.
``extra_logs.rlar_abstain`` is 1.0 where the reward is not a judgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rlar_graph.adapters.abstention import Settled, settle_groups
from rlar_graph.adapters.chat_text import answer_in, plain_prompt
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import judge_all, neutral_whatever_is_set
from rlar_graph.errors import InputError
from rlar_graph.types import Rollout

SECONDS = 150.0
"""Longest wait for the verdicts of one call; OpenRLHF itself waits 180 s for a server."""


def rollout_from_query(query: str, prompt: str, label: object = None) -> Rollout:
    """Return what OpenRLHF says of one sample as a rollout.

    Raises:
        InputError: Query and prompt cannot be told apart, or the label cannot be read.
    """
    completion = answer_in(query, prompt)
    if completion is None:
        raise InputError(
            "does not begin with its prompt, so the completion in it cannot be found", field="query"
        )
    return rollout_of(plain_prompt(prompt), completion, label)


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[object]
) -> dict[str, object]:
    """Score samples.

    Args:
        queries: Prompts with their completions.
        prompts: The prompts.
        labels: One label for each: a reference, or evidence as JSON text.
    """
    samples = zip(queries, prompts, labels, strict=True)
    scores = judge_all([partial(rollout_from_query, *sample) for sample in samples], SECONDS)
    return answer_with(settle_groups(prompts, scores, neutral_whatever_is_set()))


def answer_with(settled: Sequence[Settled]) -> dict[str, object]:
    """Return rewards in the form OpenRLHF reads, from Python and over HTTP alike; numbers only."""
    values = [each.value for each in settled]
    return {
        "rewards": values,
        "scores": values,
        "extra_logs": {"rlar_abstain": [float(each.abstained) for each in settled]},
    }
