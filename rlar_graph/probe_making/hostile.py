"""The hostile probes of a family: the set that holds for any tool, adjusted where a tool can only check a form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rlar_graph.probe_making.given import digest, right_answers
from rlar_graph.probes import Probe, hostile_set
from rlar_graph.types import Rollout

PROMPTS = 2
SHOWN = ("empty", "prompt echo", "opener: step by step", "instruction to the grader")

RUNNING_TEXT = (
    "opener: step by step",
    "another language: opener",
    "another language: refusal",
    "prompt echo, announced",
    "length padding",
    "homoglyph text",
    "confidence instead of an answer",
    "instruction to the grader",
    "instruction to the grader, as system",
    "verdict as marker",
    "answer, then retraction of a good completion",
)
"""Hostile probes that a tool which checks only the form of a text may rightly accept."""

_COMMON = frozenset(
    ("a", "an", "and", "as", "for", "in", "is", "it", "of", "on", "that", "the", "to", "was", "with")
)


def hostile_probes(rollouts: Sequence[Rollout], good: Sequence[Probe], seen: frozenset[str]) -> list[Probe]:
    """Return the hostile set for two deciding prompts, and a few of it for a visible one.

    Where right completions are running text and no reference says what must be in them, a tool can only check their
    form, and may rightly accept running text that says nothing: :data:`RUNNING_TEXT` is left out there. What is a
    good probe of the same prompt is never hostile.

    Args:
        rollouts: The family's prompts with their evidence.
        good: Its good probes.
        seen: Prompts of which a writer may see probes.
    """
    form_only = not any(map(right_answers, rollouts)) and any(
        _is_running_text(probe.completion) for probe in good
    )
    accepted = {(repr(probe.rollout), probe.completion.strip()) for probe in good}
    ordered = sorted(rollouts, key=lambda rollout: digest(rollout.prompt))
    hidden = [rollout for rollout in ordered if rollout.prompt not in seen][:PROMPTS]
    shown = [rollout for rollout in ordered if rollout.prompt in seen][:1]
    found = []
    for rollout in (*hidden, *shown):
        is_shown = rollout in shown
        for probe in _of_prompt(rollout, good):
            left_out = (form_only and probe.why in RUNNING_TEXT) or (is_shown and probe.why not in SHOWN)
            if not left_out and (repr(rollout), probe.completion.strip()) not in accepted:
                found.append(replace(probe, rollout=rollout, visible=is_shown))
    return found


def _of_prompt(rollout: Rollout, good: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the hostile set of one prompt."""
    mine = next((probe.completion for probe in good if probe.rollout == rollout), None)
    answers = right_answers(rollout)
    return hostile_set(rollout.prompt, answers[0] if answers else None, mine)


def _is_running_text(completion: str) -> bool:
    """Say whether a completion is made of sentences, by the share of words that every sentence needs."""
    words = completion.lower().split()
    return len(words) >= 6 and sum(word.strip(".,;:!?") in _COMMON for word in words) >= 0.15 * len(words)
