"""Proving made tools: two stages, one look at the deciding probes, and nothing of their texts coming back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import comb

import pytest

from rlar_graph.admission.checks import wilson_lower
from rlar_graph.probes import Probe
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import GeneratedVerifier
from rlar_graph.routing.signature import Signature
from rlar_graph.sandbox import Limits, Sandbox, open_sandbox
from rlar_graph.toolmaking.candidates import judged
from rlar_graph.toolmaking.proving import FLOOR, SURE, Proof, answers_changed, changes_for, needed_rate, prove
from rlar_graph.types import Rollout
from tests.made_families import ALWAYS, HALF, HEAD, NEVER, RIGHT, SIGNATURE, probes

OPEN = Signature.parse(SIGNATURE)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(workers=2) as opened:
        yield opened


def loader(source: str, sandbox: Sandbox) -> Callable[[bool], RewardTool]:
    spec = ToolSpec("verifier-multiples-00000000", "verifier", "a test's verifier", content_hash="0" * 64)
    limits = Limits(seconds=0.1 if "while" in source else 60.0, memory_mb=256)
    return lambda fresh: GeneratedVerifier(spec, source, lambda: sandbox, limits, fresh=fresh)


def proved(source: str, sandbox: Sandbox, made: list[Probe] | None = None, *, last: bool = True) -> Proof:
    return prove(loader(source, sandbox), source, made or probes(), OPEN, last_round=last)


def test_a_right_verifier_is_admitted(sandbox: Sandbox) -> None:
    proof = proved(RIGHT, sandbox)
    assert proof.admitted, proof.report.render()
    assert proof.failures == ()


HOSTILE = {
    "always yes": ALWAYS,
    "never yes": NEVER,
    "half of the rules": HALF,
    "hangs": HEAD + "    while True: pass\n    return 1.0",
    "hangs on some": HEAD + "    while '1' in completion: pass\n    return 1.0",
    "not a number": HEAD + "    return float('nan')",
    "above one": HEAD + "    return 7",
    "raises": HEAD + "    return 1 / 0",
    "phones home": "import socket\n"
    + HEAD
    + "    socket.create_connection(('127.0.0.1', 80))\n    return 1.0",
    "imports os": "import os\n" + HEAD + "    return float(os.getpid() > 0)",
    "reads stack frames": HEAD
    + "    try:\n        1 / 0\n    except ZeroDivisionError as error:\n"
    + "        frame = error.__traceback__.tb_frame.f_back\n    return float('good' in str(frame.f_locals))",
    "counts its calls": "calls = []\n" + HEAD + "    calls.append(1)\n    return float(len(calls) % 2)",
    "differs by process": HEAD + "    return float(list({completion, prompt, 'x'})[0] == 'x')",
    "huge": HEAD + "    return 1.0\n" + "# padding\n" * 2_000,
    "no Python": "I cannot write that.",
    "empty": "",
    "floods the memory": HEAD + "    return float(len('x' * (1 << 32)) > 0)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_wrong_or_hostile_verifier_is_rejected(name: str, sandbox: Sandbox) -> None:
    proof = proved(HOSTILE[name], sandbox)
    assert not proof.admitted
    assert proof.failures or proof.decided


def test_a_verifier_that_changes_what_it_is_given_changes_nothing(sandbox: Sandbox) -> None:
    source = HEAD + "    evidence.clear()\n    prompt = completion = ''\n    return 1.0"
    made = probes()
    before = repr(made)
    proved(source, sandbox, made)
    assert repr(made) == before


def test_a_verifier_that_learnt_the_visible_probes_by_heart_fails_on_the_deciding_ones(
    sandbox: Sandbox,
) -> None:
    made = probes()
    known = [probe.completion for probe in made if probe.visible and probe.expect == "good"]
    source = HEAD + f"    return float(completion.strip() in {known!r})"
    proof = proved(source, sandbox, made)
    assert proof.decided and not proof.admitted
    assert proof.failures == ()


def test_nothing_of_a_deciding_probe_comes_back(sandbox: Sandbox) -> None:
    made = probes()
    texts = {probe.completion for probe in made if not probe.visible and probe.expect in ("good", "bad")}
    texts -= {probe.completion for probe in made if probe.visible}
    for source in (ALWAYS, NEVER, HALF, RIGHT, HEAD + "    return float(len(completion) < 4)"):
        for only_visible_are_right in (False, True):
            shown = [replace(probe, visible=False) for probe in made] if only_visible_are_right else made
            proof = proved(source, sandbox, shown)
            told = proof.report.to_json() + "".join(proof.failures)
            hidden = (
                texts if not only_visible_are_right else {p.completion for p in made if len(p.completion) > 4}
            )
            assert not [text for text in hidden if len(text) > 4 and f'"{text}"' in told]


def test_visible_failures_come_first_and_leave_the_deciding_probes_alone(sandbox: Sandbox) -> None:
    proof = proved(ALWAYS, sandbox)
    assert not proof.decided
    assert any("breaks a rule" in failure for failure in proof.failures)


def test_a_few_visible_mistakes_are_repaired_first_while_there_are_rounds(sandbox: Sandbox) -> None:
    made = probes()
    index = next(number for number, probe in enumerate(made) if probe.visible and probe.expect == "good")
    made[index] = replace(made[index], expect="bad", why="labelled wrongly")
    assert not proved(RIGHT, sandbox, made, last=False).decided
    assert proved(RIGHT, sandbox, made, last=True).admitted


def test_too_few_deciding_probes_admit_nothing(sandbox: Sandbox) -> None:
    proof = proved(RIGHT, sandbox, probes(each=18, visible=0))
    assert proof.decided and not proof.admitted
    enough = proof.report.check("enough probes")
    assert enough is not None and not enough.passed


def test_a_tool_below_the_bar_is_rarely_admitted() -> None:
    """The figures of the module's docstring: the chance that a side is passed with a true rate of 0.9, and of 0.8."""

    def chance(rate: float, count: int, needed: int) -> float:
        return sum(comb(count, k) * rate**k * (1 - rate) ** (count - k) for k in range(needed, count + 1))

    for count in range(20, 200):
        needed = round(needed_rate(count) * count)
        assert chance(0.9, count, needed) <= (0.122 if count < 30 else 0.043 if count < 35 else 0.03)
        assert chance(0.8, count, needed) <= 0.012
        assert needed == count or wilson_lower(needed, count) >= SURE
        assert wilson_lower(needed, count) >= FLOOR


def test_case_and_number_format_matter_only_where_answers_are_compared() -> None:
    def names(key: str, prompt: str, completion: str) -> list[str]:
        probe = Probe(Rollout(prompt, reference="7"), completion, "good")
        return [change.name for change in changes_for(Signature.parse(key), [probe])]

    assert names(SIGNATURE, "Write a number.", "7") == ["outer whitespace"]
    assert names("math/number/reference/und", "What is 3 + 4?", "It is 7.") == [
        "outer whitespace", "leading prose", "number as LaTeX",
    ]  # fmt: skip
    assert "leading prose" not in names("math/number/reference/und", "Give only the number: 3 + 4.", "7")
    assert "letter case" in names("knowledge/boolean/reference/und", "Is it so?", "Yes")


def test_a_changed_answer_is_a_bad_probe_only_where_one_answer_is_right() -> None:
    one = Probe(Rollout("3 + 4?", reference="7"), "The answer is 7.", "good")
    other = Probe(Rollout("A number above 5?", reference="7"), "9", "good")
    (made,) = answers_changed([one])
    assert (made.completion, made.expect) == ("The answer is 8.", "bad")
    assert answers_changed([one, other]) == []


def test_probes_are_judged_in_their_order(sandbox: Sandbox) -> None:
    made = probes(each=8)
    tool = loader(RIGHT, sandbox)(False)
    verdicts = judged(tool, [*made, *made[:3]])
    wanted = [1.0 if probe.expect == "good" else 0.0 for probe in [*made, *made[:3]]]
    assert [verdict.value for verdict in verdicts] == wanted
