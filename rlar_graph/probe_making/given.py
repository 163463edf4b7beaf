"""Probes from the data: what a prompt's reference says of completions, without asking anybody.

A reference in several wordings is good. Other prompts' references and near misses are bad, except where several
answers may be right: there they are *weak*, which is to say probably bad. One in five of those is right after all, and
one such probe can make a right verifier fail, so they count for nothing until independent verdicts confirm them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlar_graph.agreement import might_be_same
from rlar_graph.probe_making.near_misses import near_misses
from rlar_graph.probe_making.wordings import wordings
from rlar_graph.probes import Probe
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.routing.answer_type import is_prose
from rlar_graph.types import Rollout

OTHERS, MISSES = 2, 3
LONGEST = 4_000

_OPPOSITES = {"yes": "no", "true": "false", "valid": "invalid", "possible": "impossible"}
_OPPOSITES |= {right: left for left, right in _OPPOSITES.items()}
_NUMBERED = r"(?:\d+|two|three|four|five|six|seven|eight|nine|ten)"
_SEVERAL = re.compile(
    r"\b(?:any (?:valid|one|such|of|order|number|word|solution|way|\w+ date)|an (?:example|instance)"
    r"|(?:one|a) (?:possible|valid)|multiple (?:possible )?(?:answers|solutions)|come up with|construct|compose|arrange"
    r"|create|generate|such that|expression that|(?:sequence|list) of (?:moves|steps|buttons|actions)|your moves?"
    r"|(?:write|find|give|name|say|provide|suggest|pick|propose|make|build|produce|state) (?:an?|any|one|some|your) "
    rf"|(?:write|name|list|give|pick|choose|say|provide|place) (?:exactly |at least |me |down )?{_NUMBERED}\b"
    r"|using (?:all|each|every|only))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A probe from the data."""

    probe: Probe
    """The probe."""
    weak: bool = False
    """Whether it may be wrong about its completion, so that it must not be used unless others confirm it."""


def right_answers(rollout: Rollout) -> tuple[str, ...]:
    """Return the answers that the data calls right, as a completion would give them; the short ones first."""
    reference = rollout.reference
    found: list[str] = []
    if isinstance(reference, str):
        marked = final_answer(reference, trusted=True)
        if marked is not None and marked.form in ("boxed", "tag", "hash", "phrase"):
            found.append(marked.text)
        found.append(reference)
    elif isinstance(reference, bool | int | float):
        found.append(str(reference))
    elif isinstance(reference, Mapping):
        found.append(json.dumps(reference, ensure_ascii=False, default=str))
    elif isinstance(reference, Sequence):
        found.append(", ".join(map(str, reference)))
    found += rollout.aliases
    return tuple(dict.fromkeys(answer.strip() for answer in found if 0 < len(answer.strip()) <= LONGEST))


def several_right(rollout: Rollout) -> bool:
    """Say whether a prompt may have right answers besides those that the data gives."""
    return bool(rollout.aliases) or not right_answers(rollout) or _SEVERAL.search(rollout.prompt) is not None


def answers_vary(rollouts: Sequence[Rollout]) -> bool:
    """Say whether the data calls different answers to one and the same prompt right."""
    known: dict[str, tuple[str, ...]] = {}
    for rollout in rollouts:
        answers = right_answers(rollout)[:1]
        before = known.setdefault(rollout.prompt, answers)
        if answers and before and not might_be_same(answers[0], before[0]):
            return True
    return False


def given_probes(rollout: Rollout, others: Sequence[Rollout], *, several: bool = False) -> list[Offer]:
    """Return the probes that the data gives for one prompt.

    Args:
        rollout: The prompt with its evidence.
        others: Further prompts of the family whose references may be used; those that only the same people may see.
        several: Whether the family's prompts are known to have several right answers.
    """
    answers = right_answers(rollout)
    if not answers:
        return []
    weak = several or several_right(rollout)
    good = {
        text: f"the reference: {form}"
        for answer in answers[:2]
        for form, text in wordings(rollout.prompt, answer, product=weak).items()
    }
    offers = [Offer(Probe(rollout, text, "good", why)) for text, why in good.items()]
    for number, (why, answer) in enumerate(_wrong(rollout, answers, others).items()):
        forms = list(wordings(rollout.prompt, answer, product=weak).values())
        # Bad answers come in the same forms as good ones, so that no form gives a verdict away.
        offers.append(Offer(Probe(rollout, forms[number % len(forms)], "bad", why), weak))
    return offers


def _wrong(rollout: Rollout, answers: Sequence[str], others: Sequence[Rollout]) -> dict[str, str]:
    """Return answers that are wrong if only the given ones are right, by why."""
    first = answers[0]
    found = _other_options(rollout, answers)
    opposite = _OPPOSITES.get(first.lower())
    if opposite:
        found["the opposite"] = opposite.capitalize() if first[:1].isupper() else opposite
    found |= _other_references(rollout, answers, others)
    if not (found and (opposite or rollout.choices)) and not is_prose(first):
        misses = near_misses(rollout.prompt, first)
        chosen = list(misses.items())[:MISSES]
        found |= {f"near miss: {why}": text for why, text in chosen}
    return found


def _other_options(rollout: Rollout, answers: Sequence[str]) -> dict[str, str]:
    labels = [
        (label, text) for label, text in rollout.choices if label not in answers and text not in answers
    ]
    by_text = any(text in answers for _, text in rollout.choices) and not any(
        label in answers for label, _ in rollout.choices
    )
    return {f"another option: {label}": text if by_text else label for label, text in labels[: OTHERS + 1]}


def _other_references(rollout: Rollout, answers: Sequence[str], others: Sequence[Rollout]) -> dict[str, str]:
    """Return answers to other prompts that are surely not the same as this prompt's."""
    rivals: dict[str, None] = {}
    for other in sorted(others, key=lambda one: digest(rollout.prompt, one.prompt)):
        theirs = right_answers(other)[:1]
        if other.prompt != rollout.prompt and not any(
            might_be_same(mine, rival) for mine in answers for rival in theirs
        ):
            rivals |= dict.fromkeys(theirs)
        if len(rivals) >= OTHERS:
            break
    return {f"the answer to another prompt, {number}": rival for number, rival in enumerate(rivals, 1)}


def digest(*texts: str) -> str:
    """Return a hash that puts texts into an order that is the same in every run and gives nothing away."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
