"""The verifier-tester: proves a draft on the family's probes, and says what failed on those its writer may see."""

from __future__ import annotations

import hashlib
import time
from typing import TypedDict, cast

from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, SandboxError, ToolError
from rlar_graph.probe_making import family_probes
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import TRIAL_LIMITS, GeneratedVerifier
from rlar_graph.rewards.load import load_registered
from rlar_graph.routing.signature import Signature
from rlar_graph.state import AcquireState, Cost, Draft, Rejected
from rlar_graph.toolmaking.branch_costs import added
from rlar_graph.toolmaking.proving import Proof, prove
from rlar_graph.types import ToolKind


class VerifierTesterUpdate(TypedDict, total=False):
    """The verifier-tester's keys."""

    report: str | None
    admitted: bool
    failures: list[str]
    refused: str | None
    rejected: list[Rejected]
    cost: Cost


def verifier_tester(state: AcquireState, engine: Engine) -> VerifierTesterUpdate:
    """Prove the draft; refuse further rounds to one that failed on deciding probes or used all its rounds up."""
    draft = state.get("draft")
    if draft is None:
        return _unmeasured("there is no draft to test")
    started = time.perf_counter()
    try:
        proof = _proved(state, draft, engine)
    except (LLMError, SandboxError, ToolError) as error:
        # The node's edge: nothing was measured, which is no finding about the draft.
        return _unmeasured(f"{type(error).__name__}: {error}")
    report = proof.report.to_json()
    update: VerifierTesterUpdate = {
        "report": report,
        "admitted": proof.admitted,
        "failures": list(proof.failures),
        "refused": None if proof.admitted else _refused(state, proof, engine.settings.writer_rounds),
        "cost": added(state, 0, 0, 0.0, time.perf_counter() - started),
    }
    if not proof.admitted:
        update["rejected"] = [*state.get("rejected", []), {"draft": draft, "report": report}]
    return update


def _unmeasured(why: str) -> VerifierTesterUpdate:
    return {"report": None, "admitted": False, "failures": [], "refused": why}


def _refused(state: AcquireState, proof: Proof, rounds: int) -> str | None:
    """Say why the writer gets no further round, if it does not."""
    failed = ", ".join(check.name for check in proof.report.checks if not check.passed)
    if proof.decided:
        return (
            f"it makes no mistake that its writer may see and fails on deciding probes ({failed}); "
            "a further try on the same ones would be a guess"
        )
    if state.get("attempt", 1) >= rounds:
        return f"still wrong on visible probes after {state.get('attempt', 1)} drafts ({failed})"
    return None


def _proved(state: AcquireState, draft: Draft, engine: Engine) -> Proof:
    kind = cast(ToolKind, draft["kind"])
    digest = hashlib.sha256(draft["source"].encode("utf-8", "surrogatepass")).hexdigest()
    spec = ToolSpec(draft["name"], kind, draft["summary"], content_hash=digest)

    def load(fresh: bool) -> RewardTool:
        if kind == "verifier":
            return GeneratedVerifier(
                spec, draft["source"], engine.resources.sandbox, TRIAL_LIMITS, fresh=fresh
            )
        return load_registered(spec, draft["source"], engine.resources)

    return prove(
        load,
        draft["source"],
        family_probes(state, engine.resources),
        Signature.parse(state["signature"]),
        last_round=kind != "verifier" or state.get("attempt", 1) >= engine.settings.writer_rounds,
    )
