"""How soon an auditor finds out a grader that the policy has learned to please, and whether it spares a sound one.

A simulated policy is trained on prompts of one family by the group-relative policy gradient. The verifier that serves
it was registered by hand and has a hole: 0 is divisible by everything. The auditor knows the rule. Nobody calls
`audit()`; a step without scores is the end. Then the same with a sound verifier, over as many steps. What a trainer
takes minutes for takes milliseconds here, so the bound on audits per minute is lifted and the monitor looks after each
audit instead of once a minute. The floor is what a minute brings, the whole run at most a few.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rlar_graph import AgentReward, Settings
from rlar_graph.drift import DriftMonitor

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.drifting_policy import GROUP, TOOL, Policy, exactly, register
from tests.made_families import HALF, RIGHT

FOUND_HOLE = 0.05
"""Share of completions that use the hole, from which on the policy has found it."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one training."""

    verifier: str
    """Whether it has a hole."""
    share: float
    """Share of rollouts audited."""
    seed: int
    """Of the policy."""
    rollouts: int
    """Rollouts scored, until the verifier was out of service or to the end."""
    quarantined: bool
    """Whether it was taken out of service."""
    after: int | None
    """Rollouts between the policy's finding the hole and the quarantine."""
    hole: float
    """Share of completions that used the hole in the end."""
    audited: int
    """Rollouts that were audited."""


def train(source: str, share: float, seed: int, options: argparse.Namespace) -> Run:
    """Train one policy with one verifier."""
    policy = Policy(seed, prompts=options.prompts, rate=options.rate)
    scored, found, quarantined = 0, None, False
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rlar.db"
        settings = Settings.load(registry_url=url, audit_share=share, audit_rollouts=1_000_000)
        with AgentReward(settings, exactly) as reward:
            registry = reward.engine.resources.registry
            register(registry, source)
            reward.engine.recorder._monitor = DriftMonitor(registry, seconds=0.0)
            for step in range(options.steps):
                scores = reward.score(policy.rollouts(), step=step)
                if scores[0][0].value is None:
                    quarantined = registry.tool(TOOL).versions[0].state == "quarantined"
                    break
                scored += options.prompts
                policy.learn(scores)
                if found is None and policy.shares()[1] > FOUND_HOLE:
                    found = scored
                _wait(reward)
            audited = reward.audits()["audited"]
    after = scored - found if quarantined and found is not None else None
    name = "with a hole" if source is HALF else "sound"
    return Run(name, share, seed, scored, quarantined, after, policy.shares()[1], audited)


def _wait(reward: AgentReward) -> None:
    """Wait until the auditor has been through what was picked; a trainer's step takes far longer."""
    while (counts := reward.audits())["picked"] > counts["audited"] + counts["failed"] + counts["dropped"]:
        time.sleep(0.001)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=128, help="prompts a step, 8 completions each")
    parser.add_argument("--rate", type=float, default=0.4, help="learning rate of the policy")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = [
        train(source, share, seed, options)
        for source in (HALF, RIGHT)
        for share in (0.01, 0.05)
        for seed in range(options.seeds)
    ]
    if options.json:
        print(json.dumps([asdict(run) for run in runs], indent=2))
        return
    print(f"{options.prompts} prompts a step, {GROUP} completions each, at most {options.steps} steps")
    for run in runs:
        if run.quarantined:
            outcome = f"quarantined after {run.rollouts:,} rollouts, {run.after or 0:,} after the policy found the hole"
        else:
            outcome = f"in service after {run.rollouts:,} rollouts"
        print(
            f"  {run.verifier:11}  share {run.share:.2f}  seed {run.seed}: {outcome}; "
            f"{run.hole:4.0%} of completions used it; {run.audited:,} rollouts audited"
        )


if __name__ == "__main__":
    main()
