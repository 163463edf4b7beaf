"""The code-writer: writes a verifier for a family, or repairs one from the failures it is shown."""

from __future__ import annotations

from typing import TypedDict

from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, SandboxError
from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making import family_probes, shortage, visible
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.records import rollout_from
from rlar_graph.state import AcquireState, Cost, Draft
from rlar_graph.toolmaking.branch_costs import Meter
from rlar_graph.toolmaking.candidates import Candidate, tool_name
from rlar_graph.toolmaking.writing import Assignment, repair, write

NO_MODEL = (
    "no language model is configured (RLAR_LLM_BASE_URL and RLAR_LLM_MODEL), and code is written by one"
)


class CodeWriterUpdate(TypedDict, total=False):
    """The code-writer's keys."""

    draft: Draft | None
    attempt: int
    refused: str | None
    cost: Cost


def code_writer(state: AcquireState, engine: Engine) -> CodeWriterUpdate:
    """Return a first draft, or the last one repaired; refuse where no model is at hand or none answers usably.

    Nothing is written where there are too few probes to prove it on: the refusal says what to supply.
    """
    llm = engine.resources.llm
    if llm is None:
        return {"draft": None, "refused": NO_MODEL}
    with Meter(llm) as meter:
        try:
            written = _written(state, engine, meter.llm)
        except (LLMError, SandboxError) as error:
            # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
            written = f"{type(error).__name__}: {error}"
        cost = meter.cost(state)
    if isinstance(written, str):
        return {"draft": None, "refused": written, "cost": cost}
    attempt = state.get("attempt", 0) + 1
    draft = _draft(state["family"], written, attempt, llm.model)
    return {"draft": draft, "attempt": attempt, "refused": None, "cost": cost}


def _written(state: AcquireState, engine: Engine, llm: LanguageModel) -> Candidate | str:
    """Write or repair; or say why not."""
    settings, sandbox = engine.settings, engine.resources.sandbox
    probes = family_probes(state, engine.resources)
    lacking = shortage(probes)
    if lacking is not None:
        return lacking
    assignment = Assignment(tuple(rollout_from(record) for record in state["examples"]), visible(probes))
    before = state.get("draft")
    if before is None:
        found = write(llm, assignment, sandbox, settings.writer_candidates)
    else:
        found = repair(
            llm,
            assignment,
            sandbox,
            settings.writer_candidates,
            source=before["source"],
            failures=state.get("failures", []),
            attempt=state.get("attempt", 1),
        )
    return found if isinstance(found, Candidate) else f"{type(found).__name__}: {found}"


def _draft(family: str, written: Candidate, attempt: int, model: str) -> Draft:
    document = load_prompt("code_writer_draft" if attempt == 1 else "code_writer_repair")
    return {
        "name": tool_name("verifier", family),
        "kind": "verifier",
        "summary": f"written for {family}: checks a completion against its prompt by code",
        "source": written.source,
        "prompt_hash": document.hash,
        "model": model,
    }
