"""Families found in a batch: by the trainer's own name, by a template known before, by a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rlar_graph.registry.store import Registry
from rlar_graph.registry.workshop_records import FamilyRecord
from rlar_graph.routing.family import FamilyIndex, found_key, source_key
from rlar_graph.routing.grouping import templates
from rlar_graph.routing.router import Route
from rlar_graph.routing.signature import Evidence
from rlar_graph.types import Rollout

Families = dict[str, list[int]]


def find_families(
    registry: Registry, rollouts: Sequence[Rollout], routes: Sequence[Route], smallest: int
) -> Families:
    """Return registry key -> indices of rollouts; families new to the registry are entered into it.

    A data source is taken at its word. Then come known families, then groups of enough different prompts of one
    template and evidence. The rest is left under its signature.

    Args:
        registry: Where families are kept.
        rollouts: What to group.
        routes: Where they go.
        smallest: Least number of different prompts that make a family; below two there is no template.

    Raises:
        RegistryError: The registry cannot be read or written.
    """
    index = FamilyIndex(registry.families())
    found: Families = {}
    named: Families = {}
    nameless: dict[Evidence, list[int]] = {}
    for number, (rollout, way) in enumerate(zip(rollouts, routes, strict=True)):
        if rollout.data_source is not None:
            named.setdefault(source_key(rollout.data_source), []).append(number)
        elif (key := index.match(rollout.prompt, way.signature)) is not None:
            found.setdefault(key, []).append(number)
        else:
            nameless.setdefault(way.signature.evidence, []).append(number)
    for key, members in named.items():
        registry.add_family(_record(key, "", members, rollouts, routes))
    for evidence, members in nameless.items():
        for record, part in _by_template(evidence, members, rollouts, routes, max(2, smallest)):
            registry.add_family(record)
            found.setdefault(record.key, []).extend(part)
        grouped = {number for part in found.values() for number in part}
        for number in members:
            if number not in grouped:
                found.setdefault(routes[number].signature.key, []).append(number)
    return named | found


def _by_template(
    evidence: Evidence,
    members: Sequence[int],
    rollouts: Sequence[Rollout],
    routes: Sequence[Route],
    smallest: int,
) -> list[tuple[FamilyRecord, list[int]]]:
    """Return the families that rollouts of one evidence make, with their indices."""
    places: Families = {}
    for number in members:
        places.setdefault(rollouts[number].prompt, []).append(number)
    prompts = list(places)
    found = []
    for made, numbers in templates(prompts, smallest):
        part = sorted(place for number in numbers for place in places[prompts[number]])
        found.append((_record(found_key(made, evidence), str(made), part, rollouts, routes), part))
    return found


def _record(
    key: str, sketch: str, members: Sequence[int], rollouts: Sequence[Rollout], routes: Sequence[Route]
) -> FamilyRecord:
    """Return a family as the registry keeps it, under the signature that most of its prompts have."""
    counts = Counter(routes[number].signature.key for number in members)
    signature = min(counts, key=lambda signature: (-counts[signature], signature))
    prompts = {rollouts[number].prompt for number in members}
    return FamilyRecord(key, signature, sketch, rollouts[members[0]].prompt, len(prompts))
