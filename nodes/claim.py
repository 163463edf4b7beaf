"""The claim: one process seeks a tool for a family, the others wait for it or abstain."""

from __future__ import annotations

import time

from rlar_graph.engine import Engine
from rlar_graph.state import AcquireState, ClaimUpdate

POLL_SECONDS = 0.5


def claim(state: AcquireState, engine: Engine) -> ClaimUpdate:
    """Claim the family for this branch; where another process has it, end the branch and say so."""
    registry, family = engine.resources.registry, state["family"]
    deadline = time.monotonic() + engine.settings.acquire_wait_seconds
    while True:
        owner = engine.leases.take(family)
        if owner is not None:
            return {"owner": owner}
        serving = registry.active(family)
        if serving is not None:
            tool = f"{serving.tool} v{serving.number}"
            return {
                "outcomes": [{"family": family, "tool": tool, "why": "another process found it meanwhile"}]
            }
        if time.monotonic() >= deadline:
            why = f"{registry.claimed_by(family)} is seeking a tool for it; its prompts abstain until then"
            return {"outcomes": [{"family": family, "tool": None, "why": why}]}
        time.sleep(POLL_SECONDS)
