"""Proving a made tool: what the gate asks of tools that a model wrote, which is more than of those that people did.

Probes come in two kinds, and they are asked in two stages. The *visible* ones come first, and what fails there goes
back to the writer. Only a draft that has nothing left to learn takes the *deciding* ones, and it takes them once: every
further look would be another ticket in a lottery that a wrong tool can win.

**How sure an admission is.** Both rates must have a lower 95 % confidence bound of 0.9. Below 35 deciding probes of a
kind not even a perfect run gets there; then not one mistake is allowed, and :data:`FLOOR` must be reached, which takes
19 probes. So a tool whose true rate is 0.9 passes a side with a chance of at most 0.03 at 35 probes and more, 0.04 at
30, and at worst 0.12 at 20; one of 0.8 with at most 0.012.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rlar_graph.admission import AdmissionReport, Check, Failure, Requirements, admit
from rlar_graph.admission.checks import wilson_lower
from rlar_graph.probes import LEADING_PROSE, OUTER_WHITESPACE, Probe, Transform
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import FIRST_CHUNK, check_source
from rlar_graph.rewards.judge import Judge
from rlar_graph.routing.signature import AnswerType, Evidence, Signature
from rlar_graph.toolmaking.candidates import judged
from rlar_graph.toolmaking.judge_checks import steadiness

SURE = 0.9
FLOOR = 0.83
VERIFIER_SECONDS, JUDGE_SECONDS = 0.25, 60.0
MAX_FAILURES = 8
WORN_CALLS = 8_000
"""What four workers serve until the sandbox replaces them (its RECYCLE_CALLS each)."""

_EXACT_FORM = re.compile(
    r"\b(?:only|exactly|nothing else|just|no other|without any|must (?:start|begin)|format)\b", re.IGNORECASE
)
_LAST_NUMBER = re.compile(r"(?<![\w.,])-?\d{1,15}(?:\.\d{1,15})?(?![\w,]|\.\d)")


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of proving a tool."""

    report: AdmissionReport
    """The report of the last stage that was reached; of deciding probes it holds no text."""
    failures: tuple[str, ...] = ()
    """What failed on visible probes, in words for the writer."""
    decided: bool = False
    """Whether the deciding probes were asked: if so, and the tool failed, nobody may try again on them."""

    @property
    def admitted(self) -> bool:
        """Return whether the tool may score."""
        return self.decided and self.report.admitted


def prove(
    load: Callable[[bool], RewardTool],
    source: str,
    probes: Sequence[Probe],
    signature: Signature,
    *,
    last_round: bool = True,
) -> Proof:
    """Measure a made tool on its family's probes.

    Args:
        load: Returns an instance of the tool; called with True for a fresh one that shares no process with others.
        source: What it is made of.
        probes: The family's probes, visible and deciding.
        signature: The family's signature; it says which changes of a completion must not change the verdict.
        last_round: Whether the writer has no round left, so that a tool with a few visible mistakes is tried as it is.

    Raises:
        SandboxError: The sandbox could not do its work; the tool has not been measured.
    """
    tool = load(False)
    spec = tool.spec
    visible = [probe for probe in probes if probe.visible]
    problems = check_source(source) if spec.kind == "verifier" else []
    problems = problems or _judges_nothing(tool, visible[:FIRST_CHUNK])
    if problems:
        return Proof(_rejected(spec, problems), tuple(problems[:MAX_FAILURES]))
    changes = _changes(tool, signature, visible)
    seen = admit(
        tool, visible, requirements=_lenient(spec.kind, visible), metamorphic=changes, again=load(True)
    )
    mistakes = seen.visible_failures()
    if not seen.admitted or (mistakes and not last_round):
        return Proof(seen, _in_words(seen))
    deciding = [probe for probe in probes if not probe.visible]
    deciding += answers_changed(deciding)
    report = admit(
        tool,
        deciding,
        requirements=requirements_for(spec.kind, deciding),
        metamorphic=_changes(tool, signature, deciding),
        again=load(True),
    )
    if spec.kind == "verifier" and report.admitted:
        report = replace(report, checks=(*report.checks, _unworn(tool, deciding)))
    shown = Check("visible probes", True, note=f"{len(visible)}, {len(mistakes)} mistakes")
    steady = steadiness(tool, deciding) if isinstance(tool, Judge) and report.admitted else ()
    return Proof(without_texts(replace(report, checks=(*report.checks, shown, *steady))), decided=True)


def _unworn(tool: RewardTool, probes: Sequence[Probe]) -> Check:
    """Ask one probe after another until every worker has served more calls than any ever will in service.

    A verifier that counts its calls, or remembers what it saw, and accepts everything from some call on, looks sound
    in the few hundred calls of the other checks.
    """
    first = judged(tool, probes)
    seen = 0
    while seen < WORN_CALLS:
        salted = [replace(probe, completion=f"{probe.completion}{' ' * (seen % 7)}") for probe in probes]
        # Only what was not accepted can be accepted later; white space keeps completions of one probe apart.
        for probe, before, after in zip(salted, first, judged(tool, salted), strict=True):
            if probe.expect in ("bad", "hostile") and (after.value or 0) >= 0.5 > (before.value or 0):
                return Check(
                    "the same after many calls", False, note=f"it changed within {seen + len(salted)} calls"
                )
        seen += len(salted)
    return Check("the same after many calls", True, note=f"{seen} calls")


def _changes(tool: RewardTool, signature: Signature, probes: Sequence[Probe]) -> list[Transform]:
    """Return the metamorphic changes for a tool; a judge is asked again in other ways, for each answer costs a call."""
    return [] if tool.spec.kind == "judge" else changes_for(signature, probes)


def _judges_nothing(tool: RewardTool, sample: Sequence[Probe]) -> list[str]:
    """Return why a tool abstains on all of a sample: one that hangs must not do so through every run of the gate."""
    reasons = [verdict.abstained for verdict in judged(tool, sample)] if tool.spec.kind == "verifier" else []
    if not reasons or not all(reasons):
        return []
    return [f"it judges nothing: {reason}" for reason in dict.fromkeys(reasons)]


def requirements_for(kind: str, deciding: Sequence[Probe]) -> Requirements:
    """Return what a made tool must reach on its deciding probes."""
    counts = {expect: sum(probe.expect == expect for probe in deciding) for expect in ("good", "bad")}
    usual = Requirements()
    return replace(
        usual,
        true_positive_rate=needed_rate(counts["good"]),
        true_negative_rate=needed_rate(counts["bad"]),
        lower_bound=FLOOR,
        seconds_per_completion=JUDGE_SECONDS if kind == "judge" else VERIFIER_SECONDS,
    )


def needed_rate(count: int) -> float:
    """Return the share of ``count`` probes that must be right for a lower bound of 0.9; 1 where none can reach it."""
    enough = (
        right for right in range(math.ceil(SURE * count), count + 1) if wilson_lower(right, count) >= SURE
    )
    right = next(enough, count)
    return right / count if count else SURE


def _lenient(kind: str, visible: Sequence[Probe]) -> Requirements:
    """Return what a tool must reach on visible probes, of which there may be few, or none of a kind."""
    good, bad = (
        {probe.rollout.prompt for probe in visible if probe.expect == expect} for expect in ("good", "bad")
    )
    usual = Requirements(good=0, bad=0, hostile=0)
    return replace(
        usual,
        true_positive_rate=usual.true_positive_rate if good else 0.0,
        true_negative_rate=usual.true_negative_rate if bad else 0.0,
        order=usual.order if good & bad else 0.0,
        seconds_per_completion=JUDGE_SECONDS if kind == "judge" else VERIFIER_SECONDS,
    )


def changes_for(signature: Signature, probes: Sequence[Probe]) -> list[Transform]:
    """Return the changes of a completion that must not change its verdict in a family of this signature.

    Outer whitespace never matters. Prose in front matters where a prompt asks for an exact form; case only where an
    answer is one of a few words; number format only where the answer is compared with a reference.
    """
    changes = [OUTER_WHITESPACE]
    compared = signature.evidence is Evidence.REFERENCE
    if compared and not any(_EXACT_FORM.search(probe.rollout.prompt) for probe in probes):
        changes.append(LEADING_PROSE)
    if compared and signature.answer in {AnswerType.CHOICE, AnswerType.BOOLEAN}:
        changes.append(Transform("letter case", lambda probe: probe.completion.swapcase()))
    if compared and signature.answer is AnswerType.NUMBER:
        changes.append(Transform("number as LaTeX", lambda probe: _last_number(probe, "${}$")))
    judged = [probe for probe in probes if probe.expect in ("good", "bad")]
    return [change for change in changes if any(change.apply(probe) is not None for probe in judged)]


def _last_number(probe: Probe, form: str) -> str | None:
    """Return the completion with its last number in another form, or None where it has none."""
    found = list(_LAST_NUMBER.finditer(probe.completion))
    if not found or "$" in probe.completion or "\\" in probe.completion:
        return None
    start, end = found[-1].span()
    return probe.completion[:start] + form.format(found[-1][0]) + probe.completion[end:]


def answers_changed(probes: Sequence[Probe]) -> list[Probe]:
    """Return bad probes made of good ones by another answer than the reference in its place.

    None where a good probe does without its reference: several answers are right there, and the other may be one.
    """
    made = []
    for probe in probes:
        answer = probe.rollout.reference
        if probe.expect != "good" or answer is None:
            continue
        if type(answer) not in (str, int) or probe.rollout.aliases or str(answer) not in probe.completion:
            return []
        head, _, tail = probe.completion.rpartition(str(answer))
        other = _other(str(answer))
        if other and str(answer) not in head + tail:
            made.append(
                replace(probe, completion=f"{head}{other}{tail}", expect="bad", why="the answer changed")
            )
    return made


def _other(answer: str) -> str:
    """Return a text that differs from an answer in one digit or letter."""
    for place, char in enumerate(answer):
        if char.isdecimal() and char.isascii():
            return f"{answer[:place]}{(int(char) + 1) % 10 or 1}{answer[place + 1 :]}"
        if char.isalpha() and char.isascii():
            return f"{answer[:place]}{'q' if char.lower() != 'q' else 'z'}{answer[place + 1 :]}"
    return ""


def without_texts(report: AdmissionReport) -> AdmissionReport:
    """Return a report without the texts of deciding probes, fit for the graph's state and for the writer's eyes."""

    def cleaned(failure: Failure) -> Failure:
        return failure if failure.visible else replace(failure, prompt="", completion="", why="")

    checks = (
        replace(check, failures=tuple(cleaned(failure) for failure in check.failures))
        for check in report.checks
    )
    return replace(report, checks=tuple(checks))


def _in_words(report: AdmissionReport) -> tuple[str, ...]:
    """Return what failed on visible probes for the writer, and failed checks that no probe stands for."""
    words = [
        f"{failure.check}: said {failure.said} to a completion that is {failure.expect}"
        f"{f' ({failure.why})' if failure.why else ''}\n  prompt: {failure.prompt}\n  completion: {failure.completion}"
        for failure in report.visible_failures()
    ]
    words += [
        f"{check.name}: {check.note}" for check in report.checks if not check.passed and not check.failures
    ]
    return tuple(words[:MAX_FAILURES])


def _rejected(spec: ToolSpec, problems: Sequence[str]) -> AdmissionReport:
    """Return the report of a source that was not run."""
    check = Check("source", False, note=json.dumps(problems[:MAX_FAILURES], ensure_ascii=True)[:2_000])
    return AdmissionReport(spec.name, spec.kind, spec.content_hash, spec.graded, {}, "", 0.0, (check,))
