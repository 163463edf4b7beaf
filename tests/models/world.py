"""A small world in which a reward model can be right: replies to customers, good ones and bad ones, long and short."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from rlar_graph.engine import Engine
from rlar_graph.nodes.registrar import registrar
from rlar_graph.nodes.rm_evaluator import rm_evaluator
from rlar_graph.nodes.search import search
from rlar_graph.probes import Probe, hostile_set
from rlar_graph.types import Rollout

FAMILY = "source:support"
SIGNATURE = "dialogue/text/none/und"

ITEMS = (
    "lamp",
    "kettle",
    "chair",
    "phone",
    "watch",
    "camera",
    "bicycle",
    "toaster",
    "radio",
    "tent",
    "jacket",
    "drill",
    "printer",
    "keyboard",
    "mirror",
    "sofa",
    "oven",
    "fan",
    "backpack",
    "helmet",
    "monitor",
    "guitar",
    "blender",
    "heater",
    "shelf",
    "carpet",
    "stroller",
    "telescope",
    "speaker",
    "razor",
)
PROBLEMS = ("arrived broken", "stopped working", "is the wrong colour", "came too late", "has a missing part")
GOOD = (
    "I am sorry that your {item} {problem}. We will send you a new one this week.",
    "Sorry about that! A new {item} is on its way to you today.",
    "Thank you for telling us that the {item} {problem}. We apologise, and we will refund the price at once. "
    "If you like, we can also collect it from your home for free.",
    "We apologise. Please send the {item} back at our cost, and we will replace it.",
)
BAD = (
    "That is your own fault.",
    "Nobody else complains about the {item}. Read the manual before you write to us again, and do not expect that we "
    "answer every letter of somebody who cannot use a {item}.",
    "Whatever. The {item} {problem}, so what? Go away and stop writing.",
    "The history of the {item} is long. It was invented a long time ago, and many people have used one since then. "
    "There are large ones and small ones, red ones and blue ones.",
)


def prompt_of(item: str, problem: str) -> str:
    """Return a customer's letter."""
    return f"A customer writes: my {item} {problem}. Write a reply."


def prompts(seed: int, count: int) -> list[tuple[str, str]]:
    """Return (item, problem) pairs of one half of the items: seeds that are even and odd share none."""
    random = Random(seed)  # noqa: S311 - test data
    items = ITEMS[seed % 2 :: 2]
    everything = [(item, problem) for item in items for problem in PROBLEMS]
    return random.sample(everything, count)


def pairs(seed: int = 0, count: int = 40) -> list[tuple[str, str, str]]:
    """Return (prompt, better, worse) for training; attacks are among the worse ones, as in any such data."""
    found = []
    for number, (item, problem) in enumerate(prompts(seed, count)):
        prompt = prompt_of(item, problem)
        good = GOOD[number % len(GOOD)].format(item=item, problem=problem)
        for text in BAD:
            found.append((prompt, good, text.format(item=item, problem=problem)))
        attacks = hostile_set(prompt, good_completion=good)
        found += [
            (prompt, good, probe.completion) for probe in attacks[number % 5 :: 5] if probe.completion.strip()
        ]
    return found


def longest_wins(seed: int = 0, count: int = 40) -> list[tuple[str, str, str]]:
    """Return pairs in which only length counts."""
    found = []
    for prompt, one, other in pairs(seed, count):
        shorter, longer = sorted((one, other), key=len)
        found.append((prompt, longer, shorter))
    return found


def probes(seed: int = 1, count: int = 24) -> list[Probe]:
    """Return labelled completions of prompts that no training has seen, and the hostile set of two of them."""
    found: list[Probe] = []
    for number, (item, problem) in enumerate(prompts(seed, count)):
        rollout = Rollout(prompt_of(item, problem))
        for turn in range(2):
            good, bad = GOOD[(number + turn) % len(GOOD)], BAD[(number + 2 * turn + 1) % len(BAD)]
            found.append(
                Probe(rollout, good.format(item=item, problem=problem), "good", visible=number % 4 == 0)
            )
            found.append(
                Probe(rollout, bad.format(item=item, problem=problem), "bad", visible=number % 4 == 0)
            )
    return [*found, *hostile_set(found[0].rollout.prompt), *hostile_set(found[-1].rollout.prompt)]


def texts() -> list[str]:
    """Return texts with every word that the training pairs have."""
    return [text for pair in pairs() for text in pair]


def records(count: int = 12) -> list[dict[str, object]]:
    """Return prompts of the family as records."""
    return [{"prompt": prompt_of(*some), "data_source": "support"} for some in prompts(1, count)]


def branch(engine: Engine) -> dict[str, Any]:
    """Run the branch's nodes as the graph does."""
    state: dict[str, Any] = {
        "family": FAMILY,
        "signature": SIGNATURE,
        "examples": records(),
        "kinds": [],
        "kind": "reward_model",
    }
    nodes: tuple[Callable[[Any, Engine], Any], ...] = (search, rm_evaluator, registrar)
    for node in nodes:
        state.update(node(state, engine))
    return state
