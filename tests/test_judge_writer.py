"""The judge-writer: what it shows the model, what it makes of the reply, and what becomes of the judge at the gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlar_graph.admission import AdmissionReport
from rlar_graph.engine import Engine
from rlar_graph.nodes.judge_writer import JudgeWriterUpdate, judge_writer
from rlar_graph.nodes.verifier_tester import verifier_tester
from rlar_graph.probe_making import keep
from rlar_graph.probes import Probe
from rlar_graph.rewards.rubric import MAX_CRITERIA, Mode, Rubric
from rlar_graph.rewards.rubric_writing import WrittenCriterion, WrittenRubric, mode_for
from rlar_graph.routing.signature import Signature
from rlar_graph.settings import Settings
from rlar_graph.state import AcquireState
from rlar_graph.testing import ChatRequest, Line, Script, ScriptedChatServer, failing, refusing
from tests import scripted_judges as scripts
from tests.scripted_judges import CAPITALS, EVEN, LARGER, part

FAMILY = "source:even-numbers"
OPEN, SHORT = "open/text/none/und", "knowledge/string/reference/und"
WRITTEN = WrittenRubric(
    criteria=[
        WrittenCriterion(text=LARGER.text, weight=3),
        WrittenCriterion(text=EVEN.text, weight=2),
    ]
)


def divided(probes: Sequence[Probe]) -> list[Probe]:
    """Make the probes of the first prompts visible; a prompt is on one side only."""
    prompts = list(dict.fromkeys(probe.rollout.prompt for probe in probes))
    return [replace(probe, visible=probe.rollout.prompt in prompts[:5]) for probe in probes]


def probes_of(kind: str) -> list[Probe]:
    made = scripts.open_probes(range(20, 50)) if kind == OPEN else scripts.capital_probes()
    return divided(made)


@contextmanager
def acquiring(
    tmp_path: Path,
    script: Script,
    signature: str = OPEN,
    *,
    probes: Sequence[Probe] | None = None,
    **settings: Any,
) -> Iterator[tuple[AcquireState, Engine, ScriptedChatServer]]:
    """Yield a family with its probes kept, an engine and the server it asks."""
    given = probes_of(signature) if probes is None else probes
    with ScriptedChatServer(script) as server:
        options = {"llm_calls": 5_000, "llm_base_url": server.base_url, "llm_model": "scripted"} | settings
        with Engine(Settings.load(registry_url=f"sqlite:///{tmp_path}/rlar.db", **options)) as engine:
            keep(engine.resources.registry, FAMILY, "user", given)
            state: AcquireState = {
                "family": FAMILY,
                "signature": signature,
                "examples": [
                    {"prompt": f"Write an even number that is larger than {n}."} for n in range(20, 24)
                ],
                "kinds": [],
            }
            if signature == SHORT:
                state["examples"] = [
                    {"prompt": f"What is the capital of {country}?", "reference": city}
                    for country, city in CAPITALS.items()
                ]
            yield state, engine, server


def writing(script: Line, judge: Script = "") -> Script:
    return {"judge_writer": script, "judge": judge}  # type: ignore[dict-item]


def rubric_of(update: JudgeWriterUpdate) -> Rubric:
    draft = update["draft"]
    assert draft is not None, update["refused"]
    return Rubric.from_json(draft["source"])


def test_a_rubric_has_what_was_written_and_the_two_universal_criteria(tmp_path: Path) -> None:
    with acquiring(tmp_path, writing(WRITTEN)) as (state, engine, _):
        update = judge_writer(state, engine)
    draft, rubric = update["draft"], rubric_of(update)
    assert draft is not None
    assert draft["name"].startswith("judge-even-numbers-") and draft["kind"] == "judge"
    assert draft["model"] == rubric.model == "scripted" and len(draft["prompt_hash"]) == 64
    assert rubric.mode is Mode.OPEN
    assert [(c.text, c.weight, c.forbids) for c in rubric.criteria[:2]] == [
        (LARGER.text, 3, False),
        (EVEN.text, 2, False),
    ]
    assert [criterion.forbids for criterion in rubric.criteria] == [False, False, True, True]
    assert update["cost"]["calls"] == 1


def test_the_writer_sees_visible_probes_in_a_fence_and_no_deciding_one(tmp_path: Path) -> None:
    with acquiring(tmp_path, writing(WRITTEN)) as (state, engine, server):
        judge_writer(state, engine)
    (request,) = [request for request in server.requests if request.role == "judge_writer"]
    shown = part(request, "examples")
    assert "RIGHT completion: 'I choose " in shown and "WRONG completion: 'I choose " in shown
    deciding = {probe.rollout.prompt for probe in probes_of(OPEN) if not probe.visible}
    assert len(deciding) > 20
    assert not [prompt for prompt in deciding if prompt in request.text]


@pytest.mark.parametrize(
    ("criteria", "kept"),
    [
        ([("The answer is\n\nright.", 9), ("The answer is right.", 1)], [("The answer is right.", 3)]),
        ([("x" * 5_000, 0)], [("x" * 300, 1)]),
        ([("...", 3), ("\u200b\u200bThe\u200b answer is right.", 2)], [("The answer is right.", 2)]),
        (
            [(f"Point {number} is made.", 1) for number in range(30)],
            [(f"Point {n} is made.", 1) for n in range(6)],
        ),
    ],
)
def test_what_was_written_is_cleaned_and_bounded(
    tmp_path: Path, criteria: list[tuple[str, int]], kept: list[tuple[str, int]]
) -> None:
    written = WrittenRubric(
        criteria=[WrittenCriterion(text=text, weight=weight) for text, weight in criteria]
    )
    with acquiring(tmp_path, writing(written)) as (state, engine, _):
        rubric = rubric_of(judge_writer(state, engine))
    assert [
        (criterion.text, criterion.weight) for criterion in rubric.criteria if not criterion.forbids
    ] == kept
    assert len(rubric.criteria) <= MAX_CRITERIA


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("I would rather not.", "LLMReplyError"),
        ('{"criteria": []}', "LLMReplyError"),
        (WrittenRubric(criteria=[WrittenCriterion(text="?!")]), "no criterion that says anything"),
        (refusing(), "LLMReplyError"),
        (failing(401, "bad key"), "LLMUnavailable"),
    ],
)
def test_a_model_that_writes_nothing_usable_is_a_refusal(tmp_path: Path, script: Line, reason: str) -> None:
    with acquiring(tmp_path, writing(script)) as (state, engine, _):
        update = judge_writer(state, engine)
    assert update["draft"] is None and reason in str(update["refused"])


def test_a_spent_budget_is_a_refusal(tmp_path: Path) -> None:
    with acquiring(tmp_path, writing(WRITTEN), llm_calls=0) as (state, engine, server):
        update = judge_writer(state, engine)
    assert update["draft"] is None and "BudgetExhausted" in str(update["refused"])
    assert not server.requests


def test_without_a_model_there_is_no_judge(tmp_path: Path) -> None:
    with acquiring(tmp_path, "", llm_base_url=None, llm_model=None) as (state, engine, _):
        update = judge_writer(state, engine)
    assert update["draft"] is None and "no language model is configured" in str(update["refused"])


def test_without_probes_nothing_is_written(tmp_path: Path) -> None:
    with acquiring(tmp_path, writing(WRITTEN), probes=[]) as (state, engine, server):
        update = judge_writer(state, engine)
    assert update["draft"] is None and update["refused"]
    assert not [request for request in server.requests if request.role == "judge_writer"]


@pytest.mark.parametrize(
    ("signature", "mode"),
    [
        (SHORT, Mode.EQUIVALENCE),
        ("math/expression/reference/und", Mode.EQUIVALENCE),
        ("summarization/text/reference/und", Mode.REFERENCE),
        ("code/program/reference/rust", Mode.REFERENCE),
        ("summarization/text/source/und", Mode.OPEN),
        ("math/number/none/und", Mode.OPEN),
    ],
)
def test_the_mode_follows_the_evidence(signature: str, mode: Mode) -> None:
    assert mode_for(Signature.parse(signature)) is mode


def test_an_equivalence_needs_no_writing(tmp_path: Path) -> None:
    with acquiring(tmp_path, {"judge": ""}, SHORT) as (state, engine, server):
        rubric = rubric_of(judge_writer(state, engine))
    assert rubric.mode is Mode.EQUIVALENCE and rubric.criteria == ()
    assert not [request for request in server.requests if request.role == "judge_writer"]


def proved(tmp_path: Path, judge: Script, signature: str) -> tuple[bool, set[str]]:
    """Write a judge and take it through the tester; return whether it is admitted, and the checks it failed."""
    script = {"judge_writer": WRITTEN, "judge": judge, "extractor": scripts.same_city}
    with acquiring(tmp_path, script, signature) as (state, engine, _):  # type: ignore[arg-type]
        state.update(judge_writer(state, engine))  # type: ignore[typeddict-item]
        update = verifier_tester(state, engine)
    assert update["report"] is not None, update["refused"]
    report = AdmissionReport.from_json(update["report"])
    return update["admitted"], {check.name for check in report.checks if not check.passed}


@pytest.mark.parametrize(("judge", "signature"), [(scripts.honest, OPEN), (scripts.same_city, SHORT)])
def test_an_honest_judge_is_admitted_by_the_tester(tmp_path: Path, judge: Script, signature: str) -> None:
    assert proved(tmp_path, judge, signature) == (True, set())


@pytest.mark.parametrize(
    ("judge", "signature", "check"),
    [
        (scripts.always_yes, OPEN, "order"),
        (scripts.obedient, OPEN, "hostile accepted"),
        (scripts.trusts_the_first, SHORT, "true negatives"),
    ],
)
def test_an_unfit_judge_is_rejected_by_the_tester(
    tmp_path: Path, judge: Script, signature: str, check: str
) -> None:
    admitted, failed = proved(tmp_path, judge, signature)
    assert not admitted and check in failed


def test_the_request_of_a_judge_names_its_role(tmp_path: Path) -> None:
    roles: set[str] = set()

    def noting(request: ChatRequest) -> Line:
        roles.add(request.role)
        return scripts.honest(request) if request.role == "judge" else WRITTEN

    with acquiring(tmp_path, noting) as (state, engine, _):
        state.update(judge_writer(state, engine))  # type: ignore[typeddict-item]
        verifier_tester(state, engine)
    assert roles == {"judge_writer", "judge"}
