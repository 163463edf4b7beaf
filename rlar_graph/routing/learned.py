"""The learned router: which kind of work an open-ended prompt asks for, learnt from labels.

It decides only what rules leave open, and only when it can be relied on: a class is accepted from the confidence on
at which held-out prompts of that class were right 95 times in 100, and never with fewer labels than
:data:`MIN_LABELS`; a prompt whose words it hardly knows is not answered at all, however confident it is. Everything
else is left to somebody who can read.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from rlar_graph.routing.prompt_features import (
    FOLDS,
    WIDTH,
    WORD_BITS,
    features_of,
    fold_of,
    known_share,
    least_known,
    seen_in,
    words_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

MIN_LABELS = 20
"""Labels that a class needs before anything is accepted for it."""

ACCURACY = 0.95
"""Estimated share of accepted decisions that are right."""

MAX_LABELS = 2_400
"""Most labels that are learnt from, the newest of each class; training costs the cube of it."""

RARE = ""
"""What prompts of classes with too few labels are learnt as, lest they be taken for something else."""

NEVER = 2.0
"""A confidence that nothing reaches."""

RIDGE = 0.3
VERSION = 1
TRUST = {"user": 2, "llm": 1, "rule": 0}
"""Whose label of a prompt counts, the highest."""


class Labelled(Protocol):
    """A label as the registry keeps it."""

    @property
    def prompt_hash(self) -> str:
        """SHA-256 of the prompt."""
        ...

    @property
    def text(self) -> str:
        """The prompt, or its beginning."""
        ...

    @property
    def target(self) -> str:
        """What it was routed to."""
        ...

    @property
    def source(self) -> str:
        """``user``, ``llm`` or ``rule``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LearnedRouter:
    """A trained router. Never changes, so threads may share it."""

    targets: tuple[str, ...]
    """What it can answer, and :data:`RARE`, which it never does."""
    weights: Matrix
    """One row per column of features, one column per target."""
    temperature: float
    """Divides scores, so that confidences are what held-out accuracy was."""
    accepted_from: tuple[float, ...]
    """Least confidence per target; ``NEVER`` where nothing is accepted."""
    known: NDArray[np.bool_]
    """Which hashed words were seen."""
    known_from: float
    """Least share of known words in a prompt."""

    @classmethod
    def train(cls, labels: Sequence[Labelled]) -> Self | None:
        """Return a router trained on labels; None if there are too few to tell anything apart.

        The same labels, in the same order, give the same router.

        Args:
            labels: Newest first. Of several for one prompt the user's counts, then the language model's.
        """
        import numpy as np

        texts, answers = _chosen(labels)
        targets = tuple(sorted(set(answers)))
        if len(targets) < 2:
            return None
        features = features_of(texts)
        truth = np.array([targets.index(answer) for answer in answers])
        kernel = features @ features.T
        folds = np.array([fold_of(text) for text in texts])
        held_out = _held_out(kernel, truth, folds, len(targets))
        words = [words_of(text) for text in texts]
        temperature = _temperature(held_out, truth)
        accepted = _thresholds(_softmax(held_out / temperature), truth)
        accepted = tuple(
            NEVER if target == RARE else least for target, least in zip(targets, accepted, strict=True)
        )
        weights = features.T @ _solved(kernel, truth, len(targets))
        # Half precision is what is stored; a router must not change by being stored.
        weights = weights.astype(np.float16).astype(np.float32)
        return cls(targets, weights, temperature, accepted, seen_in(words), least_known(words, folds))

    def predict(self, prompts: Sequence[str]) -> list[tuple[str, float] | None]:
        """Return target and confidence per prompt; None where it cannot be relied on."""
        if not prompts:
            return []
        chances = _softmax(features_of(prompts) @ self.weights / self.temperature)
        best = chances.argmax(axis=1).tolist()
        found = [(number, float(row[number])) for number, row in zip(best, chances, strict=True)]
        return [
            (self.targets[number], chance)
            if chance >= self.accepted_from[number]
            and known_share(self.known, words_of(prompt)) >= self.known_from
            else None
            for (number, chance), prompt in zip(found, prompts, strict=True)
        ]

    def __str__(self) -> str:
        import numpy as np

        weights = self.weights.astype(np.float16).tobytes()
        return json.dumps(
            {
                "version": VERSION,
                "targets": self.targets,
                "temperature": self.temperature,
                "accepted_from": self.accepted_from,
                "known_from": self.known_from,
                "known": _packed(np.packbits(self.known).tobytes()),
                "weights": _packed(weights),
            }
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the router that ``str`` wrote.

        Raises:
            ValueError: It is none, or of another version.
        """
        import numpy as np

        try:
            stored = json.loads(text)
            if stored["version"] != VERSION:
                raise ValueError(f"a learned router of version {stored['version']}")
            weights = np.frombuffer(_unpacked(stored["weights"]), dtype=np.float16).astype(np.float32)
            known = np.unpackbits(np.frombuffer(_unpacked(stored["known"]), dtype=np.uint8)).astype(np.bool_)
            router = cls(
                tuple(stored["targets"]),
                weights.reshape(WIDTH, -1),
                stored["temperature"],
                tuple(stored["accepted_from"]),
                known,
                stored["known_from"],
            )
        except (TypeError, KeyError, zlib.error) as error:
            raise ValueError("not a learned router") from error
        sizes = {router.weights.shape[1], len(router.targets), len(router.accepted_from)}
        if len(sizes) > 1 or len(router.known) != WORD_BITS:
            raise ValueError("not a learned router: its parts do not match")
        return router


def _chosen(labels: Sequence[Labelled]) -> tuple[list[str], list[str]]:
    """Return texts and targets to learn from: one label per prompt, rare classes as one, large ones cut."""
    best: dict[str, Labelled] = {}
    for label in labels:
        other = best.get(label.prompt_hash)
        if other is None or TRUST.get(label.source, 0) > TRUST.get(other.source, 0):
            best[label.prompt_hash] = label
    counts = Counter(label.target for label in best.values())
    classes = {target for target, count in counts.items() if count >= MIN_LABELS}
    share = MAX_LABELS // (len(classes) + 1)
    taken: Counter[str] = Counter()
    texts, answers = [], []
    for label in best.values():
        target = label.target if label.target in classes else RARE
        if taken[target] < share:
            taken[target] += 1
            texts.append(label.text)
            answers.append(target)
    return texts, answers


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 6)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _held_out(kernel: Matrix, truth: NDArray[np.int64], folds: NDArray[np.int64], classes: int) -> Matrix:
    """Return the scores of every prompt from the others alone."""
    import numpy as np

    scores = np.zeros((len(truth), classes), dtype=np.float32)
    for fold in range(FOLDS):
        out, kept = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(out) and len(kept):
            scores[out] = kernel[np.ix_(out, kept)] @ _solved(
                kernel[np.ix_(kept, kept)], truth[kept], classes
            )
    return scores


def _solved(kernel: Matrix, truth: NDArray[np.int64], classes: int) -> Matrix:
    """Return each prompt's part in a ridge regression on the classes, in which all classes weigh the same."""
    import numpy as np

    counts = np.bincount(truth, minlength=classes)
    weigh = np.sqrt(len(truth) / (classes * np.maximum(counts, 1)))[truth].astype(np.float32)[:, None]
    wanted = np.where(truth[:, None] == np.arange(classes), 1.0, -1.0 / max(1, classes - 1)).astype(
        np.float32
    )
    weighed = weigh * kernel * weigh.T + RIDGE * np.eye(len(truth), dtype=np.float32)
    solved: Matrix = weigh * np.linalg.solve(weighed, wanted * weigh)
    return solved


def _softmax(scores: Matrix) -> Matrix:
    import numpy as np

    raised: Matrix = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances: Matrix = raised / raised.sum(axis=1, keepdims=True)
    return chances


def _temperature(scores: Matrix, truth: NDArray[np.int64]) -> float:
    """Return the temperature that makes held-out truth most likely."""
    import numpy as np

    def surprise(temperature: float) -> float:
        chances = _softmax(scores / temperature)[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(chances, 1e-9)).mean())

    return float(min((2.0 ** (step / 4) for step in range(-28, 9)), key=surprise))


def _thresholds(chances: Matrix, truth: NDArray[np.int64]) -> tuple[float, ...]:
    """Return per class the least confidence from which on held-out decisions were right often enough.

    With one right and one wrong decision added to what was seen, so that a handful of lucky ones is no proof.
    """
    import numpy as np

    best = chances.argmax(axis=1)
    thresholds = []
    for number in range(chances.shape[1]):
        mine = np.flatnonzero(best == number)
        mine = mine[np.argsort(-chances[mine, number], kind="stable")]
        right = np.cumsum(truth[mine] == number)
        estimate = (right + 1) / (np.arange(len(mine)) + 3)
        enough = np.flatnonzero(estimate >= ACCURACY)
        thresholds.append(float(chances[mine[enough[-1]], number]) if len(enough) else NEVER)
    return tuple(thresholds)
