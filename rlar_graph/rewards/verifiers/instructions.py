"""The verifier of verifiable instructions: constraints on a response that code can check.

The verdict says nothing about how good a response is otherwise. Four rules differ from the published
verifier, each against a way to be rewarded for nothing: characters nobody can see are ignored; full-width
commas and letters are commas and letters; a response of punctuation marks alone or a copy of the prompt
follows no instruction; text in which no language can be recognised is in no language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlar_graph.errors import InputError
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.verifiers.instruction_checks import MAKERS, Check, bind
from rlar_graph.rewards.verifiers.response import response_of, says_nothing, visible
from rlar_graph.types import Rollout, Verdict, abstain

INSTRUCTION_IDS = tuple(MAKERS)
"""The instructions that can be checked, in IFEval's naming."""

MAX_CHARACTERS = 1_000_000


def check(instruction_id: str, kwargs: Mapping[str, object], completion: str, prompt: str = "") -> bool:
    """Return whether a completion follows one instruction strictly.

    Args:
        instruction_id: One of :data:`INSTRUCTION_IDS`.
        kwargs: The instruction's parameters; None counts as absent.
        completion: The whole completion; thinking between tags is left out.
        prompt: The prompt, so that a mere copy of it follows nothing.

    Raises:
        InputError: Unknown instruction, or a parameter is missing or of the wrong kind.
    """
    follows = bind(instruction_id, kwargs)
    return _follows(follows, _response(completion, prompt))


class InstructionVerifier:
    """Checks the instructions of a rollout: value 1 if all are followed, else 0.

    Args:
        loose: Also accept a response that follows an instruction once its first line, its last line or its
            asterisks are taken away, each instruction in whichever of the eight forms suits it.
        partial: Give the fraction of instructions followed instead of all or nothing.
    """

    def __init__(self, *, loose: bool = False, partial: bool = False) -> None:
        self._mode = "loose" if loose else "strict"
        self._partial = partial
        self.spec = ToolSpec(
            name="instructions",
            kind="verifier",
            summary="Checks the 25 IFEval instruction types (length, format, keywords, case, language, ...) "
            "on instruction_id_list and kwargs.",
            graded=partial,
        )

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one verdict per completion; equal completions of a rollout are checked once."""
        return [self._score_one(rollout) for rollout in rollouts]

    def _score_one(self, rollout: Rollout) -> list[Verdict]:
        try:
            checks = _checks(rollout)
        except InputError as error:
            return [abstain(str(error))] * len(rollout.completions)
        verdicts = {
            completion: self._judge(checks, rollout, completion) for completion in set(rollout.completions)
        }
        return [verdicts[completion] for completion in rollout.completions]

    def _judge(self, checks: Sequence[Check], rollout: Rollout, completion: str) -> Verdict:
        if len(completion) > MAX_CHARACTERS:
            return abstain(f"the completion is longer than {MAX_CHARACTERS} characters")
        response = _response(completion, rollout.prompt)
        results: list[dict[str, object]] = []
        followed = 0
        try:
            for instruction_id, follows in zip(rollout.instruction_id_list, checks, strict=True):
                strict = _follows(follows, response)
                result = {"strict": strict, "loose": strict or _follows_loosely(follows, response)}
                followed += result[self._mode]
                results.append({"id": instruction_id, **result})
        except InputError as error:
            return abstain(str(error))
        value = followed / len(checks) if self._partial else float(followed == len(checks))
        return Verdict(value, detail={"instructions": results})


def _checks(rollout: Rollout) -> list[Check]:
    """Return the rollout's checks in order; InputError if there are none or one cannot be made."""
    names, parameters = rollout.instruction_id_list, rollout.kwargs
    if not names:
        raise InputError("there are no instructions to check", field="instruction_id_list")
    if parameters and len(parameters) != len(names):
        raise InputError(f"{len(parameters)} entries for {len(names)} instructions", field="kwargs")
    return [
        bind(name, given or {}) for name, given in zip(names, parameters or ({},) * len(names), strict=True)
    ]


def _response(completion: str, prompt: str) -> str:
    """Return the text to be checked; empty where the completion responds with nothing."""
    response = visible(response_of(completion))
    copied = bool(prompt) and response.strip() == prompt.strip()
    return "" if copied or says_nothing(response) else response


def _follows(follows: Check, response: str) -> bool:
    """Return whether there is a response and it follows."""
    return bool(response) and follows(response)


def _follows_loosely(follows: Check, response: str) -> bool:
    """Return whether one of the other seven forms of a response follows an instruction it broke."""
    lines = response.split("\n")
    trimmed = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    bare = [form.replace("*", "") for form in (response, *trimmed)]
    return any(_follows(follows, form) for form in dict.fromkeys(trimmed + bare) if not says_nothing(form))
