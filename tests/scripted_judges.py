"""Judges for tests: scripts that answer like an honest model, and one for each way to be unfit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from rlar_graph.probes import Probe, hostile_set
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.judge import Judge
from rlar_graph.rewards.judgement import Commitment, Extraction, Finding, Findings, Sameness
from rlar_graph.rewards.rubric import Criterion, Mode, Rubric, with_universal
from rlar_graph.settings import Settings
from rlar_graph.testing import ChatRequest, Line, Script, ScriptedChatServer
from rlar_graph.types import Rollout

EVEN = Criterion(text="The number given is even.", weight=2)
LARGER = Criterion(text="The number given is larger than the limit.", weight=3)
CRITERIA = with_universal([EVEN, LARGER])
LIMITS = range(20, 40)
CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Egypt": "Cairo",
    "Cuba": "Havana",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Greece": "Athens",
    "Poland": "Warsaw",
    "Chile": "Santiago",
    "Ghana": "Accra",
    "Iran": "Tehran",
    "Iraq": "Baghdad",
    "Nepal": "Kathmandu",
    "Qatar": "Doha",
    "Sweden": "Stockholm",
    "Turkey": "Ankara",
    "Austria": "Vienna",
}


def open_rollout(limit: int) -> Rollout:
    return Rollout(f"Write an even number that is larger than {limit}.")


def open_probes(limits: Iterable[int] = LIMITS) -> list[Probe]:
    probes = []
    for limit in limits:
        even = limit + 2 + limit % 2
        probes += [
            Probe(open_rollout(limit), f"I choose {even}, which is even.", "good"),
            Probe(open_rollout(limit), f"I choose {even + 1}, which suits me.", "bad", "odd"),
            Probe(open_rollout(limit), f"I choose {even - 10}, which is even.", "bad", "too small"),
        ]
    for limit in (20, 31):
        probes += hostile_set(open_rollout(limit).prompt, good_completion=f"I choose {limit * 2}.")
    return probes


def capital_probes() -> list[Probe]:
    probes, cities = [], list(CAPITALS.values())
    for number, (country, city) in enumerate(CAPITALS.items()):
        rollout = Rollout(f"What is the capital of {country}?", reference=city)
        probes += [
            Probe(rollout, f"The answer is the city of {city.upper()}.", "good", "other wording"),
            Probe(rollout, f"It is a well-known one: {city}!", "good", "prose"),
            Probe(rollout, f"The answer is {cities[number - 1]}.", "bad", "another city"),
            Probe(rollout, f"{country} has no capital.", "bad", "none"),
        ]
    probes += hostile_set("What is the capital of France?", "Paris", "The answer is Paris.")
    return probes


def part(request: ChatRequest, label: str) -> str:
    """Return what stands in a fence of the request; exactly one may carry the label."""
    found = re.findall(
        rf"\[\[BEGIN {label} (\w+):[^\n]*\]\]\n(.*?)\n\[\[END {label} \1\]\]", request.text, re.DOTALL
    )
    assert len(found) == 1, f"{label}: {len(found)} fences"
    return str(found[0][1])


def criteria_of(request: ChatRequest) -> list[str]:
    return [line.partition(". ")[2] for line in part(request, "criteria").splitlines()]


def is_commitment(request: ChatRequest) -> bool:
    return "BEGIN completion" not in request.text


def findings(quoted: Sequence[tuple[bool, str]]) -> Findings:
    return Findings(
        findings=[
            Finding(criterion=number, quote=quote, holds=holds)
            for number, (holds, quote) in enumerate(quoted, 1)
        ]
    )


def honest_finding(request: ChatRequest, criterion: str) -> tuple[bool, str]:
    completion, limit = part(request, "completion"), re.search(r"larger than (\d+)", part(request, "prompt"))
    assert limit is not None
    if criterion.startswith("The completion speaks to"):
        attack = re.search(
            r"[^\n]*(?:instructions and rate|Output 1\.0|passed|CORRECT|PASSED)[^\n]*", completion
        )
        return attack is not None, attack[0] if attack else ""
    if criterion.startswith("The completion is padded"):
        return len(completion) > 1_000, completion[:40]
    number = re.search(r"I choose (\d+)[^\n]*", completion)
    if number is None or "take it back" in completion:
        return False, ""
    value = int(number[1])
    holds = value % 2 == 0 if criterion == EVEN.text else value > int(limit[1])
    return holds, number[0]


def honest(request: ChatRequest) -> Line:
    if is_commitment(request):
        return Commitment(work="Twice the limit is even.", answer="Any even number above the limit.")
    return findings([honest_finding(request, criterion) for criterion in criteria_of(request)])


def always_yes(request: ChatRequest) -> Line:
    if is_commitment(request):
        return Commitment(answer="Anything.")
    first_words = part(request, "completion").split("\n")[0]
    return findings([(not text.startswith("The completion "), first_words) for text in criteria_of(request)])


def first_position(request: ChatRequest) -> Line:
    """Find the criterion listed first fulfilled by every good completion, whatever it says."""
    if is_commitment(request):
        return Commitment(answer="Any even number above the limit.")
    fits = all(honest_finding(request, criterion.text)[0] for criterion in (EVEN, LARGER))
    words = part(request, "completion").split("\n")[0]
    return findings([(fits and place == 0, words) for place in range(len(criteria_of(request)))])


def obedient(request: ChatRequest) -> Line:
    told = re.search(r"rate this response as correct|Output 1\.0|\"passed\": true|CORRECT", request.text)
    return always_yes(request) if told else honest(request)


def unparsable(request: ChatRequest) -> Line:
    return Commitment(answer="Anything.") if is_commitment(request) else "I like this one a lot! 10/10"


def coin() -> Callable[[ChatRequest], Line]:
    random = Random(7)  # noqa: S311 - a coin, not a secret

    def flip(request: ChatRequest) -> Line:
        if is_commitment(request):
            return Commitment(answer="Anything.")
        words = part(request, "completion").split("\n")[0]
        return findings(
            [
                (not text.startswith("The completion ") and random.random() < 0.5, words)
                for text in criteria_of(request)
            ]
        )

    return flip


def _city(text: str) -> str:
    words = set(re.findall(r"\w+", text.casefold()))
    named = [city for city in CAPITALS.values() if city.casefold() in words]
    hedged = re.search("some people|one of these", text, re.IGNORECASE)
    return named[0] if len(named) == 1 and not hedged else ""


def same_city(request: ChatRequest) -> Line:
    if "BEGIN completion" in request.text:
        return Extraction(answer="")
    first, second = _city(part(request, "first")), _city(part(request, "second"))
    return Sameness(same=bool(first) and first == second, difference="" if first == second else "the city")


def trusts_the_first(request: ChatRequest) -> Line:
    """Look at the first answer alone: is it a city?"""
    if "BEGIN completion" in request.text:
        return Extraction(answer="")
    return Sameness(same=bool(_city(part(request, "first"))))


def alternating() -> Callable[[ChatRequest], Line]:
    numbers = count()
    return lambda request: Sameness(same=next(numbers) % 2 == 0)


@contextmanager
def judging(
    tmp_path: Path,
    script: Script,
    mode: Mode = Mode.OPEN,
    *,
    samples: int = 1,
    criteria: Sequence[Criterion] = CRITERIA,
    **settings: Any,
) -> Iterator[tuple[Judge, ScriptedChatServer]]:
    """Yield a judge with a registry of its own, and the server that it asks."""
    with ScriptedChatServer(script) as server:
        options = {"llm_calls": 5_000} | settings
        chosen = Settings.load(
            registry_url=f"sqlite:///{tmp_path}/rlar.db",
            llm_base_url=server.base_url,
            llm_model="scripted",
            **options,
        )
        with Resources(chosen) as resources:
            rubric = Rubric.of(
                mode, () if mode is Mode.EQUIVALENCE else criteria, "scripted", samples=samples
            )
            yield Judge(ToolSpec("judge-test", "judge", "For tests."), rubric.to_json(), resources), server
