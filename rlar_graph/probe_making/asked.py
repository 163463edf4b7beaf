"""Probes from a language model: answers and mistakes, kept only where independent attempts agree on them.

Good are answers that every independent solver gives, or that a panel is unanimous about. Bad are mistakes that were
asked for, weak probes of the data, and completions of the policy, where the panel is unanimous that they are wrong.
What came of a prompt is cached, so that the rounds of an acquisition see the same probes and pay once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel

from rlar_graph.agreement import Majority, answer_of, majority, might_be_same, said
from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making import panel
from rlar_graph.probe_making.given import LONGEST, digest, right_answers
from rlar_graph.probe_making.near_misses import near_misses
from rlar_graph.probe_making.panel import Case, Opinion, convene
from rlar_graph.probe_making.wordings import wordings
from rlar_graph.probes import Expect, Probe
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.types import Rollout

if TYPE_CHECKING:
    from rlar_graph.registry.store import Registry

SOLVERS = 3
PROMPTS_AT_ONCE = 4
CANDIDATES = 8
REASON_CHARS = 200
CACHE = "probes"


class Solution(BaseModel):
    """One attempt at a task."""

    steps: str
    """How it was solved."""
    completion: str
    """The reply in the form that the task asks for."""


class Mistake(BaseModel):
    """A wrong reply."""

    rule: str
    """The rule it breaks."""
    completion: str
    """The reply."""


class Mistakes(BaseModel):
    """Wrong replies to a task."""

    mistakes: list[Mistake]
    """Each breaks one rule."""


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt that a language model is asked about."""

    rollout: Rollout
    """The prompt with its evidence."""
    doubtful: tuple[Probe, ...] = ()
    """Weak probes of the data, and completions of the policy with an empty reason."""


def asked_probes(
    llm: LanguageModel,
    registry: Registry,
    questions: Sequence[Question],
    enough: Callable[[Sequence[Probe]], bool],
) -> list[Probe]:
    """Return probes on which independent attempts agree, asking about a few prompts at a time until there are enough.

    What the model cannot answer costs its prompt and no more.
    """
    found: list[Probe] = []
    for start in range(0, len(questions), PROMPTS_AT_ONCE):
        some = questions[start : start + PROMPTS_AT_ONCE]
        keys = [_key(llm, question) for question in some]
        known = registry.cached_all(CACHE, keys)
        new = [(key, question) for key, question in zip(keys, some, strict=True) if key not in known]
        made = _asked(llm, [question for _, question in new])
        fresh = {
            key: json.dumps([[probe.completion, probe.expect, probe.why] for probe in probes])
            for (key, _), (probes, whole) in zip(new, made, strict=True)
            if whole
        }
        registry.cache_all(CACHE, fresh)
        for probes, _ in made:
            found += probes
        for key, question in zip(keys, some, strict=True):
            if key in known:
                found += [Probe(question.rollout, *row) for row in json.loads(known[key])]
        answered = [whole or bool(probes) for probes, whole in made]
        if enough(found) or (answered and not any(answered)):
            break  # a model that fails on all of several prompts will not do better on the next
    return found


def _key(llm: LanguageModel, question: Question) -> str:
    """Return the hash of everything that decides what is asked about a prompt."""
    documents = ("solver", "probe_maker_mistakes", panel.DOCUMENT)
    doubtful = (probe.completion for probe in question.doubtful)
    return digest(
        llm.model, *(load_prompt(name).hash for name in documents), repr(question.rollout), *doubtful
    )


def _asked(llm: LanguageModel, questions: Sequence[Question]) -> list[tuple[list[Probe], bool]]:
    """Return the probes of each prompt, and whether everything that was asked was answered."""
    solved = [_solve(llm, question) for question in questions]
    document = load_prompt("probe_maker_mistakes")
    prompts = [document.render(task=question.rollout.prompt) for question in questions]
    spoiled = llm.ask_many("probe_maker", prompts, Mistakes) if prompts else []
    drafts = [
        _draft(question, solutions, mistakes)
        for question, (solutions, _), mistakes in zip(questions, solved, spoiled, strict=True)
    ]
    opinions = convene(llm, [draft.case for draft in drafts]) if drafts else []
    return [
        (
            draft.probes(found),
            whole and not isinstance(mistakes, LLMError) and not isinstance(found, LLMError),
        )
        for draft, (_, whole), mistakes, found in zip(drafts, solved, spoiled, opinions, strict=True)
    ]


def _solve(llm: LanguageModel, question: Question) -> tuple[list[str], bool]:
    """Return independent replies to a prompt, and whether all came; the data's own answer needs none."""
    if right_answers(question.rollout):
        return [], True
    prompt = load_prompt("solver").render(task=question.rollout.prompt)
    replies = llm.sample("solver", prompt, Solution, SOLVERS, seed=1)
    found = [said(reply.completion) for reply in replies if isinstance(reply, Solution)]
    return [text for text in found if 0 < len(text) <= LONGEST], len(found) == len(replies)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is known of a prompt before its panel has spoken."""

    rollout: Rollout
    agreed: Majority | None
    """The answer that every solver gave, if they did."""
    reasons: dict[str, str]
    """What is to be judged, each with what was said of it."""

    @property
    def case(self) -> Case:
        known = right_answers(self.rollout)
        return Case(self.rollout.prompt, tuple(self.reasons), known[0] if known else None)

    def probes(self, opinions: dict[str, Opinion] | LLMError) -> list[Probe]:
        found = {} if isinstance(opinions, LLMError) else opinions
        good, bad = [], []
        for completion, opinion in found.items():
            votes = f"{opinion.votes} independent verdicts"
            if not opinion.right:
                why = self.reasons[completion] or opinion.problem
                bad.append(
                    self._probe(completion, "bad", f"{why[:REASON_CHARS]} ({votes} agree that it is wrong)")
                )
            elif self.agreed is None:
                good.append(self._probe(completion, "good", f"{votes} agree that it is right"))
        if self.agreed is not None and not self._denied(found):
            forms = wordings(self.rollout.prompt, answer_of(self.agreed.answer))
            texts = dict.fromkeys([self.agreed.answer, *list(forms.values())[1:3]])
            good = [self._probe(text, "good", f"{self.agreed} agree") for text in texts]
            bad = [
                probe
                for probe in bad
                if probe.completion not in texts
                and not might_be_same(answer_of(probe.completion), answer_of(self.agreed.answer))
            ]
        return [*good, *bad]

    def _denied(self, opinions: dict[str, Opinion]) -> bool:
        """Say whether the panel is unanimous that the answer on which the solvers agree is wrong."""
        opinion = opinions.get(self.agreed.answer) if self.agreed else None
        return opinion is not None and not opinion.right

    def _probe(self, completion: str, expect: str, why: str) -> Probe:
        return Probe(self.rollout, completion, cast(Expect, expect), why)


def _draft(question: Question, solutions: Sequence[str], mistakes: Mistakes | LLMError) -> _Draft:
    """Gather what a prompt's panel is to judge; the earlier, the more it is needed."""
    found = majority([answer_of(solution) for solution in solutions])
    unanimous = found is not None and found.votes == SOLVERS
    agreed = Majority(solutions[0], found.votes, found.attempts) if found and unanimous else None
    reasons = {solution: "" for solution in ([agreed.answer] if agreed else solutions)}
    if isinstance(mistakes, Mistakes):
        for mistake in mistakes.mistakes[:3]:
            reasons.setdefault(said(mistake.completion), f"asked for: {mistake.rule}")
    for probe in question.doubtful:
        reasons.setdefault(probe.completion, probe.why)
    if agreed:
        for why, text in list(near_misses(question.rollout.prompt, agreed.answer).items())[:2]:
            reasons.setdefault(text, f"near miss: {why}")
    known = right_answers(question.rollout)
    kept = [
        (text, why[:REASON_CHARS])
        for text, why in reasons.items()
        if 0 < len(text) <= LONGEST and text not in (*known, panel.CONTROL)
    ]
    return _Draft(question.rollout, agreed, dict(kept[:CANDIDATES]))
