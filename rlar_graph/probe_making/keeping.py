"""Kept probes: how a family's probes are written to the registry and read back, and who may see them.

The registry keeps the first probe of a content, so what a writer has seen can never become deciding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, cast

from rlar_graph.probes import Expect, Probe
from rlar_graph.records import rollout_from
from rlar_graph.registry.workshop_records import KeptProbe, ProbeOrigin
from rlar_graph.types import Rollout

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

_NOT_KEPT = ("completions", "metadata", "id")
_DEFAULTS = {field.name: getattr(Rollout("", ()), field.name) for field in fields(Rollout)}


def bare(rollout: Rollout) -> Rollout:
    """Return a rollout with its prompt and evidence alone, so that equal questions are equal."""
    return replace(rollout, completions=(), metadata={}, id=None)


def keep(registry: Registry, family: str, origin: ProbeOrigin, probes: Iterable[Probe]) -> int:
    """Keep probes of a family and return how many were new.

    Args:
        registry: Where to keep them.
        family: Registry key of the family.
        origin: Where they come from; a user's are taken at their word.
        probes: The probes; those that are not visible are deciding.
    """
    kept = [
        KeptProbe(json.dumps(_row(probe), default=str), not probe.visible, origin, probe.expect)
        for probe in probes
    ]
    return registry.keep_probes(family, kept)


def kept(registry: Registry, family: str) -> tuple[Probe, ...]:
    """Return a family's kept probes, without those whose verdict is disputed.

    Where sources call the same completion right and wrong, the word of users and audits comes before that of the data,
    and the data's before everybody else's; what equals dispute decides nothing.
    """
    known: dict[tuple[str, str], list[tuple[KeptProbe, Probe]]] = {}
    for entry in registry.kept_probes(family):
        probe = _probe(entry)
        known.setdefault((repr(probe.rollout), probe.completion), []).append((entry, probe))
    found = []
    for entries in known.values():
        highest = min(_rank(entry) for entry, _ in entries)
        trusted = [probe for entry, probe in entries if _rank(entry) == highest]
        if len({probe.expect == "good" for probe in trusted}) == 1:
            # Once seen is seen: whichever entry was shown, the completion decides nothing any more.
            seen = any(probe.visible for _, probe in entries)
            found.append(replace(trusted[0], visible=seen))
    return tuple(found)


def _rank(entry: KeptProbe) -> int:
    """Return how much an origin's word counts, the most first."""
    return {"user": 0, "audit": 0, "data": 1}.get(entry.origin, 2)


def _row(probe: Probe) -> dict[str, object]:
    """Return a probe in the columns that a file of probes has."""
    row: dict[str, object] = {"prompt": probe.rollout.prompt, "completion": probe.completion}
    row |= {"expect": probe.expect, "why": probe.why}
    for name, default in _DEFAULTS.items():
        value = getattr(probe.rollout, name)
        if name not in _NOT_KEPT and value != default:
            row[name] = value
    return row


def _probe(entry: KeptProbe) -> Probe:
    row: Mapping[str, object] = json.loads(entry.body)
    record = {name: value for name, value in row.items() if name not in ("completion", "expect", "why")}
    if "source" in record:
        record["source_text"] = record.pop("source")
    choices = record.get("choices")
    if isinstance(choices, list):
        record["choices"] = {str(label): text for label, text in choices}
    completion, why = str(row.get("completion", "")), str(row.get("why", ""))
    return Probe(
        bare(rollout_from(record)), completion, cast(Expect, entry.expect), why, visible=not entry.deciding
    )
