"""Human review in the whole graph: the run stops at the question, and the answer decides whether the tool scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from rlar_graph import Rollout
from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.graph import Graph, build_graph
from rlar_graph.nodes.review import ANSWER, SOURCE_CHARS, question_of, read_decision
from rlar_graph.probe_making.keeping import keep
from rlar_graph.probes import Probe
from rlar_graph.registry.store import Registry
from rlar_graph.state import AcquireState, Draft
from tests.made_families import FAMILY, RIGHT, probes
from tests.test_acquisition import Model, acquiring, rollouts

THREAD = RunnableConfig(configurable={"thread_id": "1"})
OTHER = "source:others"
YES = {"approve": True, "reason": "it checks both rules"}
NO = {"approve": False, "reason": "it ignores the digits"}


def records(source: str = "multiples", count: int = 2) -> list[dict[str, Any]]:
    return [
        {"prompt": each.prompt, "completions": list(each.completions), "data_source": source}
        for each in rollouts()[:count]
    ]


def values(output: Mapping[str, Any]) -> list[list[float | None]]:
    return [[score["value"] for score in row] for row in output["scores"]]


def question(output: Mapping[str, Any]) -> dict[str, Any]:
    (asked,) = output["__interrupt__"]
    return dict(asked.value)


@contextmanager
def reviewing(folder: Path) -> Iterator[tuple[Graph, Registry]]:
    """Yield a graph with a checkpointer, over an engine that has probes of two families and asks before it promotes."""
    with acquiring(folder, Model(RIGHT), review=True) as (reward, _):
        registry = reward.engine.resources.registry
        keep_probes(registry)
        graph = build_graph(reward.engine)
        graph.checkpointer = InMemorySaver()
        yield graph, registry


def keep_probes(registry: Registry) -> None:
    """Keep a user's probes for both families."""
    own = probes()
    for family in (FAMILY, OTHER):
        keep(
            registry, family, "user", [Probe(Rollout(p.rollout.prompt), p.completion, p.expect) for p in own]
        )


def ask(graph: Graph, *sources: str) -> dict[str, Any]:
    given: Any = {"rollouts": [record for source in sources for record in records(source)]}
    return dict(graph.invoke(given, THREAD))


def resume(graph: Graph, answer: object) -> dict[str, Any]:
    return dict(graph.invoke(Command(resume=answer), THREAD))


def test_a_person_is_shown_what_to_decide_on_and_nothing_scores_before(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        asked = question(ask(graph, "multiples"))
        assert asked["question"] == f"May {asked['tool']} score the prompts of {FAMILY}?"
        assert asked["kind"] == "verifier" and FAMILY in asked["summary"]
        assert "def score(prompt, completion" in asked["source"]
        figures = {check["check"]: check["figure"] for check in asked["report"]["checks"]}
        assert figures["true positives"] == figures["true negatives"] == 1.0
        assert len(json.dumps(asked)) < 6_000
        assert registry.active(FAMILY) is None
        assert registry.awaiting([FAMILY])[FAMILY].state == "candidate"
        assert registry.claimed_by(FAMILY) is None, "a question may wait for days"


def test_an_approved_tool_scores_in_the_same_run(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        ask(graph, "multiples")
        output = resume(graph, YES)
        assert values(output) == [[1.0, 0.0]] * 2
        (outcome,) = output["outcomes"]
        assert outcome["why"] == "approved at review: it checks both rules"
        last = registry.history(outcome["tool"].split()[0])[-1]
        assert (last.who, last.reason) == ("review", outcome["why"])


def test_a_refused_tool_never_scores_and_the_reason_is_kept(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        name = question(ask(graph, "multiples"))["tool"].split()[0]
        output = resume(graph, NO)
        why = "refused at review: it ignores the digits"
        assert output["outcomes"] == [{"family": FAMILY, "tool": None, "why": why}]
        assert {value for row in values(output) for value in row} == {None}
        assert why in output["scores"][0][0]["abstained"]
        assert [event.reason for event in registry.history(name)][-1] == why
        assert [version.state for version in registry.tool(name).versions] == ["quarantined"]
        assert registry.attempts(FAMILY)[-1].reason == why
        again = ask(graph, "multiples")
        assert "__interrupt__" not in again and again["outcomes"] == [], "what was refused is not made again"


RUBBISH = [{}, {"approve": "yes"}, {"approve": 1}, "ok", "approve", 3, [True], {"approve": True, "rea": "x"}]
RUBBISH += [{"approve": True, "reason": 3}]


@pytest.mark.parametrize("answer", RUBBISH, ids=str)
def test_an_answer_that_cannot_be_read_decides_nothing(answer: object) -> None:
    said = read_decision(answer)
    assert isinstance(said, str) and ANSWER in said


@pytest.mark.parametrize("answer", [True, "true", {"approve": True}, '{"approve": true}'], ids=str)
def test_a_plain_yes_is_read(answer: object) -> None:
    assert read_decision(answer) == {"approve": True, "reason": "no reason given"}


def test_a_reason_is_kept_short_and_printable() -> None:
    decision = read_decision({"approve": False, "reason": "\x1b[2J" + "x" * 5_000})
    assert not isinstance(decision, str)
    assert len(decision["reason"]) < 1_100 and decision["reason"].isprintable()


def test_a_rubbish_answer_is_asked_again_with_what_was_wrong(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        first = question(ask(graph, "multiples"))
        for answer in ("sure", {"approve": "true"}):
            again = question(resume(graph, answer))
            assert repr(answer) in again["problem"]
            assert again == first | {"problem": again["problem"]}
            assert registry.active(FAMILY) is None
        assert values(resume(graph, YES)) == [[1.0, 0.0]] * 2


def test_two_families_are_reviewed_in_one_run_each_by_its_id(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, _):
        asked = {each.value["family"]: each.id for each in ask(graph, "multiples", "others")["__interrupt__"]}
        assert set(asked) == {FAMILY, OTHER}
        output = resume(graph, {asked[FAMILY]: NO})
        assert question(output)["family"] == OTHER, "the other one is still asked"
        output = resume(graph, {asked[OTHER]: YES})
        assert values(output) == [[None, None]] * 2 + [[1.0, 0.0]] * 2
        assert {outcome["family"]: bool(outcome["tool"]) for outcome in output["outcomes"]} == {
            FAMILY: False,
            OTHER: True,
        }


def test_what_was_approved_by_hand_meanwhile_is_no_trouble(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        tool, version = question(ask(graph, "multiples"))["tool"].split(" v")
        registry.promote(tool, int(version), reason="looks right")
        assert values(resume(graph, True)) == [[1.0, 0.0]] * 2


def test_a_candidate_rejected_meanwhile_is_not_promoted(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, registry):
        tool, version = question(ask(graph, "multiples"))["tool"].split(" v")

        class Failed:
            admitted = False

            def to_json(self) -> str:
                return json.dumps({"admitted": False})

        registry.readmit(tool, int(version), Failed(), reason="measured again")
        output = resume(graph, YES)
        assert "was rejected by the gate" in output["outcomes"][0]["why"]
        assert registry.active(FAMILY) is None


def test_a_thread_that_is_used_again_starts_anew(tmp_path: Path) -> None:
    with reviewing(tmp_path) as (graph, _):
        ask(graph, "multiples")
        assert len(resume(graph, YES)["outcomes"]) == 1
        output = ask(graph, "multiples")
        assert (output["outcomes"], values(output)) == ([], [[1.0, 0.0]] * 2)


def test_without_a_checkpointer_the_tool_waits_in_the_registry(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT), review=True) as (reward, _):
        keep_probes(reward.engine.resources.registry)
        given: Any = {"rollouts": records()}
        output = build_graph(reward.engine).invoke(given)
        assert "rlar tools approve" in output["outcomes"][0]["why"]
        assert "rlar tools approve" in output["scores"][0][0]["abstained"]


def test_a_hostile_source_is_shown_spelt_out_and_cut() -> None:
    source = "x = 1\n# \u202e\x1b[2J reversed\n" + "y" * 20_000
    report = AdmissionReport("v", "verifier", "", False, {"good": 1}, "p", 0.1, (Check("contract", True),))
    draft: Draft = {
        "name": "v", "kind": "verifier", "summary": "s", "source": source, "prompt_hash": "", "model": "m"
    }  # fmt: skip
    state: AcquireState = {
        "family": FAMILY, "signature": "s", "examples": [], "kinds": [], "draft": draft,
        "report": report.to_json(), "waits": "v v1",
    }  # fmt: skip
    shown = question_of(state)["source"]
    assert shown.startswith("x = 1\n# \\u202e\\x1b[2J reversed\n")
    assert len(shown) < SOURCE_CHARS + 200
    assert "rlar tools show" in shown
