"""Graded tools for translations and summaries: how much a completion shares with a reference.

Overlap orders completions better than length does, and no more: a good translation in other words gets
little. The values are graded, never verdicts. Order of words counts in both, so that the reference's words
shuffled do not pass for the reference, and every part is an F-measure, so that padding costs precision.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.verifiers.overlap_words import (
    is_unspaced,
    shared_ngrams,
    shared_order,
    stems,
    words,
)
from rlar_graph.rewards.verifiers.response import response_of, visible
from rlar_graph.types import Rollout, Verdict, abstain

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

MAX_CHARACTERS = 100_000
"""Characters of a reference or completion that are compared; with more the tools abstain."""
TOO_LONG = 20
"""A completion this many times as long as its longest reference shares nothing to speak of: value 0."""
SHORT = 200
"""Characters that are never too long."""


class _Overlap(ABC):
    """Scores each completion by the reference that is kindest to it."""

    spec: ToolSpec

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one graded verdict per completion; equal completions of a rollout are compared once."""
        return [self._score_one(rollout) for rollout in rollouts]

    def _score_one(self, rollout: Rollout) -> list[Verdict]:
        references = _references(rollout)
        if isinstance(references, Verdict):
            return [references] * len(rollout.completions)
        longest = max(len(reference) for reference in references)
        verdicts = {
            completion: self._judge(visible(response_of(completion)).strip(), references, longest)
            for completion in set(rollout.completions)
        }
        return [verdicts[completion] for completion in rollout.completions]

    def _judge(self, response: str, references: Sequence[str], longest: int) -> Verdict:
        if not response:
            return Verdict(0.0, detail={"shared": "nothing was said"})
        if len(response) > max(TOO_LONG * longest, SHORT):
            return Verdict(0.0, detail={"shared": f"more than {TOO_LONG} times as long as the reference"})
        if len(response) > MAX_CHARACTERS:
            return abstain(f"the completion is longer than {MAX_CHARACTERS} characters")
        compared = (self.compare(response, reference) for reference in references)
        return max(compared, key=lambda verdict: verdict.value or 0.0)

    @abstractmethod
    def compare(self, response: str, reference: str) -> Verdict:
        """Return the graded verdict of two texts that both hold something."""


class TranslationOverlap(_Overlap):
    """Scores a translation: chrF++ times the share of words in the reference's order.

    Plain chrF takes the place of chrF++ in scripts without spaces. ``raw`` is sacreBLEU's chrF figure.
    """

    def __init__(self) -> None:
        self.spec = ToolSpec(
            name="translation",
            kind="verifier",
            summary="Compares a translation with reference translations: chrF++ and word order.",
            graded=True,
        )

    def compare(self, response: str, reference: str) -> Verdict:
        """Return chrF times order; BLEU is in the detail."""
        unspaced = is_unspaced(reference)
        chrf = _chrf(0 if unspaced else 2).sentence_score(response, [reference]).score
        bleu = _bleu("char" if unspaced else "13a").sentence_score(response, [reference]).score
        said, wanted = words(response), words(reference)
        order = shared_order(said, wanted) if wanted else float(response == reference)
        value = min(chrf / 100 * order, 1.0)
        return Verdict(value, raw=chrf, detail={"chrf": chrf, "bleu": bleu, "order": order})


class SummaryOverlap(_Overlap):
    """Scores a summary: the mean of ROUGE-1 and ROUGE-2, times ROUGE-L; F-measures, English words stemmed.

    A product, because the mean of the three gives the reference's words within idle talk more than half. ``raw`` is
    that mean.
    """

    def __init__(self) -> None:
        self.spec = ToolSpec(
            name="summary",
            kind="verifier",
            summary="Compares a summary with reference summaries: ROUGE-1, ROUGE-2 and ROUGE-L.",
            graded=True,
        )

    def compare(self, response: str, reference: str) -> Verdict:
        """Return words times order; the three figures are in the detail."""
        said, wanted = stems(response), stems(reference)
        rouge = {
            "rouge1": shared_ngrams(said, wanted, 1),
            "rouge2": shared_ngrams(said, wanted, 2),
            "rougeL": shared_order(said, wanted),
        }
        value = (rouge["rouge1"] + rouge["rouge2"]) / 2 * rouge["rougeL"]
        return Verdict(value, raw=sum(rouge.values()) / len(rouge), detail=rouge)


def _references(rollout: Rollout) -> list[str] | Verdict:
    """Return the texts to compare with: the reference, or each of a list of them, and the aliases."""
    given = rollout.reference
    listed = list(given) if isinstance(given, list | tuple) else [given]
    texts = [text.strip() for text in (*listed, *rollout.aliases) if isinstance(text, str)]
    texts = [text for text in texts if text]
    if not texts:
        return abstain("there is no reference text to compare with")
    if any(len(text) > MAX_CHARACTERS for text in texts):
        return abstain(f"a reference is longer than {MAX_CHARACTERS} characters")
    return texts


@cache
def _chrf(word_order: int) -> CHRF:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF(word_order=word_order)


@cache
def _bleu(tokenizer: str) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, effective_order=True)
