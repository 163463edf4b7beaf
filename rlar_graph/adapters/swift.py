"""ms-swift: ``--external_plugins FILE --reward_funcs rlar``, the file saying ``orms["rlar"] = RlarORM``.

The class is called as ms-swift calls an ``ORM`` but is none, so that this module imports without ms-swift. ms-swift
takes None, but its sum over reward functions makes a zero of it; so an abstention gets the mean of the others of its
prompt, as far as this process sees them, else the neutral value, and how many there were is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from rlar_graph.adapters.abstention import settle_groups
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import neutral_reward, score_items
from rlar_graph.types import Rollout

log = logging.getLogger(__name__)


class RlarORM:
    """Scores batches.

    Args:
        args: ms-swift's arguments; not used.
    """

    def __init__(self, args: object = None, **_: object) -> None:
        self.__name__ = "rlar"

    def __call__(self, completions: Sequence[str], **columns: object) -> list[float]:
        """Score a batch.

        Args:
            completions: Texts.
            **columns: The data set's columns as lists of the batch's length; ``messages`` holds what was asked.

        Raises:
            InputError: A column cannot be read.
            RegistryError: The registry cannot be opened or read.
            EngineError: No engine could be had.
        """
        size = len(completions)
        lists = {
            name: column
            for name, column in columns.items()
            if isinstance(column, list) and len(column) == size
        }
        rollouts = [
            _rollout(text, {name: column[index] for name, column in lists.items()})
            for index, text in enumerate(completions)
        ]
        scores = [score for (score,) in score_items(rollouts)]
        settled = settle_groups([rollout.prompt for rollout in rollouts], scores, neutral_reward())
        reasons = [each.score.abstained for each in settled if each.abstained]
        if reasons:
            log.warning("%d of %d completions abstained, e.g.: %s", len(reasons), size, reasons[0])
        return [each.value for each in settled]


def _rollout(completion: str, row: dict[str, object]) -> Rollout:
    """Return one sample; ms-swift appends the completion to the messages, and that turn is no part of the prompt."""
    messages = row.pop("messages", None)
    if not isinstance(messages, list) or not messages:
        return rollout_of(None, completion, None, row)
    last = messages[-1]
    answered = isinstance(last, Mapping) and last.get("role") == "assistant"
    return rollout_of(messages[:-1] if answered else messages, completion, None, row)
