"""AReaL: ``RLVRWorkflow(reward_fn="rlar_graph.adapters.areal.reward")``.

AReaL calls in a pool of processes and gives each call 15 s; what is late four times is a zero, and what is raised four
times ends the episode. So this answers before that, and raises nothing. It has no
word for an abstention: the neutral value stands in, and the reason is logged.
"""

from __future__ import annotations

import logging
from functools import partial

from rlar_graph.adapters.abstention import settle
from rlar_graph.adapters.chat_text import bare, plain_prompt
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import judge, neutral_whatever_is_set

SECONDS = 12.0
log = logging.getLogger(__name__)


def reward(
    prompt: str, completions: str, prompt_ids: object = None, completion_ids: object = None, **row: object
) -> float:
    """Score one completion.

    Args:
        prompt: What the model saw.
        completions: What it wrote; one completion, in spite of the name.
        prompt_ids: The prompt's tokens; not used.
        completion_ids: The completion's tokens; not used.
        **row: The data set's columns, ``answer`` and the like.
    """
    score = judge(partial(rollout_of, plain_prompt(prompt), bare(completions), None, row), SECONDS)
    (settled,) = settle([score], neutral_whatever_is_set())
    if settled.abstained:
        log.warning("neutral reward %g for an abstention: %s", settled.value, score.abstained)
    return settled.value
