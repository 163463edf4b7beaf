"""A judge: a language model that scores completions by a rubric, for prompts where no code can decide.

Published judges accept blanks, believe whatever is said with confidence, and solve the problem in the completion's
place. So this one is never asked about a completion that says nothing; it commits to an answer of its own before it
sees any completion, where there is no reference; it is not shown the prompt, where all there is to decide is whether
two answers are one; and it must quote what it claims. What it still gets wrong is for the gate to find out.

An equivalence is a verdict, 1 or 0. With criteria the value is the weighted share of those that were proven: it orders
the completions of a prompt, and at least 0.5 says that most of what was asked is there. A reply that cannot be used
and a model that cannot be reached are abstentions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlar_graph.errors import InputError, LLMError, LLMReplyError, ToolError
from rlar_graph.llm import LanguageModel
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.degenerate import degeneracy
from rlar_graph.rewards.hearing import Hearing, Ruling
from rlar_graph.rewards.judgement import Case, references_of
from rlar_graph.rewards.rubric import Mode, Rubric
from rlar_graph.rewards.verdict_cache import ANSWERS, VERDICTS, VerdictCache, digest, from_text, to_text
from rlar_graph.rewards.verifiers.response import response_of
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain


class Judge:
    """Scores completions by a rubric. Safe to share between threads.

    Verdicts are cached in the registry by everything that decides them, and the first one stays: every process says
    the same of the same completion, and so does a frozen registry without any model.

    Args:
        spec: What the tool says of itself.
        source: The rubric as JSON.
        resources: Language model and registry for it to use.
        remembers: Kinds of entry of the verdict cache to use; what is of no such kind is asked anew.
        swapped: Whether to ask in the other order: candidate before reference, last criterion first.

    Raises:
        ToolError: The source is not a rubric.
    """

    def __init__(
        self,
        spec: ToolSpec,
        source: str,
        resources: Resources,
        *,
        remembers: Sequence[str] = (VERDICTS, ANSWERS),
        swapped: bool = False,
    ) -> None:
        try:
            self.rubric = Rubric.from_json(source)
        except InputError as error:
            raise ToolError(f"{spec.name} {error.problem}") from error
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self.spec = replace(spec, graded=self.rubric.graded, content_hash=digest)
        self._source, self._resources, self._remembers, self._swapped = source, resources, remembers, swapped

    def asked_anew(self) -> Judge:
        """Return the same judge without anything it said before, to see whether it says the same again."""
        return Judge(self.spec, self._source, self._resources, remembers=())

    def asked_in_the_other_order(self) -> Judge:
        """Return the same judge, with its committed answers, asked with everything listed the other way round."""
        return Judge(self.spec, self._source, self._resources, remembers=(ANSWERS,), swapped=True)

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one verdict per completion; equal completions of a prompt are judged once."""
        cases: dict[str, Case] = {}
        rows: list[list[Verdict | str]] = []
        for rollout in rollouts:
            row: list[Verdict | str] = []
            for completion in rollout.completions:
                settled = self._settled(rollout, completion)
                if settled is not None:
                    row.append(settled)
                    continue
                case = Case(rollout, response_of(completion).strip())
                key = self._key(case)
                cases[key] = case
                row.append(key)
            rows.append(row)
        verdicts = self._judged(cases)
        return [[verdicts[entry] if isinstance(entry, str) else entry for entry in row] for row in rows]

    def _settled(self, rollout: Rollout, completion: str) -> Verdict | None:
        """Return the verdict on a completion that no model need be asked about."""
        references = references_of(rollout)
        if self.rubric.mode is not Mode.OPEN and not references:
            return abstain("there is no reference to judge by")
        problem = degeneracy(rollout.prompt, completion, references[0] if references else "")
        if problem is not None:
            return Verdict(0.0, detail={"degenerate": problem})
        said = " ".join(response_of(completion).split()) if len(completion) < 1_000 else ""
        if self.rubric.mode is Mode.EQUIVALENCE and said in references:
            return RIGHT
        return None

    def _key(self, case: Case) -> str:
        """Return the hash of everything that decides the verdict."""
        return digest(self._source, str(self._swapped), case.task, repr(case.references), case.said)

    def _judged(self, cases: Mapping[str, Case]) -> dict[str, Verdict]:
        """Return the verdicts by key: those that are kept, and the model's on the others."""
        if not cases:
            return {}
        cache = VerdictCache(self._resources.registry, self._remembers)
        verdicts = {key: from_text(text) for key, text in cache.look_up(VERDICTS, list(cases)).items()}
        unknown = {key: case for key, case in cases.items() if key not in verdicts}
        if not unknown:
            return verdicts
        llm = self._model()
        if isinstance(llm, str):
            return verdicts | dict.fromkeys(unknown, abstain(llm))
        rulings = Hearing(self.rubric, llm, cache, swapped=self._swapped).rulings(unknown)
        # A model that cannot be reached may be reached the next time; all else follows from the content.
        lasting = {
            key: to_text(_verdict(ruling))
            for key, ruling in rulings.items()
            if isinstance(ruling, Verdict | LLMReplyError)
        }
        kept = {key: from_text(text) for key, text in cache.keep(VERDICTS, lasting).items()}
        return verdicts | {key: _verdict(ruling) for key, ruling in rulings.items()} | kept

    def _model(self) -> LanguageModel | str:
        """Return the model that may judge by this rubric, or why there is none."""
        llm, rubric = self._resources.judge_llm, self.rubric
        if llm is None:
            return f"the judge needs {rubric.model}, and no language model is configured (RLAR_LLM_BASE_URL)"
        if llm.model != rubric.model:
            return f"the judge was made for {rubric.model}, and {llm.model} is configured"
        stale = rubric.stale_prompts()
        return f"the judge was made for another wording of {', '.join(stale)}" if stale else llm


def _verdict(ruling: Ruling) -> Verdict:
    """Return a ruling as a verdict: what the model gave nothing to go on for is an abstention."""
    return abstain(f"{type(ruling).__name__}: {ruling}") if isinstance(ruling, LLMError) else ruling
