"""The probes of a family: gathered from users, from the data, from a language model and from before, and kept.

Certain probes of the data come first, for they cost nothing. A language model is asked only where they are too few to
decide. Once kept, a probe stays and keeps its side: every later version of the family's tool is held to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making.asked import Question, asked_probes
from rlar_graph.probe_making.given import Offer, answers_vary, given_probes
from rlar_graph.probe_making.hostile import hostile_probes
from rlar_graph.probe_making.keeping import bare, keep, kept
from rlar_graph.probe_making.sides import count, on_sides, visible_prompts
from rlar_graph.probes import Probe
from rlar_graph.records import rollout_from
from rlar_graph.registry.store import Registry
from rlar_graph.registry.workshop_records import ProbeOrigin
from rlar_graph.resources import Resources
from rlar_graph.types import Rollout

NEEDED = 20
"""Deciding probes of a kind below which no gate can tell a right tool from a wrong one."""
WANTED = {True: 10, False: 40}
"""How many good ones, and how many bad ones, are gathered: visible, deciding. More would only cost time."""
VISIBLE_NEEDED = 2
PER_PROMPT = 4
PROMPTS_ASKED = 12
"""Prompts a language model is asked about at most; each costs up to seven requests."""


def family_probes(
    task: Mapping[str, object], resources: Resources, user_probes: Sequence[Probe] = ()
) -> tuple[Probe, ...]:
    """Return the probes of a family, old and new; new ones are kept.

    The same task gives the same probes again, and what a language model was asked is not asked twice. A model that
    fails costs its probes and no more; :func:`shortage` says what is missing then.

    Args:
        task: The family: its ``family`` key and ``examples``, as records.
        resources: Registry, and the language model where there is one.
        user_probes: Probes of a user, taken at their word.

    Raises:
        RegistryError: The registry cannot be read or written.
    """
    registry, family = resources.registry, str(task["family"])
    keep(registry, family, "user", (replace(probe, rollout=bare(probe.rollout)) for probe in user_probes))
    examples = _examples(task["examples"])
    known = kept(registry, family)
    seen = visible_prompts([rollout for rollout, _ in examples], known)
    everyone = [rollout for rollout, _ in examples]
    varied = answers_vary(everyone)
    offers = [_offers(rollout, everyone, seen, varied) for rollout in everyone]
    certain = _in_turns([[offer.probe for offer in some if not offer.weak] for some in offers])
    _add(registry, family, "data", on_sides(certain, seen))
    if resources.llm is not None and not has_enough(kept(registry, family), NEEDED):
        questions = [
            Question(rollout, (*_weak(some), *_policy(rollout, completions)))
            for (rollout, completions), some in zip(examples, offers, strict=True)
        ]
        _ask(registry, family, resources.llm, questions, seen)
    good = [probe for probe in kept(registry, family) if probe.expect == "good"]
    keep(registry, family, "hostile", hostile_probes(everyone, good, seen))
    return kept(registry, family)


def shortage(probes: Sequence[Probe]) -> str | None:
    """Return why the probes cannot decide anything and what to supply, or None where they can."""
    good, bad = (count(probes, expect, visible=False) for expect in ("good", "bad"))
    if min(good, bad) >= NEEDED:
        return None
    lacking = " and ".join(
        f"{word} ones" for word, count in (("right", good), ("wrong", bad)) if count < NEEDED
    )
    return (
        f"too few labelled completions to prove a tool on: {good} right and {bad} wrong, and {NEEDED} of each are"
        f" needed beside those that the writer sees. Supply {lacking}: prompts with references, or a file of probes"
        " (prompt, completion, expect: good or bad)"
    )


def has_enough(probes: Sequence[Probe], deciding: int) -> bool:
    """Say whether there are ``deciding`` good and bad probes to decide, and some for a writer to see."""
    return all(
        count(probes, expect, visible=seen) >= (VISIBLE_NEEDED if seen else deciding)
        for expect in ("good", "bad")
        for seen in (True, False)
    )


def _examples(records: object) -> list[tuple[Rollout, tuple[str, ...]]]:
    """Return each distinct prompt with its evidence, and the policy's completions of it."""
    found: dict[str, tuple[Rollout, tuple[str, ...]]] = {}
    for record in records if isinstance(records, Sequence) else ():
        rollout = rollout_from(record)
        found.setdefault(repr(bare(rollout)), (bare(rollout), rollout.completions))
    return list(found.values())


def _offers(rollout: Rollout, everyone: Sequence[Rollout], seen: frozenset[str], varied: bool) -> list[Offer]:
    """Return what the data gives for a prompt; of other prompts only those on the same side are used."""
    side = rollout.prompt in seen
    others = [other for other in everyone if (other.prompt in seen) is side]
    return given_probes(rollout, others, several=varied)


def _weak(offers: Sequence[Offer]) -> tuple[Probe, ...]:
    return tuple(offer.probe for offer in offers if offer.weak)


def _policy(rollout: Rollout, completions: Sequence[str]) -> tuple[Probe, ...]:
    """Return two completions of the policy as probes without a verdict, for a panel to judge."""
    return tuple(Probe(rollout, text, "bad") for text in dict.fromkeys(completions) if text.strip())[:2]


def _in_turns(rows: Sequence[Sequence[Probe]]) -> list[Probe]:
    """Return the good and the bad probes of all prompts in turns, so that a cut leaves some of every prompt."""
    found: list[Probe] = []
    for expect in ("good", "bad"):
        some = [[probe for probe in row if probe.expect == expect][:PER_PROMPT] for row in rows]
        for turn in range(PER_PROMPT):
            # Each prompt begins with another form, so that a cut leaves some of every form too.
            found += [row[(turn + at) % len(row)] for at, row in enumerate(some) if turn < len(row)]
    return found


def _add(registry: Registry, family: str, origin: ProbeOrigin, probes: Sequence[Probe]) -> None:
    """Keep probes as far as they are wanted beside those that are kept."""
    known = kept(registry, family)
    counts = {
        (expect, seen): count(known, expect, visible=seen)
        for expect in ("good", "bad")
        for seen in (True, False)
    }
    there = {(repr(probe.rollout), probe.completion) for probe in known}
    wanted = []
    for probe in probes:
        kind = (probe.expect, probe.visible)
        if (repr(probe.rollout), probe.completion) in there or counts[kind] >= WANTED[probe.visible]:
            continue
        counts[kind] += 1
        wanted.append(probe)
    keep(registry, family, origin, wanted)


def _ask(
    registry: Registry, family: str, llm: LanguageModel, questions: Sequence[Question], seen: frozenset[str]
) -> None:
    """Ask a language model about some prompts, one of four a visible one, and keep what it is sure of."""
    before = kept(registry, family)
    shown = [question for question in questions if question.rollout.prompt in seen]
    hidden = [question for question in questions if question.rollout.prompt not in seen]
    order: list[Question] = []
    while (shown or hidden) and len(order) < PROMPTS_ASKED:
        order += [*shown[:1], *hidden[:3]]
        del shown[:1], hidden[:3]

    def enough(found: Sequence[Probe]) -> bool:
        return has_enough([*before, *on_sides(found, seen)], WANTED[False])

    asked = asked_probes(llm, registry, order[:PROMPTS_ASKED], enough)
    _add(registry, family, "llm", on_sides(asked, seen))
