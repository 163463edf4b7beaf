"""A hearing: a judge's questions about a batch of completions put to the language model, and its rulings.

Questions go out together, a bounded number at a time. A model that is out of reach, or a budget that is spent, costs
one round of questions and not the whole batch: a trainer is waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rlar_graph.errors import LLMError, LLMReplyError
from rlar_graph.llm import LanguageModel
from rlar_graph.llm.replies import AnswerT
from rlar_graph.rewards.judgement import (
    Case,
    Commitment,
    Extraction,
    Findings,
    Sameness,
    answer_prompt,
    criteria_prompt,
    extract_prompt,
    read_findings,
    read_sameness,
    same_prompt,
)
from rlar_graph.rewards.quotes import Quotable
from rlar_graph.rewards.rubric import Mode, Rubric
from rlar_graph.rewards.verdict_cache import ANSWERS, VerdictCache, digest
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.rewards.verifiers.short_answer import MARKED, SHORT, marked_text, marks_answer
from rlar_graph.types import RIGHT, Verdict, abstain

JUDGE, EXTRACTOR = "judge", "extractor"
FIRST_ROUND, LARGEST_ROUND = 8, 256

Ruling: TypeAlias = Verdict | LLMError
"""What came of one completion; an error where the model gave nothing to go on."""


class Hearing:
    """Puts completions to the model.

    Args:
        rubric: What to judge by.
        llm: The model.
        cache: Where committed answers are kept.
        swapped: Whether to ask in the other order: candidate before reference, last criterion first.
    """

    def __init__(
        self, rubric: Rubric, llm: LanguageModel, cache: VerdictCache, *, swapped: bool = False
    ) -> None:
        self._rubric, self._llm, self._cache = rubric, llm, cache
        self._orders = [swapped != bool(number % 2) for number in range(rubric.samples)]

    def rulings(self, cases: Mapping[str, Case]) -> dict[str, Ruling]:
        """Return a ruling on every case."""
        if self._rubric.mode is Mode.EQUIVALENCE:
            return self._on_equivalence(cases)
        return self._on_criteria(cases)

    def _on_criteria(self, cases: Mapping[str, Case]) -> dict[str, Ruling]:
        """Judge by criteria, where there is no reference with the answers that were committed to before."""
        answers: dict[str, str | LLMError] = {}
        if self._rubric.mode is Mode.OPEN:
            answers = self._committed(list(dict.fromkeys(case.task for case in cases.values())))
        rulings: dict[str, Ruling] = {}
        questions: dict[str, list[str]] = {}
        for key, case in cases.items():
            answer = answers.get(case.task, "")
            if isinstance(answer, LLMError):
                rulings[key] = answer
                continue
            questions[key] = [
                criteria_prompt(self._rubric, case, answer, swapped=swapped) for swapped in self._orders
            ]
        for key, samples in self._sampled(questions, Findings).items():
            if isinstance(samples, LLMError):
                rulings[key] = samples
            else:
                ordered = [(findings, self._orders[number]) for number, findings in samples.items()]
                rulings[key] = read_findings(self._rubric, cases[key], ordered)
        return rulings

    def _committed(self, tasks: Sequence[str]) -> dict[str, str | LLMError]:
        """Return for each task the answer that every completion of it is judged by."""
        keys = {
            task: digest(self._rubric.model, self._rubric.prompts["judge_answer"], task) for task in tasks
        }
        known = self._cache.look_up(ANSWERS, list(keys.values()))
        unknown = [task for task in tasks if keys[task] not in known]
        replies = ask_all(self._llm, JUDGE, [answer_prompt(task) for task in unknown], Commitment)
        asked = dict(zip(unknown, replies, strict=True))
        answers = {keys[task]: reply.answer for task, reply in asked.items() if isinstance(reply, Commitment)}
        known |= self._cache.keep(ANSWERS, answers)
        failed = {task: reply for task, reply in asked.items() if isinstance(reply, LLMError)}
        return {task: failed[task] if task in failed else known[keys[task]] for task in tasks}

    def _on_equivalence(self, cases: Mapping[str, Case]) -> dict[str, Ruling]:
        """Find each completion's final answer, and have it compared with the reference."""
        rulings: dict[str, Ruling] = {}
        answers: dict[str, str] = {}
        for key, found in self._answers(cases).items():
            if not isinstance(found, str):
                rulings[key] = found
            elif " ".join(found.split()) in cases[key].references:
                rulings[key] = RIGHT
            else:
                answers[key] = found
        questions = {
            key: [same_prompt(cases[key], answer, swapped=swapped) for swapped in self._orders]
            for key, answer in answers.items()
        }
        for key, samples in self._sampled(questions, Sameness).items():
            rulings[key] = (
                samples
                if isinstance(samples, LLMError)
                else read_sameness(answers[key], list(samples.values()))
            )
        return rulings

    def _answers(self, cases: Mapping[str, Case]) -> dict[str, str | Ruling]:
        """Return each completion's final answer: by rule where it is marked or all there is, else as extracted."""
        answers: dict[str, str | Ruling] = {}
        unmarked: list[str] = []
        for key, case in cases.items():
            marked = final_answer(case.said)
            if marked is not None and marked.form in MARKED:
                answers[key] = marked_text(case.said, marked)
            elif marked is None and marks_answer(case.said):
                answers[key] = Verdict(0.0, detail={"problem": "no answer is committed to"})
            elif len(case.said) <= SHORT:
                answers[key] = case.said
            else:
                unmarked.append(key)
        prompts = [extract_prompt(cases[key]) for key in unmarked]
        for key, reply in zip(unmarked, ask_all(self._llm, EXTRACTOR, prompts, Extraction), strict=True):
            answers[key] = reply if isinstance(reply, LLMError) else _extracted(cases[key], reply)
        return answers

    def _sampled(
        self, questions: Mapping[str, Sequence[str]], schema: type[AnswerT]
    ) -> dict[str, dict[int, AnswerT] | LLMError]:
        """Ask every question of every case; return a case's replies by number, or the error that leaves it open.

        A reply that cannot be read costs its sample; where nothing can be read, or the model could not be reached,
        the case stays open.
        """
        asked = [(key, number, text) for key, texts in questions.items() for number, text in enumerate(texts)]
        replies = ask_all(self._llm, JUDGE, [text for _, _, text in asked], schema)
        usable: dict[str, dict[int, AnswerT]] = {key: {} for key in questions}
        errors: dict[str, LLMError] = {}
        for (key, number, _), reply in zip(asked, replies, strict=True):
            if not isinstance(reply, LLMError):
                usable[key][number] = reply
            elif key not in errors or isinstance(errors[key], LLMReplyError):
                errors[key] = reply
        lost = {
            key for key, error in errors.items() if not usable[key] or not isinstance(error, LLMReplyError)
        }
        return {key: errors[key] if key in lost else usable[key] for key in questions}


def ask_all(
    llm: LanguageModel, role: str, prompts: Sequence[str], schema: type[AnswerT]
) -> list[AnswerT | LLMError]:
    """Ask in growing rounds; when a whole round finds no model or no budget, the rest is not asked."""
    replies: list[AnswerT | LLMError] = []
    size = FIRST_ROUND
    while len(replies) < len(prompts):
        found = llm.ask_many(
            role, prompts[len(replies) : len(replies) + size], schema, temperature=0.0, seed=0
        )
        replies += found
        last = found[-1]
        if isinstance(last, LLMError) and all(map(_is_out_of_reach, found)):
            replies += [last] * (len(prompts) - len(replies))
        size = min(2 * size, LARGEST_ROUND)
    return replies


def _is_out_of_reach(reply: object) -> bool:
    return isinstance(reply, LLMError) and not isinstance(reply, LLMReplyError)


def _extracted(case: Case, reply: Extraction) -> str | Verdict:
    """Return the extracted answer, if it is one that the completion gives."""
    if not reply.answer.strip():
        return Verdict(0.0, detail={"problem": "no answer is committed to"})
    if not Quotable(case.said).has(reply.answer):
        return abstain("the extracted answer does not stand in the completion")
    return reply.answer
