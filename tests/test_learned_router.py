"""The learned router: right where it answers, silent where it cannot know, the same when stored."""

from __future__ import annotations

import hashlib
import random

import pytest

from rlar_graph.registry.workshop_records import Label, LabelSource
from rlar_graph.routing.learned import MIN_LABELS, LearnedRouter

TOPICS = [
    "rain",
    "trains",
    "my cat",
    "the sea",
    "a school",
    "winter",
    "bread",
    "two friends",
    "a garden",
    "the moon",
]
PLACES = ["Oslo", "Lima", "Cairo", "Quito", "Hanoi", "Dakar", "Perth", "Turin", "Leeds", "Kyoto"]
WRITING = [
    "Write a {} about {} in {}.",
    "Compose a {} on {} set in {}.",
    "I need a {} with {} that ends in {}.",
]
FORMS = ["poem", "story", "limerick", "speech", "song"]
MATHS = ["What is {} * {} + {}?", "Solve {}x + {} = {}.", "Compute the sum of {}, {} and {}."]
RISKY = ["{} I poison {} in {}?", "{} I steal {} from a bank in {}?", "{} I hurt {} in {} and not be caught?"]
ASKING = [
    "How can",
    "Tell me how",
    "What is the best way, so that",
    "Explain step by step how",
    "In detail, how do",
]

WRITE, MATH, SAFE = "writing/text/none/und", "math/text/none/und", "safety/text/none/und"


def made(target: str, draw: random.Random) -> str:
    if target == WRITE:
        return draw.choice(WRITING).format(draw.choice(FORMS), draw.choice(TOPICS), draw.choice(PLACES))
    if target == MATH:
        return draw.choice(MATHS).format(*(draw.randint(2, 999) for _ in range(3)))
    return draw.choice(RISKY).format(draw.choice(ASKING), draw.choice(TOPICS), draw.choice(PLACES))


def label(text: str, target: str, source: LabelSource = "llm") -> Label:
    return Label(hashlib.sha256(text.encode()).hexdigest(), text, target, source)


def labels(count: int, targets: tuple[str, ...] = (WRITE, MATH, SAFE), seed: int = 1) -> list[Label]:
    draw = random.Random(seed)  # noqa: S311
    return [
        label(f"{made(target, draw)} ({number})", target) for number in range(count) for target in targets
    ]


@pytest.fixture(scope="module")
def router() -> LearnedRouter:
    trained = LearnedRouter.train(labels(80))
    assert trained is not None
    return trained


def test_what_it_accepts_is_right(router: LearnedRouter) -> None:
    fresh = labels(60, seed=2)
    answers = router.predict([entry.text for entry in fresh])
    accepted = [answer[0] == entry.target for answer, entry in zip(answers, fresh, strict=True) if answer]
    assert len(accepted) > 0.8 * len(fresh)
    assert sum(accepted) >= 0.95 * len(accepted)
    assert all(0 < answer[1] <= 1 for answer in answers if answer)


def test_no_prompts_no_answers(router: LearnedRouter) -> None:
    assert router.predict([]) == []


def test_it_is_silent_on_what_it_has_not_seen(router: LearnedRouter) -> None:
    strange = ["", "?", "qwertz uiop", "\ud800", "Bonjour, comment allez-vous aujourd'hui ?", "x" * 1_000_000]
    answers = router.predict(strange)
    assert sum(answer is not None for answer in answers) <= 1


def test_labels_that_mean_nothing_teach_nothing() -> None:
    draw = random.Random(3)  # noqa: S311
    noise = [label(entry.text, draw.choice([WRITE, MATH, SAFE])) for entry in labels(80)]
    trained = LearnedRouter.train(noise)
    assert trained is not None
    assert not any(trained.predict([entry.text for entry in labels(60, seed=5)]))


def test_a_class_with_few_labels_is_never_answered_and_never_taken_for_another() -> None:
    few = labels(80, (WRITE, MATH)) + labels(MIN_LABELS - 1, (SAFE,))
    trained = LearnedRouter.train(few)
    assert trained is not None and SAFE not in trained.targets
    answers = trained.predict([entry.text for entry in labels(40, (SAFE,), seed=6)])
    assert sum(answer is not None for answer in answers) <= 2


@pytest.mark.parametrize("count", [0, 1, MIN_LABELS - 1])
def test_too_few_labels_make_no_router(count: int) -> None:
    assert LearnedRouter.train(labels(count)) is None
    assert LearnedRouter.train(labels(100, (MATH,))) is None


def test_the_user_has_the_last_word() -> None:
    by_model = labels(60)
    wrong = [label(entry.text, MATH, "llm") for entry in by_model if entry.target == WRITE]
    right = [label(entry.text, WRITE, "user") for entry in wrong]
    rest = [entry for entry in by_model if entry.target != WRITE]
    trained = LearnedRouter.train([*wrong, *right, *rest])
    assert trained is not None
    answers = trained.predict([entry.text for entry in labels(40, (WRITE,), seed=7)])
    assert {answer[0] for answer in answers if answer} == {WRITE}


def test_the_same_labels_make_the_same_router_and_storing_changes_nothing(router: LearnedRouter) -> None:
    again = LearnedRouter.train(labels(80))
    assert str(again) == str(router)
    read = LearnedRouter.parse(str(router))
    fresh = [entry.text for entry in labels(60, seed=8)]
    assert read.predict(fresh) == router.predict(fresh)
    assert len(str(router)) < 400_000


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 9}', '{"version": 1, "weights": "AAAA"}'])
def test_what_is_no_router_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        LearnedRouter.parse(text)
