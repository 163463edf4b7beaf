"""The planner's work: where each rollout goes, and which family it belongs to.

Rules come first, then what is known of the very prompt, then the learned router, and last the language model, many
prompts a call. Its answers are kept as labels in the registry, so that nobody asks twice and the learned router takes
over: the number of calls grows with the kinds of prompts there are, not with the prompts.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Sequence

from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel, Usage
from rlar_graph.planning.families import find_families
from rlar_graph.planning.sorting import PROMPTS_PER_CALL, ROLE, open_signature, sort_prompts
from rlar_graph.registry.workshop_records import Label
from rlar_graph.resources import Resources
from rlar_graph.routing.grouping import group
from rlar_graph.routing.kinds import kinds
from rlar_graph.routing.learned import TRUST, LearnedRouter
from rlar_graph.routing.router import Route, route
from rlar_graph.routing.signature import UNDECIDED, Domain, Signature
from rlar_graph.types import Rollout

__all__ = ["MAX_CALLS", "Planner", "kinds"]

MAX_CALLS = 20
"""Most requests of one :meth:`Planner.decide`, repairs included."""

CALLS_A_ROUND = 4
"""Calls between two trainings of the learned router."""

ROUTER, ROUTED = "router", "routed"
"""What is kept in the registry's cache: routers by what they learnt from, and their decisions by prompt."""

LABELS_READ = 6_000
LABELS_FRESH_SECONDS = 60.0
REMEMBERED = 100_000
"""Decisions kept in memory, lest a prompt that comes again is looked up again."""

RETRAIN = 1.25
"""The learned router is trained again when there are this many times the labels."""

RULE_LABELS = 150
"""Labels by rule per domain and process; they show the learned router what rules see, and more would drown the rest."""

_TAUGHT = frozenset({Domain.MATH, Domain.CODE, Domain.TRANSLATION, Domain.SUMMARIZATION})
_BY_WHOM = {"user": "a user", "llm": "the language model"}


class Planner:
    """Decides where rollouts go and finds families. Safe to share between threads.

    Args:
        resources: Registry and language model.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._labels: dict[str, Label] = {}
        self._newest: tuple[Label, ...] = ()
        self._decided: dict[str, Route] = {}
        self._by_rule: Counter[Domain] = Counter()
        self._router: LearnedRouter | None = None
        self._learnt_from = 0
        self._read_until = 0.0

    def decide(self, rollouts: Sequence[Rollout], *, ask: bool = True) -> list[Route]:
        """Return where each rollout goes, and why.

        Prompts that nobody could decide keep the signature of undecided ones; their reason says so.

        Args:
            rollouts: What is to be graded.
            ask: Whether the language model may be asked; without it this is cheap enough for every batch, and costs
                nothing at all where rules decide.

        Raises:
            RegistryError: The registry cannot be read or written.
        """
        routes = [route(rollout) for rollout in rollouts]
        left = {
            index: _hash(rollouts[index].prompt)
            for index, way in enumerate(routes)
            if way.signature == UNDECIDED
        }
        if left:
            prompts = {key: rollouts[index].prompt for index, key in left.items()}
            with self._lock:
                self._read_labels()
                if ask:
                    self._teach(rollouts, routes)
                decided = self._decide_open(prompts)
            llm = self._resources.llm if ask and prompts and not self._resources.registry.frozen else None
            if llm is not None:
                # Others go on deciding meanwhile; only two that would ask about the same prompts take turns.
                with self._asking:
                    self._by_model(llm, prompts, decided)
            for index, key in left.items():
                routes[index] = decided.get(key, routes[index])
        return routes

    def families(
        self, rollouts: Sequence[Rollout], routes: Sequence[Route] | None = None
    ) -> dict[str, list[int]]:
        """Return registry key -> indices, for rollouts that no tool serves; families new here are registered.

        A data source is taken at its word. Then come known families, then groups of at least
        ``Settings.family_prompts`` different prompts of one template and evidence. The rest is left under
        its signature.

        Args:
            rollouts: What no tool serves.
            routes: Where they go; decided here if left out.

        Raises:
            RegistryError: The registry cannot be read or written.
        """
        routes = self.decide(rollouts) if routes is None else routes
        smallest = self._resources.settings.family_prompts
        return find_families(self._resources.registry, rollouts, routes, smallest)

    def _decide_open(self, left: dict[str, str]) -> dict[str, Route]:
        """Return hash of prompt -> route, as far as labels and the learned router go.

        Args:
            left: Hash -> prompt; what is decided is taken out.
        """
        decided = {key: self._decided[key] for key in left if key in self._decided}
        for key in decided:
            del left[key]
        if left:
            self._by_label(left, decided)
            self._as_before(left, decided)
        if left:
            self._by_router(left, decided)
        if len(self._decided) + len(decided) > REMEMBERED:
            self._decided.clear()
        self._decided |= decided
        return decided

    def _by_label(self, left: dict[str, str], decided: dict[str, Route]) -> None:
        """Decide the prompts that somebody has decided before."""
        for key in list(left):
            label = self._labels.get(key)
            if label is not None and label.source in _BY_WHOM:
                signature = Signature.parse(label.target)
                said = "leaves it open" if signature == UNDECIDED else f"calls it {signature.domain}"
                decided[key] = Route(signature, f"there is no evidence; {_BY_WHOM[label.source]} {said}")
                del left[key]

    def _as_before(self, left: dict[str, str], decided: dict[str, Route]) -> None:
        """Decide the prompts that a learned router has decided before; it may have learnt more, but tools stay."""
        for key, target in self._resources.registry.cached_all(ROUTED, list(left)).items():
            decided[key] = _learned(target)
            del left[key]

    def _by_router(self, left: dict[str, str], decided: dict[str, Route]) -> None:
        """Decide the prompts that the learned router is sure of."""
        self._train()
        if self._router is None:
            return
        answers = zip(list(left), self._router.predict(list(left.values())), strict=True)
        sure = {
            key: answer[0] for key, answer in answers if answer is not None and answer[0] != UNDECIDED.key
        }
        self._resources.registry.cache_all(ROUTED, sure)
        for key, target in sure.items():
            decided[key] = _learned(target)
            del left[key]

    def _by_model(self, llm: LanguageModel, left: dict[str, str], decided: dict[str, Route]) -> None:
        """Ask about one prompt per group, a few calls at a time, until the learned router knows the rest."""
        with self._lock:
            self._by_label(left, decided)
        keys = list(left)
        alike = group([left[key] for key in keys])
        waiting = [[keys[number] for number in members] for members in _spread(alike)]
        before, problem = _calls(llm), ""
        while waiting:
            # A reply may need a repair, so each call is reckoned as two.
            calls = min(CALLS_A_ROUND, (MAX_CALLS - (_calls(llm) - before)) // 2)
            if calls < 1:
                problem = problem or f"the {MAX_CALLS} calls of one decision went to other prompts"
                break
            asked, waiting = waiting[: calls * PROMPTS_PER_CALL], waiting[calls * PROMPTS_PER_CALL :]
            answered, problem = self._ask(llm, asked, left)
            if not answered:
                break
            with self._lock:
                self._by_label(left, decided)
                self._by_router(left, decided)
            waiting = [kept for keys in waiting if (kept := [key for key in keys if key in left])]
        why = f"there is no evidence, and the language model has not decided: {problem}"
        decided |= dict.fromkeys(left, Route(UNDECIDED, why))

    def _ask(
        self, llm: LanguageModel, asked: Sequence[Sequence[str]], left: dict[str, str]
    ) -> tuple[int, str]:
        """Ask about the first of each group and label all of it.

        Returns:
            How many prompts are labelled now, and what went wrong with one of the calls.
        """
        batches = [
            asked[start : start + PROMPTS_PER_CALL] for start in range(0, len(asked), PROMPTS_PER_CALL)
        ]
        answers = sort_prompts(llm, [[left[keys[0]] for keys in batch] for batch in batches])
        labels, problem = [], ""
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, LLMError):
                problem = str(answer)
                continue
            labels += [
                Label(key, left[key], signature.key, "llm")
                for keys, signature in zip(batch, answer, strict=True)
                for key in keys
            ]
        self._resources.registry.add_labels(labels)
        with self._lock:
            self._labels |= {label.prompt_hash: label for label in labels}
        return len(labels), problem

    def _teach(self, rollouts: Sequence[Rollout], routes: Sequence[Route]) -> None:
        """Keep what rules decided with evidence in hand as labels for the learned router."""
        labels = []
        for rollout, way in zip(rollouts, routes, strict=True):
            domain, key = way.signature.domain, _hash(rollout.prompt)
            if domain in _TAUGHT and self._by_rule[domain] < RULE_LABELS and key not in self._labels:
                self._by_rule[domain] += 1
                labels.append(Label(key, rollout.prompt, open_signature(domain).key, "rule"))
                self._labels[key] = labels[-1]
        self._resources.registry.add_labels(labels)

    def _read_labels(self) -> None:
        """Read the registry's labels now and then; of several for one prompt the most trusted counts."""
        if time.monotonic() < self._read_until:
            return
        self._read_until = time.monotonic() + LABELS_FRESH_SECONDS
        labels = self._resources.registry.labels(LABELS_READ)
        if labels[:1] != self._newest:
            self._newest = labels[:1]
            self._decided.clear()
        for label in reversed(labels):
            other = self._labels.get(label.prompt_hash)
            if other is None or TRUST[label.source] >= TRUST[other.source]:
                self._labels[label.prompt_hash] = label

    def _train(self) -> None:
        """Train the learned router if there is enough that is new; what was trained on the same labels is read."""
        open_labels = [label for label in self._labels.values() if label.source in _BY_WHOM]
        if len(open_labels) < max(2 * PROMPTS_PER_CALL, round(RETRAIN * self._learnt_from)):
            return
        self._learnt_from = len(open_labels)
        labels = sorted(self._labels.values(), key=lambda label: label.prompt_hash)
        digest = hashlib.sha256()
        for label in labels:
            digest.update(f"{label.prompt_hash} {label.target} {label.source}\n".encode())
        registry = self._resources.registry
        stored = registry.cached(ROUTER, digest.hexdigest())
        if stored is None:
            self._router = LearnedRouter.train(labels)
            registry.cache(ROUTER, digest.hexdigest(), str(self._router or ""))
        else:
            self._router = LearnedRouter.parse(stored) if stored else None


def _hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def _learned(target: str) -> Route:
    """Return the route of a prompt that the learned router decided."""
    signature = Signature.parse(target)
    return Route(signature, f"there is no evidence; the learned router calls it {signature.domain}")


def _calls(llm: LanguageModel) -> int:
    """Return how many requests were made for the planner up to now."""
    usage = llm.ledger.snapshot().get(ROLE, Usage())
    return usage.calls + usage.failures


def _spread(alike: Sequence[list[int]]) -> list[list[int]]:
    """Return groups in the order of asking: large ones first, the others mixed, as data sets come in blocks."""
    large = sorted((members for members in alike if len(members) > 1), key=lambda members: -len(members))
    alone = [members for members in alike if len(members) == 1]
    stride = 7
    return large + [members for start in range(stride) for members in alone[start::stride]]
