"""The claim: one process seeks a tool for a family, the others wait for it or abstain."""

from __future__ import annotations

import time

from rlar_graph.engine import Engine
from rlar_graph.state import AcquireState, ClaimUpdate

POLL_SECONDS = 0.5


def claim(state: AcquireState, engine: Engine) -> ClaimUpdate:
    """Claim the family for this branch; where another process has it, or was faster, end the branch and say so."""
    registry, family = engine.resources.registry, state["family"]
    deadline = time.monotonic() + engine.settings.acquire_wait_seconds
    while True:
        owner = engine.leases.take(family)
        # Looked at with the claim in hand: whoever had it may have finished since the planner looked.
        serving = registry.active(family)
        tool = None if serving is None else f"{serving.tool} v{serving.number}"
        if tool is not None and tool != state.get("replaces"):
            if owner is not None:
                engine.leases.drop(family, owner)
            return _over(family, tool, "another process found it meanwhile")
        if owner is not None:
            return {"owner": owner}
        if time.monotonic() >= deadline:
            why = f"{registry.claimed_by(family)} is seeking a tool for it; its prompts abstain until then"
            return _over(family, None, why)
        time.sleep(POLL_SECONDS)


def _over(family: str, tool: str | None, why: str) -> ClaimUpdate:
    """Return the outcome of a branch that has nothing to do."""
    return {"outcomes": [{"family": family, "tool": tool, "why": why}]}
