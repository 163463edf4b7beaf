"""One sample as trainers hold it (a prompt, a completion, a label and a row of the data set) into a rollout.

Trainers that carry a single label as text put more evidence than an answer into it as JSON (test cases, a list of
instructions); such a label is opened into the columns it stands for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rlar_graph.records import PROMPT, rollout_from
from rlar_graph.types import Message, Rollout

OPENED: tuple[frozenset[str], ...] = (
    frozenset({"inputs", "outputs"}),
    frozenset({"tests"}),
    frozenset({"test_list"}),
    frozenset({"instruction_id_list"}),
    frozenset({"json_schema"}),
    frozenset({"reference", "choices"}),
    frozenset({"answer", "choices"}),
)
"""A label that is a mapping with all the keys of one of these is evidence, not an answer."""


def rollout_of(
    prompt: object,
    completion: str | Sequence[Message],
    label: object = None,
    row: Mapping[str, object] | None = None,
) -> Rollout:
    """Return one sample as a rollout with one completion.

    Args:
        prompt: Text or chat messages; None where the trainer does not say, then the row is asked.
        completion: Text, or chat messages of which the last assistant message counts.
        label: What the trainer calls label or ground truth.
        row: Further columns of the data set.

    Raises:
        InputError: A column cannot be read; the error names it.
    """
    record = dict(row or {})
    for name in ("completions", "responses", "completion", "response"):
        record.pop(name, None)
    if prompt is not None or not any(record.get(name) for name in PROMPT):
        for name in PROMPT:
            record.pop(name, None)
        record["prompt"] = "" if prompt is None else prompt
    record.update(_evidence(label))
    record["completions"] = [completion]
    return rollout_from(record)


def _evidence(label: object) -> Mapping[str, object]:
    """Return the columns a label stands for."""
    if label is None or label == "":
        return {}
    opened = label
    if isinstance(label, str) and label.lstrip()[:1] == "{":
        try:
            opened = json.loads(label)
        except (ValueError, RecursionError):
            return {"reference": label}
    if isinstance(opened, Mapping) and any(keys <= opened.keys() for keys in OPENED):
        if {"inputs", "outputs"} <= opened.keys():
            return {"tests": opened}
        return {name: value for name, value in opened.items() if name not in PROMPT}
    return {"reference": label}
