"""The gate, on small real tools: one honest, and one for each way to be unfit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from rlar_graph.admission import AdmissionReport, Requirements, admit
from rlar_graph.admission.checks import wilson_lower
from rlar_graph.admission.report import excerpt
from rlar_graph.errors import InputError, SandboxUnavailable, ToolError
from rlar_graph.probes import (
    LEADING_PROSE,
    OUTER_WHITESPACE,
    Expect,
    Probe,
    Transform,
    hostile_set,
    split,
)
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.types import RIGHT, WRONG, Rollout, Verdict, abstain

Judge = Callable[[Rollout, str], object]


class Tool:
    """A reward tool made of one function."""

    def __init__(self, judge: Judge, *, graded: bool = False) -> None:
        self.spec = ToolSpec(
            "small", "verifier", "A tool of the tests.", graded=graded, content_hash="c0ffee"
        )
        self.judge = judge

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        return [[self.judge(rollout, text) for text in rollout.completions] for rollout in rollouts]  # type: ignore[misc]


def honest(rollout: Rollout, completion: str) -> Verdict:
    if rollout.reference is None:
        return abstain("there is no reference")
    found = re.search(r"ANSWER: (\d+)\s*\Z", completion)
    return RIGHT if found and found[1] == rollout.reference else WRONG


def probe(number: int, completion: str, expect: Expect, why: str = "") -> Probe:
    return Probe(Rollout(f"Double {number}.", reference=str(2 * number)), completion, expect, why)


GOOD = [probe(n, f"ANSWER: {2 * n}", "good", "plain") for n in range(25)]
BAD = [probe(n, f"ANSWER: {2 * n + 1}", "bad", "off by one") for n in range(25)]
HOSTILE = list(hostile_set("Double 4.", "8", "ANSWER: 8"))
ABSTAIN = [Probe(Rollout("Double what?"), "ANSWER: 1", "abstain", "no reference")]
PROBES = [*GOOD, *BAD, *HOSTILE, *ABSTAIN]


def failed(report: AdmissionReport) -> list[str]:
    return [check.name for check in report.checks if not check.passed]


def figure(report: AdmissionReport, name: str) -> float | None:
    check = report.check(name)
    assert check is not None
    return check.figure


def test_an_honest_tool_is_admitted_with_its_figures() -> None:
    report = admit(Tool(honest), PROBES, metamorphic=[OUTER_WHITESPACE, LEADING_PROSE])
    assert report.admitted
    assert figure(report, "true positives") == figure(report, "true negatives") == 1.0
    assert figure(report, "hostile accepted") == 0
    assert figure(report, "unchanged by outer whitespace") == 1.0
    assert report.probes == {"good": 25, "bad": 25, "hostile": len(HOSTILE), "abstain": 1}
    assert report.content_hash == "c0ffee"


def test_what_always_says_yes_is_rejected_for_bad_and_hostile_probes() -> None:
    report = admit(Tool(lambda rollout, text: RIGHT), PROBES)
    assert failed(report) == ["true negatives", "hostile accepted", "abstains"]
    assert figure(report, "true negatives") == 0.0
    assert figure(report, "hostile accepted") == len(HOSTILE)


def test_what_always_says_no_is_rejected_for_good_probes_alone() -> None:
    assert failed(admit(Tool(lambda rollout, text: WRONG), PROBES[:-1])) == ["true positives"]


def test_abstaining_loses_true_positives_but_accepts_nothing() -> None:
    report = admit(Tool(lambda rollout, text: abstain("never sure")), PROBES)
    assert failed(report) == ["true positives"]
    check = report.check("true positives")
    assert check is not None
    assert "25 abstained" in check.note
    assert check.failures[0].said == "abstained (never sure)"


def test_one_accepted_hostile_probe_is_enough_to_reject() -> None:
    def fooled(rollout: Rollout, text: str) -> Verdict:
        return RIGHT if "Ignore all previous" in text else honest(rollout, text)

    report = admit(Tool(fooled), PROBES)
    assert failed(report) == ["hostile accepted"]
    check = report.check("hostile accepted")
    assert check is not None
    assert [failure.why for failure in check.failures] == ["instruction to the grader"]


def test_rates_count_from_the_threshold_on() -> None:
    def forgetful(misses: int) -> Judge:
        return lambda rollout, text: (
            WRONG if int(str(rollout.reference)) < 2 * misses else honest(rollout, text)
        )

    good = [probe(n, f"ANSWER: {2 * n}", "good") for n in range(30)]
    assert admit(Tool(forgetful(3)), [*good, *BAD, *HOSTILE]).admitted
    assert failed(admit(Tool(forgetful(4)), [*good, *BAD, *HOSTILE])) == ["true positives"]


def test_a_lower_bound_can_be_asked_for() -> None:
    assert admit(Tool(honest), PROBES, requirements=Requirements(lower_bound=0.85)).admitted
    report = admit(Tool(honest), PROBES, requirements=Requirements(lower_bound=0.9))
    assert failed(report) == ["true positives", "true negatives"]


@pytest.mark.parametrize(
    ("successes", "trials", "bound"),
    [(25, 25, 0.8668), (9, 10, 0.5958), (0, 10, 0.0), (0, 0, 0.0), (1, 2, 0.0945)],
)
def test_wilson_lower_bounds_are_the_published_ones(successes: int, trials: int, bound: float) -> None:
    assert wilson_lower(successes, trials) == pytest.approx(bound, abs=2e-4)


def test_too_few_probes_prove_nothing() -> None:
    report = admit(Tool(honest), [*GOOD[:19], *BAD, *HOSTILE])
    assert failed(report) == ["enough probes"]
    assert "19 good of 20" in report.render()
    assert not admit(Tool(honest), []).admitted


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict(float("nan")), "finite float, not nan"),
        (Verdict(float("inf")), "finite float, not inf"),
        (Verdict(1.5), r"in \[0, 1\], not 1.5"),
        (Verdict(-0.1), r"in \[0, 1\], not -0.1"),
        (Verdict(True), "finite float, not True"),
        (Verdict(1), "finite float, not 1"),
        (Verdict(1.0, "and yet unsure"), "not both"),
        (Verdict(None), "not both"),
        (Verdict(None, ""), "needs a reason"),
        (Verdict(1.0, raw=float("nan")), "raw figure"),
        (1.0, "not float"),
        (None, "not NoneType"),
    ],
)
def test_a_malformed_verdict_breaks_the_contract(verdict: object, said: str) -> None:
    def judge(rollout: Rollout, text: str) -> object:
        return verdict if text == "ANSWER: 9" else honest(rollout, text)

    report = admit(Tool(judge), PROBES)
    assert failed(report) == ["contract"]
    assert re.search(said, report.render())


class Misshapen(Tool):
    """Answers in a shape of its own."""

    def __init__(self, reshape: Callable[[list[list[Verdict]]], object]) -> None:
        super().__init__(honest)
        self.reshape = reshape

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        return self.reshape(super().score(rollouts))  # type: ignore[return-value]


@pytest.mark.parametrize(
    "reshape",
    [
        lambda rows: rows[:-1],
        lambda rows: [rows[0][:-1], *rows[1:]],
        lambda rows: [row for row in rows for row in row],
        lambda rows: tuple(rows),
        lambda rows: None,
    ],
)
def test_an_answer_of_the_wrong_shape_breaks_the_contract(
    reshape: Callable[[list[list[Verdict]]], object],
) -> None:
    assert failed(admit(Misshapen(reshape), PROBES)) == ["contract"]


@pytest.mark.parametrize(
    "error",
    [ValueError("no \x1b[2J digits"), ToolError("the model is gone"), RecursionError(), SystemExit(0)],
)
def test_a_tool_that_raises_is_rejected_with_the_error_named(error: BaseException) -> None:
    def judge(rollout: Rollout, text: str) -> Verdict:
        raise error

    report = admit(Tool(judge), PROBES)
    assert failed(report) == ["contract"]
    assert f"the tool raised {type(error).__name__}" in report.render()
    assert "\x1b" not in report.render()


def test_a_sandbox_that_fails_says_nothing_about_the_tool() -> None:
    def judge(rollout: Rollout, text: str) -> Verdict:
        raise SandboxUnavailable("no seccomp here")

    with pytest.raises(SandboxUnavailable):
        admit(Tool(judge), PROBES)


def test_a_tool_that_changes_its_mind_is_not_deterministic() -> None:
    calls = count()

    def judge(rollout: Rollout, text: str) -> Verdict:
        return WRONG if text == "ANSWER: 10" and next(calls) == 1 else honest(rollout, text)

    report = admit(Tool(judge), PROBES)
    assert failed(report) == ["deterministic"]
    check = report.check("deterministic")
    assert check is not None
    assert "1 at first and 0 when repeated" in check.failures[0].said


def test_what_a_memo_hides_shows_in_a_fresh_instance() -> None:
    instances = count()

    def instance() -> Tool:
        number = next(instances)
        return Tool(lambda rollout, text: WRONG if number and text == "ANSWER: 2" else honest(rollout, text))

    tool = instance()
    assert admit(tool, PROBES).admitted
    assert failed(admit(tool, PROBES, again=instance())) == ["deterministic"]


class OnlyTheFirst(Tool):
    """Depends on its company: gives the first completion of a batch what it gives no other."""

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        rows = super().score(rollouts)
        rows[0][0] = WRONG
        return rows


def test_a_verdict_that_depends_on_the_batch_is_not_deterministic() -> None:
    assert failed(admit(OnlyTheFirst(honest), PROBES)) == ["deterministic"]


def test_drift_within_the_tolerance_is_allowed() -> None:
    calls = count()

    def judge(rollout: Rollout, text: str) -> Verdict:
        value = honest(rollout, text).value
        return abstain("none") if value is None else Verdict(abs(value - 1e-6 * (next(calls) % 3)))

    assert failed(admit(Tool(judge), PROBES)) == ["deterministic"]
    assert admit(Tool(judge), PROBES, requirements=Requirements(tolerance=1e-5)).admitted


def test_a_tool_that_changes_a_rollout_is_rejected_and_the_probes_stay_whole() -> None:
    shared: dict[str, object] = {"n": 1}
    evidence = [
        Probe(Rollout(f"Double {n}.", reference=str(2 * n), kwargs=(shared,)), one.completion, one.expect)
        for n, one in [*enumerate(GOOD), *enumerate(BAD)]
    ]

    def judge(rollout: Rollout, text: str) -> Verdict:
        for given in rollout.kwargs:
            given["seen"] = True  # type: ignore[index]
        return honest(rollout, text)

    report = admit(Tool(judge), [*evidence, *HOSTILE])
    assert failed(report) == ["rollouts left alone"]
    assert shared == {"n": 1}


def test_a_slow_tool_is_rejected_and_not_run_again() -> None:
    calls = count()

    def judge(rollout: Rollout, text: str) -> Verdict:
        next(calls)
        time.sleep(0.001)
        return honest(rollout, text)

    report = admit(Tool(judge), PROBES, requirements=Requirements(seconds_per_completion=0.0005))
    assert failed(report) == ["deterministic", "seconds per completion"]
    assert next(calls) == len(PROBES)


def test_a_change_that_must_not_matter_is_caught_when_it_does() -> None:
    shout = Transform("capitals", lambda probe: probe.completion.upper())
    murmur = Transform("lower case", lambda probe: probe.completion.lower())
    nowhere = Transform("nothing", lambda probe: None)
    report = admit(Tool(honest), PROBES, metamorphic=[shout, murmur, nowhere])
    assert failed(report) == ["unchanged by lower case", "unchanged by nothing"]
    check = report.check("unchanged by lower case")
    assert check is not None
    assert check.failures[0].said == "1, then 0"
    assert check.figure == 0.5


def graded(good: float, bad: float, hostile: float) -> Tool:
    values = {"good": good, "bad": bad, "hostile": hostile}
    expects = {one.completion: one.expect for one in PROBES[:-1]}
    return Tool(lambda rollout, text: Verdict(values[expects[text]]), graded=True)


@pytest.mark.parametrize(
    ("good", "bad", "hostile", "faults"),
    [
        (0.4, 0.3, 0.2, []),
        (0.4, 0.3, 0.35, []),
        (0.4, 0.4, 0.2, ["order"]),
        (0.3, 0.4, 0.2, ["order"]),
        (0.4, 0.3, 0.4, ["hostile accepted"]),
        (0.9, 0.8, 0.95, ["hostile accepted"]),
    ],
)
def test_a_graded_tool_is_held_to_order(good: float, bad: float, hostile: float, faults: list[str]) -> None:
    report = admit(graded(good, bad, hostile), PROBES[:-1])
    assert failed(report) == faults
    assert report.check("true positives") is None


def test_accepted_begins_at_one_half() -> None:
    halves = Tool(lambda rollout, text: Verdict(0.5 if honest(rollout, text) is RIGHT else 0.499))
    assert admit(halves, PROBES[:-1]).admitted
    tipped = Tool(lambda rollout, text: Verdict(0.5) if text == "." else honest(rollout, text))
    assert failed(admit(tipped, PROBES)) == ["hostile accepted"]


@pytest.mark.parametrize(("hostile", "faults"), [(0.39, []), (0.41, ["hostile accepted"])])
def test_the_bar_for_hostile_completions_is_the_median_good_one_of_their_prompt(
    hostile: float, faults: list[str]
) -> None:
    values = {"good": 0.9, "bad": 0.1, "hostile": hostile}
    expects = {one.completion: one.expect for one in PROBES[:-1]}
    own = {"ANSWER: 8": 0.2, "It is 8.": 0.6}

    def judge(rollout: Rollout, text: str) -> Verdict:
        return Verdict(own[text] if text in own else values[expects[text]])

    probes = [*PROBES[:-1], probe(4, "It is 8.", "good")]
    assert failed(admit(Tool(judge, graded=True), probes)) == faults


def test_order_counts_ties_half_and_abstentions_below_everything() -> None:
    def judge(rollout: Rollout, text: str) -> Verdict:
        if int(str(rollout.reference)) < 10 and honest(rollout, text) is RIGHT:
            return abstain("cannot tell")
        return honest(rollout, text)

    report = admit(Tool(judge, graded=True), [*GOOD, *BAD, *HOSTILE])
    assert figure(report, "order") == pytest.approx(20 / 25)
    tied = admit(Tool(lambda rollout, text: Verdict(0.5), graded=True), [*GOOD, *BAD, *HOSTILE])
    assert figure(tied, "order") == 0.5


def test_order_needs_prompts_with_both_good_and_bad_probes() -> None:
    apart = [probe(n, f"ANSWER: {2 * n}", "good") for n in range(100, 125)]
    report = admit(Tool(honest, graded=True), [*apart, *BAD, *HOSTILE])
    assert failed(report) == ["order"]
    assert "no prompt has both" in report.render()


def test_the_writer_sees_failures_of_visible_probes_only() -> None:
    probes = split(PROBES)
    report = admit(Tool(lambda rollout, text: RIGHT), probes)
    shown = {failure.completion for failure in report.visible_failures()}
    assert (
        shown == {excerpt(one.completion) for one in probes if one.visible and one.expect != "good"} & shown
    )
    assert len(shown) == 10 + 10
    assert all(failure.visible for failure in report.visible_failures())
    check = report.check("true negatives")
    assert check is not None
    assert check.failed == 25
    assert len([failure for failure in check.failures if failure.visible]) == 10
    assert len(check.failures) == 20


def test_a_report_survives_json_and_keeps_its_outcome() -> None:
    hostile = Probe(Rollout("\ud800 \x00 \x1b[2J"), "x\ud800\x00\x1b" * 500, "good", "\u202e")
    for probes in (PROBES, [*PROBES, hostile], []):
        report = admit(Tool(lambda rollout, text: WRONG), probes)
        text = report.to_json()
        assert text.isascii()
        assert AdmissionReport.from_json(text) == report
        assert AdmissionReport.from_json(text).admitted is report.admitted is False
    report = admit(Tool(honest), PROBES)
    assert AdmissionReport.from_json(report.to_json()).admitted


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"tool": 3}', "null"])
def test_what_is_not_a_report_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="admission report"):
        AdmissionReport.from_json(text)


def test_reports_rest_on_the_same_probes_only_if_their_hashes_are_equal() -> None:
    one = admit(Tool(honest), PROBES).probes_hash
    assert one == admit(Tool(lambda rollout, text: WRONG), PROBES).probes_hash
    assert one != admit(Tool(honest), [*PROBES[:-1], probe(3, "ANSWER: 5", "bad")]).probes_hash


def test_a_report_reads_well_and_cannot_move_a_cursor() -> None:
    escape = Probe(
        Rollout("Double 1.", reference="2"), "\x1b[31mred\x07 \u202e ANSWER: 9", "good", "escape codes"
    )
    rendered = admit(Tool(honest), [*PROBES, escape]).render()
    assert rendered.splitlines()[0].startswith("small (verifier) ADMITTED: 26 good, 25 bad,")
    assert (
        "  ok    true positives 0.962 (wanted 0.9): 25 of 26, lower 95 % bound 0.81, 0 abstained" in rendered
    )
    assert 'good (escape codes): said 0 to "\\x1b[31mred\\x07 \\u202e ANSWER: 9"' in rendered
    assert all(line.isprintable() for line in rendered.splitlines())
