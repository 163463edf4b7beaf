r"""The maths verifier: is the completion's final answer the same as the reference, however it is written?

Three steps, cheapest first. A completion without a final answer is wrong. What the exact cascade can prove is settled
here, in microseconds. Only the rest goes to math-verify, as two short strings, inside the sandbox, where the time limit
is a kill: running out of it is an abstention, neither right nor wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

from rlar_graph.errors import SandboxError
from rlar_graph.rewards.base import AnswerVerifier, ToolSpec
from rlar_graph.rewards.verifiers.exact_maths import decide, is_readable
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.rewards.verifiers.maths_comparison import Ruling
from rlar_graph.rewards.verifiers.maths_echo import is_unworked
from rlar_graph.rewards.verifiers.maths_worker import DIFFERENT, LIMITS, SAME, SOURCE
from rlar_graph.rewards.verifiers.response import visible
from rlar_graph.sandbox.base import Limits, Outcome, Sandbox
from rlar_graph.types import Rollout, Verdict, abstain

SHORT = 120
"""Characters up to which a reference without a marker is the answer itself, not a solution that ends in it."""

_MARKED = re.compile(r"\\boxed|\\fbox|####|<answer>|\banswers?\b", re.IGNORECASE)
_PROSE = re.compile(r"[A-Za-z]{3,}\s[^\n]{0,80}?[A-Za-z]{3,}|[^\W\d_]{8}")
_NUMERAL = r"\d+(?:\.\d+)?"
_NUMERALS = re.compile(_NUMERAL)
_NUMBER = re.compile(rf"[-+−]?{_NUMERAL}")
_SIGN = r"\s*(?:[-+−*/×·÷]|\\times|\\cdot|\\div)\s*"
_ARITHMETIC = re.compile(rf"{_NUMERAL}(?:{_SIGN}{_NUMERAL})+")
_ASKED = re.compile(rf"\d{_SIGN}\d")
_UNANSWERED = Verdict(0.0, detail={"why": "no final answer"})
_ECHO = Verdict(0.0, detail={"why": "repeats the prompt"})
_UNWORKED = Verdict(0.0, detail={"why": "repeats the sum that was asked"})


class MathsVerifier(AnswerVerifier):
    """Compares the final answer of a completion with the reference.

    Args:
        sandbox: Returns the open sandbox; called only when an answer needs math-verify.
        limits: What one comparison there may use.
    """

    def __init__(self, sandbox: Callable[[], Sandbox], limits: Limits = LIMITS) -> None:
        super().__init__()
        self.spec = ToolSpec(
            "maths",
            "verifier",
            "Compares the final answer with the reference: exactly, else with math-verify.",
        )
        self._sandbox = sandbox
        self._limits = limits

    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return the final answer; a completion that has none, or only repeats the prompt's prose, is wrong."""
        found = final_answer(completion)
        if found is None:
            return _UNANSWERED
        if found.form in ("sentence", "display", "bare") and _is_echo(completion, found.span, rollout.prompt):
            return _ECHO
        return visible(found.text)

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return what decides a verdict: of the prompt only a hash, and only where the answer may repeat it."""
        plain = _NUMBER.fullmatch(answer) and _is_number(rollout.reference) and not rollout.aliases
        asked = None if plain else hash(rollout.prompt)
        return (repr(rollout.reference), rollout.aliases, answer, asked)

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Settle what can be settled exactly, ask the sandbox in one batch, and refuse what repeats the prompt."""
        verdicts = self._compare(questions)
        for at, (rollout, answer) in enumerate(questions):
            if verdicts[at].value != 0.0 and _is_unworked(answer, rollout):
                verdicts[at] = _UNWORKED
        return verdicts

    def _compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Compare values, whatever the prompt says."""
        verdicts: list[Verdict | None] = []
        open_: list[tuple[int, str, str]] = []
        for at, (rollout, answer) in enumerate(questions):
            verdict = None
            references = references_of(rollout)
            for reference in references:
                verdict = _exact(reference, answer)
                if verdict is None:
                    open_.append((at, reference, answer))
                elif verdict.value == 1.0:
                    break
            if not references:
                verdict = abstain("the reference is not an answer that can be compared")
            verdicts.append(verdict)
        open_ = [(at, reference, answer) for at, reference, answer in open_ if not _is_right(verdicts[at])]
        for (at, _, _), found in zip(open_, self._ask(open_), strict=True):
            verdicts[at] = _kinder(verdicts[at], found)
        return [verdict or abstain("not compared") for verdict in verdicts]

    def _ask(self, questions: list[tuple[int, str, str]]) -> list[Verdict]:
        """Return what math-verify says, in order."""
        if not questions:
            return []
        arguments = [{"reference": reference, "answer": answer} for _, reference, answer in questions]
        try:
            outcomes = self._sandbox().call_batch(SOURCE, "verify", arguments, self._limits)
        except SandboxError as error:  # what was settled exactly must survive a sandbox that is gone
            return [abstain(f"sandbox: {error}")] * len(questions)
        return [
            _from_outcome(outcome, reference, answer)
            for outcome, (_, reference, answer) in zip(outcomes, questions, strict=True)
        ]


def _is_echo(completion: str, span: tuple[int, int], prompt: str) -> bool:
    """Say whether the passage an answer was read from, or all of the completion, is prose of the prompt."""
    passages = (completion[slice(*span)].strip(), completion.strip())
    return any(_PROSE.search(passage) and passage in prompt for passage in passages)


def _is_number(reference: object) -> bool:
    """Say whether a reference is a plain number, of which no prompt makes anything else."""
    return _NUMBER.fullmatch(reference if isinstance(reference, str) else repr(reference)) is not None


def _is_unworked(answer: str, rollout: Rollout) -> bool:
    """Say whether an answer only repeats the prompt: ``9 + 4`` is 13, but that was the question."""
    references = references_of(rollout)
    if not references or answer in references:
        return False
    if is_unworked(answer, rollout.prompt, references):
        return True
    sum_ = answer.strip(" ()$")
    if not _ARITHMETIC.fullmatch(sum_) or not _ASKED.search(rollout.prompt):
        return False
    if not all(_NUMBER.fullmatch(text) and ("/" not in sum_ or "." not in text) for text in references):
        return False
    return set(_NUMERALS.findall(sum_)) <= set(_NUMERALS.findall(rollout.prompt))


def references_of(rollout: Rollout) -> tuple[str, ...]:
    """Return the short answers that count as right: the reference's and its aliases'."""
    reference = rollout.reference
    if isinstance(reference, (list, tuple)):
        parts = [_text(part) for part in reference]
        reference = ", ".join(filter(None, parts)) if all(parts) else None
    texts = (_text(reference), *rollout.aliases)
    return tuple(answer for answer in map(answer_in, filter(None, texts)) if answer)


def _text(reference: object) -> str | None:
    """Return a reference as text; truth values, mappings and nothing are no maths."""
    if isinstance(reference, bool) or not isinstance(reference, (str, int, float)):
        return None
    return str(reference)


@lru_cache(maxsize=4_096)
def answer_in(reference: str) -> str:
    """Return the short answer in a reference, which may be a whole worked solution; empty if there is none."""
    if len(reference) <= SHORT and not _MARKED.search(reference):
        return reference.strip()
    found = final_answer(reference, trusted=True)
    return found.text if found else ""


def _exact(reference: str, answer: str) -> Verdict | None:
    """Return the verdict of the exact cascade, None where it cannot tell."""
    ruling = decide(reference, answer)
    if ruling is Ruling.UNKNOWN:
        return None
    if ruling is Ruling.EXCESSIVE:
        return Verdict(0.0, detail={"answer": answer[:200], "why": "too complex to be an answer"})
    return Verdict(1.0 if ruling is Ruling.EQUAL else 0.0, detail={"answer": answer, "by": "exact"})


def _is_right(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.value == 1.0


def _kinder(settled: Verdict | None, found: Verdict) -> Verdict:
    """Return the verdict over several references: right by one is right, doubt about one is doubt."""
    if settled is None or found.value == 1.0 or (found.value is None and settled.value == 0.0):
        return found
    return settled


def _from_outcome(outcome: Outcome, reference: str, answer: str) -> Verdict:
    """Translate what came back from the sandbox."""
    if outcome.status != "ok" or outcome.value is None:
        return abstain(f"math-verify: {outcome.status}", answer=answer, detail=outcome.detail)
    if outcome.value in (SAME, DIFFERENT):
        return Verdict(outcome.value, detail={"answer": answer, "by": "math-verify"})
    if is_readable(reference):
        return Verdict(0.0, detail={"answer": answer, "by": "exact", "why": "not the same kind of answer"})
    return abstain("the reference cannot be read as maths", answer=answer, reference=reference)
