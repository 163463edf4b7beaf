"""The judge-writer: writes the rubric by which a language model judges a family that no code can decide."""

from __future__ import annotations

from typing import TypedDict

from rlar_graph.candidates import tool_name
from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, SandboxError
from rlar_graph.probe_making import family_probes, visible
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.records import rollout_from
from rlar_graph.rewards.rubric import Mode, Rubric
from rlar_graph.rewards.rubric_writing import DOCUMENT, mode_for, write_rubric
from rlar_graph.routing.signature import Signature
from rlar_graph.state import AcquireState, Draft
from rlar_graph.writing import Assignment

NO_MODEL = "no language model is configured (RLAR_LLM_BASE_URL and RLAR_LLM_MODEL), and a judge is one"


class JudgeWriterUpdate(TypedDict, total=False):
    """The judge-writer's keys."""

    draft: Draft | None
    refused: str | None


def judge_writer(state: AcquireState, engine: Engine) -> JudgeWriterUpdate:
    """Return a judge to be tested; refuse where no model is at hand or it writes no usable rubric."""
    llm = engine.resources.llm
    if llm is None:
        return {"draft": None, "refused": NO_MODEL}
    signature = Signature.parse(state["signature"])
    examples = tuple(rollout_from(record) for record in state["examples"])
    try:
        shown = ""
        if mode_for(signature) is not Mode.EQUIVALENCE:
            shown = Assignment(examples, visible(family_probes(state, engine.resources))).text
        rubric = write_rubric(llm, signature, shown)
    except (LLMError, SandboxError) as error:
        # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
        return {"draft": None, "refused": f"{type(error).__name__}: {error}"}
    return {"draft": _draft(state["family"], rubric), "refused": None}


def _draft(family: str, rubric: Rubric) -> Draft:
    equivalence = rubric.mode is Mode.EQUIVALENCE
    basis = {
        Mode.EQUIVALENCE: "whether the completion gives the reference's answer",
        Mode.REFERENCE: f"{len(rubric.criteria)} criteria, with the reference in view",
        Mode.OPEN: f"{len(rubric.criteria)} criteria, with an answer it commits to beforehand",
    }
    return {
        "name": tool_name("judge", family),
        "kind": "judge",
        "summary": f"judges {family} with {rubric.model}: {basis[rubric.mode]}",
        "source": rubric.to_json(),
        "prompt_hash": "" if equivalence else load_prompt(DOCUMENT).hash,
        "model": rubric.model,
    }
