"""A caller's batch of rollouts, read record by record, so that an error says which one is at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlar_graph.errors import InputError
from rlar_graph.records import rollout_from
from rlar_graph.types import Rollout


def read_batch(items: object) -> list[Rollout]:
    """Return items as rollouts.

    Args:
        items: Rollouts, or records as :func:`~rlar_graph.records.rollout_from` reads them.

    Raises:
        InputError: It is no list of them; the error says which item is at fault, and what is wrong.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Sequence):
        given = "nothing" if items is None else type(items).__name__
        wanted = "a list of records, each with a prompt and its completions"
        raise InputError(f"must be {wanted}, not {given}", field="rollouts")
    return [_read(number, item) for number, item in enumerate(items, 1)]


def _read(number: int, item: object) -> Rollout:
    if isinstance(item, Rollout):
        return item
    if not isinstance(item, Mapping):
        raise InputError(f"rollout {number} must be a Rollout or a mapping, not {type(item).__name__}")
    try:
        return rollout_from(item)
    except InputError as error:
        raise InputError(f"rollout {number}: {error.problem}", field=error.field) from error
