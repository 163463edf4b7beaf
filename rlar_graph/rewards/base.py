"""What a reward tool is: something that scores rollouts in batches and says of itself what it can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlar_graph.rewards.memo import Memo
from rlar_graph.types import Rollout, ToolKind, Verdict


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a reward tool says of itself."""

    name: str
    """Unique in a registry, e.g. ``maths``."""
    kind: ToolKind
    """``verifier`` (code), ``reward_model`` (scalar network) or ``judge`` (language model with a rubric)."""
    summary: str
    """One sentence for people: what it checks, and on what evidence."""
    graded: bool = False
    """True when values between 0 and 1 order completions but are no verdict of right or wrong."""
    content_hash: str = ""
    """SHA-256 of everything that decides its scores; a change of it is a new version."""


class RewardTool(Protocol):
    """Scores rollouts. Safe to call from several threads."""

    @property
    def spec(self) -> ToolSpec:
        """What the tool says of itself."""
        ...

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one verdict per completion, in the shape of the rollouts.

        A completion the tool cannot judge abstains; the tool raises
        :class:`~rlar_graph.errors.ToolError` only when it cannot work at all.
        """
        ...


class AnswerVerifier(ABC):
    """A verifier that first finds a completion's final answer and then compares it with the reference.

    Equal answers to equal questions are compared once: within a rollout most completions agree, and comparing
    is the expensive half. The memo outlives a batch and is bounded.
    """

    spec: ToolSpec

    def __init__(self) -> None:
        self._memo = Memo()

    @abstractmethod
    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return the completion's final answer, or the verdict where there is nothing to compare."""

    @abstractmethod
    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Compare final answers with their rollouts' references; one verdict per (rollout, answer)."""

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return what decides the verdict besides the tool itself."""
        return (repr(rollout.reference), rollout.aliases, answer)

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Extract all answers, compare the distinct new ones in one go, and hand the verdicts back."""
        keys: list[list[Hashable | Verdict]] = []
        known: dict[Hashable, Verdict] = {}
        asked: dict[Hashable, tuple[Rollout, str]] = {}
        for rollout in rollouts:
            row: list[Hashable | Verdict] = []
            for completion in rollout.completions:
                found = self.extract(rollout, completion)
                if isinstance(found, Verdict):
                    row.append(found)
                    continue
                key = self.key(rollout, found)
                row.append(key)
                if key in known or key in asked:
                    continue
                remembered = self._memo.get(key)
                if remembered is None:
                    asked[key] = (rollout, found)
                else:
                    known[key] = remembered
            keys.append(row)
        if asked:
            known.update(zip(asked, self.compare(list(asked.values())), strict=True))
            self._memo.keep(known)
        return [[key if isinstance(key, Verdict) else known[key] for key in row] for row in keys]
