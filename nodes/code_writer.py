"""The code-writer: writes a verifier for a family, or repairs one from the failures it is shown."""

from __future__ import annotations

from typing import TypedDict

from rlar_graph.candidates import Candidate, tool_name
from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, SandboxError
from rlar_graph.probe_making import family_probes, visible
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.records import rollout_from
from rlar_graph.state import AcquireState, Draft
from rlar_graph.writing import Assignment, repair, write

NO_MODEL = (
    "no language model is configured (RLAR_LLM_BASE_URL and RLAR_LLM_MODEL), and code is written by one"
)


class CodeWriterUpdate(TypedDict, total=False):
    """The code-writer's keys."""

    draft: Draft | None
    attempt: int
    refused: str | None


def code_writer(state: AcquireState, engine: Engine) -> CodeWriterUpdate:
    """Return a first draft, or the last one repaired; refuse where no model is at hand or none answers usably."""
    try:
        written = _written(state, engine)
    except (LLMError, SandboxError) as error:
        # The node's edge: a branch that cannot go on goes to the next kind of tool, and the graph goes on.
        return {"draft": None, "refused": f"{type(error).__name__}: {error}"}
    if isinstance(written, str):
        return {"draft": None, "refused": written}
    attempt = state.get("attempt", 0) + 1
    return {"draft": _draft(state, engine, written, attempt), "attempt": attempt, "refused": None}


def _written(state: AcquireState, engine: Engine) -> Candidate | str:
    """Write or repair; or say why not."""
    llm, settings = engine.resources.llm, engine.settings
    if llm is None:
        return NO_MODEL
    examples = tuple(rollout_from(record) for record in state["examples"])
    probes = family_probes(state, engine.resources)
    assignment = Assignment(examples, visible(probes))
    before = state.get("draft")
    if before is None:
        found = write(llm, assignment, engine.resources.sandbox, settings.writer_candidates)
    else:
        found = repair(
            llm,
            assignment,
            engine.resources.sandbox,
            settings.writer_candidates,
            source=before["source"],
            failures=state.get("failures", []),
            attempt=state.get("attempt", 1),
        )
    return found if isinstance(found, Candidate) else f"{type(found).__name__}: {found}"


def _draft(state: AcquireState, engine: Engine, written: Candidate, attempt: int) -> Draft:
    llm = engine.resources.llm
    document = load_prompt("code_writer_draft" if attempt == 1 else "code_writer_repair")
    return {
        "name": tool_name("verifier", state["family"]),
        "kind": "verifier",
        "summary": f"written for {state['family']}: checks the completion against the prompt by code",
        "source": written.source,
        "prompt_hash": document.hash,
        "model": llm.model if llm else "",
    }
