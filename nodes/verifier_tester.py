"""The verifier-tester: proves a draft on the family's probes, and says what failed on those its writer may see."""

from __future__ import annotations

import hashlib
from typing import TypedDict, cast

from rlar_graph.engine import Engine
from rlar_graph.errors import LLMError, SandboxError
from rlar_graph.probe_making import family_probes
from rlar_graph.proving import Proof, prove
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import GeneratedVerifier
from rlar_graph.rewards.load import load_registered
from rlar_graph.routing.signature import Signature
from rlar_graph.state import AcquireState, Draft
from rlar_graph.types import ToolKind

ONE_LOOK = (
    "it makes no mistake that its writer may see and fails on deciding probes ({checks}); "
    "a further try on the same ones would be a guess"
)


class VerifierTesterUpdate(TypedDict, total=False):
    """The verifier-tester's keys."""

    report: str | None
    admitted: bool
    failures: list[str]
    refused: str | None


def verifier_tester(state: AcquireState, engine: Engine) -> VerifierTesterUpdate:
    """Prove the draft; a tool that failed on deciding probes is refused further rounds."""
    draft = state.get("draft")
    if draft is None:
        return {"report": None, "admitted": False, "failures": [], "refused": "there is no draft to test"}
    try:
        proof = _proved(state, draft, engine)
    except (LLMError, SandboxError) as error:
        # The node's edge: nothing was measured, which is no finding about the draft.
        return {
            "report": None,
            "admitted": False,
            "failures": [],
            "refused": f"{type(error).__name__}: {error}",
        }
    refused = None
    if proof.decided and not proof.admitted:
        failed = [check.name for check in proof.report.checks if not check.passed]
        refused = ONE_LOOK.format(checks=", ".join(failed))
    return {
        "report": proof.report.to_json(),
        "admitted": proof.admitted,
        "failures": list(proof.failures),
        "refused": refused,
    }


def _proved(state: AcquireState, draft: Draft, engine: Engine) -> Proof:
    kind = cast(ToolKind, draft["kind"])
    digest = hashlib.sha256(draft["source"].encode("utf-8", "surrogatepass")).hexdigest()
    spec = ToolSpec(draft["name"], kind, draft["summary"], content_hash=digest)

    def load(fresh: bool) -> RewardTool:
        if kind == "verifier":
            return GeneratedVerifier(spec, draft["source"], engine.resources.sandbox, fresh=fresh)
        return load_registered(spec, draft["source"], engine.resources)

    return prove(
        load,
        draft["source"],
        family_probes(state, engine.resources),
        Signature.parse(state["signature"]),
        last_round=kind != "verifier" or state.get("attempt", 1) >= engine.settings.writer_rounds,
    )
