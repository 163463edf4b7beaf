"""The judge-writer: writes the rubric by which a language model judges a family that no code can decide."""

from __future__ import annotations

from typing import TypedDict

from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making import family_probes, shortage, visible
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.records import rollout_from
from rlar_graph.rewards.rubric import Mode, Rubric
from rlar_graph.rewards.rubric_writing import DOCUMENT, write_rubric
from rlar_graph.routing.signature import Signature
from rlar_graph.state import AcquireState, Cost, Draft
from rlar_graph.toolmaking.branch_costs import Meter
from rlar_graph.toolmaking.candidates import tool_name
from rlar_graph.toolmaking.writing import Assignment

NO_MODEL = "no language model is configured (RLAR_LLM_BASE_URL and RLAR_LLM_MODEL), and a judge is one"


class JudgeWriterUpdate(TypedDict, total=False):
    """The judge-writer's keys."""

    draft: Draft | None
    refused: str | None
    cost: Cost


def judge_writer(state: AcquireState, engine: Engine) -> JudgeWriterUpdate:
    """Return a judge to be tested; refuse where no model is at hand or it writes no usable rubric.

    Nothing is written where there are too few probes to prove it on: the refusal says what to supply.
    """
    llm = engine.resources.llm
    if llm is None:
        return {"draft": None, "refused": NO_MODEL}
    with Meter(llm) as meter:
        try:
            written = _written(state, engine, meter.llm)
        except LLMError as error:
            # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
            written = f"{type(error).__name__}: {error}"
        cost = meter.cost(state)
    if isinstance(written, str):
        return {"draft": None, "refused": written, "cost": cost}
    return {"draft": _draft(state["family"], written), "refused": None, "cost": cost}


def _written(state: AcquireState, engine: Engine, llm: LanguageModel) -> Rubric | str:
    """Write a rubric from what its writer may see; or say why not."""
    probes = family_probes(state, engine.resources)
    lacking = shortage(probes)
    if lacking is not None:
        return lacking
    assignment = Assignment(tuple(rollout_from(record) for record in state["examples"]), visible(probes))
    return write_rubric(llm, Signature.parse(state["signature"]), assignment.text)


def _draft(family: str, rubric: Rubric) -> Draft:
    basis = {
        Mode.EQUIVALENCE: "whether a completion gives the reference's answer",
        Mode.REFERENCE: f"by {len(rubric.criteria)} criteria, with the reference in view",
        Mode.OPEN: f"by {len(rubric.criteria)} criteria, with an answer it commits to beforehand",
    }
    return {
        "name": tool_name("judge", family),
        "kind": "judge",
        "summary": f"written for {family}: {rubric.model} judges {basis[rubric.mode]}",
        "source": rubric.to_json(),
        "prompt_hash": "" if rubric.mode is Mode.EQUIVALENCE else load_prompt(DOCUMENT).hash,
        "model": rubric.model,
    }
