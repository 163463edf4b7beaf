"""The project's own language model as an auditor: a judge by rubrics of its own, which no tool of the registry has.

It is asked what a policy cannot have learned to please it in, because no reward is given for it: whether the prompt was
done right. A judge that serves and was made with the same model shares that model's blind spots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlar_graph.resources import Resources
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.judge import Judge
from rlar_graph.rewards.judgement import references_of
from rlar_graph.rewards.rubric import Criterion, Mode, Rubric, with_universal
from rlar_graph.types import Rollout

CRITERIA: Mapping[Mode, str] = {
    Mode.REFERENCE: "The completion commits to one final answer, and it says the same as the reference.",
    Mode.OPEN: "The completion does what the prompt asks for, rightly and in full.",
}
"""What is asked, with a reference and without."""


def judged(rollouts: Sequence[Rollout], resources: Resources) -> list[list[float | None]]:
    """Return what the configured language model says of completions, None where it cannot tell.

    Args:
        rollouts: Rollouts with their completions.
        resources: The language model, with the budget of judges, and the registry that keeps verdicts.
    """
    rows: list[list[float | None]] = [[None] * len(rollout.completions) for rollout in rollouts]
    for mode in CRITERIA:
        places = [place for place, rollout in enumerate(rollouts) if _mode_of(rollout) is mode]
        if places:
            verdicts = _judge(mode, resources).score([rollouts[place] for place in places])
            for place, row in zip(places, verdicts, strict=True):
                rows[place] = [verdict.value for verdict in row]
    return rows


def _mode_of(rollout: Rollout) -> Mode:
    return Mode.REFERENCE if references_of(rollout) else Mode.OPEN


def _judge(mode: Mode, resources: Resources) -> Judge:
    model = resources.settings.llm_model or ""
    rubric = Rubric.of(mode, with_universal([Criterion(text=CRITERIA[mode])]), model)
    return Judge(ToolSpec("auditor", "judge", CRITERIA[mode]), rubric.to_json(), resources)
