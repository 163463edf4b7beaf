"""Sides: which probes a writer may see, and which decide.

Division goes by *prompt*: a writer who has seen the right answer to a prompt could pass a deciding probe of the same
prompt by heart. At least two thirds of the prompts are deciding, chosen by content hash. A family of one prompt is
divided by completion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rlar_graph.probe_making.given import digest
from rlar_graph.probes import Probe
from rlar_graph.types import Rollout

VISIBLE_PROMPTS = 6


def visible(probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """Return the probes that whoever writes a tool may see; nothing of the others may reach a prompt."""
    return tuple(probe for probe in probes if probe.visible)


def visible_prompts(rollouts: Sequence[Rollout], known: Sequence[Probe]) -> frozenset[str]:
    """Return the prompts of which a writer may see probes: at most a third, the same ones in every run.

    Args:
        rollouts: The family's prompts. Of a single one nothing is said here; see :func:`on_sides`.
        known: Probes that are kept already; their prompts stay on their side.
    """
    seen = {probe.rollout.prompt for probe in known if probe.visible}
    decided = {probe.rollout.prompt for probe in known if not probe.visible}
    prompts = sorted({rollout.prompt for rollout in rollouts}, key=digest)
    target = min(VISIBLE_PROMPTS, max(1, len(prompts) // 3)) if len(prompts) > 1 else 0
    old = [prompt for prompt in prompts if prompt in seen - decided]
    new = [prompt for prompt in prompts if prompt not in seen | decided]
    return frozenset(old + new[: max(0, target - len(old))])


def on_sides(probes: Sequence[Probe], seen: frozenset[str]) -> list[Probe]:
    """Mark probes visible by their prompt; where there is but one prompt, a third of them by their own content."""
    if seen or len({probe.rollout.prompt for probe in probes}) != 1:
        return [replace(probe, visible=probe.rollout.prompt in seen) for probe in probes]
    ordered = sorted(probes, key=lambda probe: digest(probe.rollout.prompt, probe.completion))
    shown = {probe.completion for probe in ordered[: len(ordered) // 3]}
    return [replace(probe, visible=probe.completion in shown) for probe in probes]


def count(probes: Sequence[Probe], expect: str, *, visible: bool) -> int:
    """Return how many probes of an expectation are on one side."""
    return sum(probe.expect == expect and probe.visible is visible for probe in probes)
