"""Writing a verifier: a plan, several independent drafts, repairs; the best by evidence on visible probes is kept.

The writer sees a few prompts of the family, visible probes with their verdicts, and its own mistakes on those. It never
sees a deciding probe: none is passed in here. Everything it is shown is fenced by the prompt documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from rlar_graph.errors import LLMError, LLMReplyError
from rlar_graph.llm import LanguageModel
from rlar_graph.probes import Probe
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.rewards.generated import evidence_columns
from rlar_graph.sandbox.base import Sandbox
from rlar_graph.toolmaking.candidates import (
    COMPLETION_CHARS,
    MISTAKES_SHOWN,
    PROMPT_CHARS,
    Candidate,
    code_of,
    shown,
    tidied,
    tried,
)
from rlar_graph.types import Rollout

ROLE = "code_writer"
PROMPTS_SHOWN, GOOD_SHOWN, BAD_SHOWN = 3, 2, 3
NO_PLAN = "(none)"


class Plan(BaseModel):
    """What a verifier is going to check."""

    steps: list[str] = Field(max_length=12)
    """Short steps, in order."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a writer is given."""

    examples: tuple[Rollout, ...]
    """Some rollouts of the family."""
    visible: tuple[Probe, ...]
    """Probes it may see."""

    @property
    def columns(self) -> str:
        """Return in words what a verifier is given besides prompt and completion."""
        rollouts = (*self.examples, *(probe.rollout for probe in self.visible))
        known = [f"`{name}`" for name in evidence_columns(rollouts)]
        if any(rollout.reference is not None for rollout in rollouts):
            known.insert(0, "`reference` (the expected answer)")
        else:
            known.insert(0, "nothing (`reference` is None, the rules are in the prompt)")
        return ", ".join(known)

    @property
    def text(self) -> str:
        """Return examples and visible probes as the writer sees them."""
        groups: dict[str, list[Probe]] = {}
        for probe in self.visible:
            if probe.expect in ("good", "bad"):
                groups.setdefault(repr(probe.rollout), []).append(probe)
        # Prompts with both kinds teach most; a stable order makes equal runs ask equal questions.
        ordered = sorted(groups.values(), key=lambda group: (-len({p.expect for p in group}), -len(group)))
        if len(ordered) > PROMPTS_SHOWN and all(len(group) == 1 for group in ordered):
            ordered = _mixed(ordered)
        tasks = [_task(group) for group in ordered[: max(PROMPTS_SHOWN, _needed(ordered))]]
        if not tasks:
            tasks = [
                f"prompt: {shown(rollout.prompt, PROMPT_CHARS)}" for rollout in self.examples[:PROMPTS_SHOWN]
            ]
        return "\n\n".join(tasks)


def _needed(groups: Sequence[Sequence[Probe]]) -> int:
    """Return how many prompts to show so that good and bad probes are both among them: more if each has one."""
    return GOOD_SHOWN + BAD_SHOWN if groups and all(len(group) == 1 for group in groups) else 0


def _mixed(groups: Sequence[list[Probe]]) -> list[list[Probe]]:
    """Return prompts with one probe each so that good and bad ones take turns."""
    good = [group for group in groups if group[0].expect == "good"]
    bad = [group for group in groups if group[0].expect == "bad"]
    mixed = [group for pair in zip(good, bad, strict=False) for group in pair]
    return mixed + [group for group in groups if group not in mixed]


def _task(group: Sequence[Probe]) -> str:
    """Return one prompt with some of its probes."""
    rollout = group[0].rollout
    lines = [f"prompt: {shown(rollout.prompt, PROMPT_CHARS)}"]
    if rollout.reference is not None:
        lines.append(f"reference: {shown(str(rollout.reference), COMPLETION_CHARS)}")
    for expect, word, count in (("good", "RIGHT", GOOD_SHOWN), ("bad", "WRONG", BAD_SHOWN)):
        for probe in [probe for probe in group if probe.expect == expect][:count]:
            why = f"  ({shown(probe.why, 120)})" if probe.why else ""
            lines.append(f"  {word} completion: {shown(probe.completion, COMPLETION_CHARS)}{why}")
    return "\n".join(lines)


def write(
    llm: LanguageModel, assignment: Assignment, sandbox: Callable[[], Sandbox], candidates: int
) -> Candidate | LLMError:
    """Have a verifier written, and return the best of several independent drafts.

    A draft without a visible mistake ends the search early. An unusable reply costs one draft; whatever else the model
    fails with ends the search, and the error is returned if there is no draft by then.
    """
    try:
        plan = _plan(llm, assignment)
    except LLMError as error:
        return error
    prompt = load_prompt("code_writer_draft").render(
        examples=assignment.text, columns=assignment.columns, plan=plan
    )
    return _best(_drafts(llm, prompt, assignment, sandbox, candidates, seed=1), None)


def repair(
    llm: LanguageModel,
    assignment: Assignment,
    sandbox: Callable[[], Sandbox],
    candidates: int,
    *,
    source: str,
    failures: Sequence[str],
    attempt: int,
) -> Candidate | LLMError:
    """Have a verifier rewritten from its visible failures, and return the best; the old one where none is better.

    Args:
        llm: The language model.
        assignment: What the writer is given.
        sandbox: Returns the open sandbox.
        candidates: How many rewrites at most.
        source: The verifier as it is.
        failures: What the gate found on visible probes, in words; shown where running it again finds no mistake.
        attempt: Which round it is; each has seeds of its own.
    """
    before = tried(source, assignment.visible, sandbox)
    mistakes = (before.mistakes or tuple(failures))[:MISTAKES_SHOWN]
    prompt = load_prompt("code_writer_repair").render(
        examples=assignment.text,
        columns=assignment.columns,
        draft=source,
        mistakes="\n".join(mistakes) or "(it fails checks that cannot be shown)",
    )
    return _best(_drafts(llm, prompt, assignment, sandbox, candidates, seed=100 * attempt), before)


def _plan(llm: LanguageModel, assignment: Assignment) -> str:
    """Ask for a plan; a model that cannot make one in the form asked for works without."""
    prompt = load_prompt("code_writer_plan").render(examples=assignment.text, columns=assignment.columns)
    try:
        plan = llm.ask(ROLE, prompt, Plan, temperature=0.0, seed=0)
    except LLMReplyError:
        return NO_PLAN
    return "\n".join(f"{number}. {step[:300]}" for number, step in enumerate(plan.steps[:8], 1)) or NO_PLAN


def _drafts(
    llm: LanguageModel,
    prompt: str,
    assignment: Assignment,
    sandbox: Callable[[], Sandbox],
    candidates: int,
    seed: int,
) -> Iterator[Candidate | LLMError]:
    """Yield drafts one by one, the first without chance; end at one without mistakes or when the model fails."""
    for number in range(candidates):
        temperature = 0.8 if number else 0.0
        try:
            reply = llm.ask_text(ROLE, prompt, temperature=temperature, seed=seed + number)
        except LLMReplyError as error:
            yield error
            continue
        except LLMError as error:
            yield error
            return
        draft = tried(tidied(code_of(reply)), assignment.visible, sandbox)
        yield draft
        if not draft.mistakes:
            return


def _best(drafts: Iterator[Candidate | LLMError], before: Candidate | None) -> Candidate | LLMError:
    """Return the best draft, the one before where none is better, or the last error where there is none."""
    best: Candidate | LLMError | None = before
    for draft in drafts:
        if isinstance(draft, LLMError):
            best = best or draft
        elif not isinstance(best, Candidate) or draft.rank > best.rank:
            best = draft
    if best is None:
        raise ValueError("at least one candidate must be asked for")
    return best
