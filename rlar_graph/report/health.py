"""Health: what a person who looks for three seconds has to know of a registry, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from rlar_graph.drift import ABSTENTION, ERRORS, SATURATION
from rlar_graph.report.facts import Facts
from rlar_graph.report.words import plural, sentence, share

Level: TypeAlias = Literal["good", "watch", "act"]

ABSTENTION_WATCH = 0.05
"""Share of completions without a value from which on it is worth a look."""
ENOUGH = 50
"""Completions, or last points of a curve together, before a share says anything."""
TAIL = 6
"""Points at the end of a curve that say how it stands now."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing worth knowing."""

    level: Level
    """``good``, ``watch``, or ``act``: the reward is doing harm or nothing."""
    title: str
    """What it is, in a few words."""
    advice: str
    """What it means and what to do."""
    link: str
    """The section that says more."""


def signs(facts: Facts) -> list[Sign]:
    """Return the signs, the worst first; at least one."""
    found = [
        *_coverage(facts),
        *_alarms(facts),
        *_quarantined(facts),
        *_broken(facts),
        *_curves(facts),
        *_waiting(facts),
    ]
    if not found:
        found = [
            Sign(
                "good",
                "No sign of trouble",
                "Tools score, abstain little, and no monitor objects.",
                "rewards",
            )
        ]
    order = {"act": 0, "watch": 1, "good": 2}
    return sorted(found, key=lambda sign: order[sign.level])


def _coverage(facts: Facts) -> Iterator[Sign]:
    """Yield what abstentions say."""
    outcomes = facts.outcomes
    total = outcomes.completions
    if not facts.completions:
        advice = "Score something with this registry: `rlar score FILE`, or train with AgentReward."
        yield Sign("watch", "There is nothing to show in this time", advice, "tools")
        return
    if total < ENOUGH:
        return
    if outcomes.abstained > ABSTENTION_WATCH * total:
        level: Level = "act" if outcomes.abstained > ABSTENTION * total else "watch"
        reason, count = outcomes.reasons().most_common(1)[0]
        advice = f"Most often ({share(count, outcomes.abstained)}): {sentence(reason)}"
        if outcomes.unserved > outcomes.abstained / 2:
            advice = (
                f"{share(outcomes.unserved, outcomes.abstained)} of them because no tool serves the prompt: seek tools "
                f"with `rlar prepare`, or leave such prompts out. {advice}"
            )
        yield Sign(
            level, f"{share(outcomes.abstained, total)} of completions have no value", advice, "abstentions"
        )


def _alarms(facts: Facts) -> Iterator[Sign]:
    """Yield what drift monitors found and nobody has settled."""
    standing = [alarm for alarm in facts.alarms if alarm.standing]
    for alarm in standing[:3]:
        advice = f"{sentence(alarm.reason)} What follows: {alarm.action}."
        yield Sign("act", f"{alarm.tool} v{alarm.version} drifts: {alarm.monitor}", advice, "drift")
    if len(standing) > 3:
        yield Sign("act", f"{len(standing) - 3} more drift alarms stand", "Each is told below.", "drift")


def _quarantined(facts: Facts) -> Iterator[Sign]:
    """Yield the tools whose prompts abstain because a version was taken out of service."""
    out = [
        tool
        for tool in facts.tools
        if tool.tool.active is None and any(each.version.state == "quarantined" for each in tool.versions)
    ]
    for tool in out[:3]:
        change = tool.chief.change
        why = sentence(change.reason) if change else ""
        advice = f"{why} Its prompts abstain until a version is promoted.".strip()
        yield Sign("act", f"{tool.tool.name} is quarantined", advice, "tools")
    if len(out) > 3:
        yield Sign("act", f"{len(out) - 3} more tools are quarantined", "Their prompts abstain.", "tools")


def _broken(facts: Facts) -> Iterator[Sign]:
    """Yield the tools that break."""
    for tool in facts.tools:
        used = tool.chief.used
        if used.completions >= ENOUGH and used.errors > ERRORS * used.completions:
            advice = f"{plural(used.errors, 'call')} of {plural(used.batches, 'batch', 'batches')} broke; see the log."
            yield Sign("act", f"{tool.tool.name} breaks", advice, "tools")


def _curves(facts: Facts) -> Iterator[Sign]:
    """Yield what the ends of the curves say."""
    curves = facts.curves
    if curves is None:
        return
    for curve in curves.by_tool:
        tail = curve.judged[-TAIL:]
        judged = sum(point.judged for point in tail)
        if judged < ENOUGH or len(tail) < TAIL:
            continue
        means = [point.mean for point in tail if point.mean is not None]
        if min(means) > SATURATION:
            advice = "Nothing is left to learn from it, or the policy has found a hole: read some of its completions."
            yield Sign("watch", f"{curve.tool} gives nearly everything full marks", advice, "rewards")
        elif max(means) < 1 - SATURATION:
            advice = "Every completion is wrong, or the tool cannot read them: read some of its completions."
            yield Sign("watch", f"{curve.tool} gives nearly everything nothing", advice, "rewards")


def _waiting(facts: Facts) -> Iterator[Sign]:
    """Yield what waits for a person, and what failed lately."""
    waiting = [
        each.version
        for tool in facts.tools
        for each in tool.versions
        if each.version.state == "candidate" and each.version.admitted
    ]
    if waiting:
        first = waiting[0]
        advice = f"Look at it with `rlar tools show {first.tool}`, then `rlar tools approve {first.tool}`."
        yield Sign("watch", f"{plural(len(waiting), 'version')} waiting for approval", advice, "tools")
    lately = [attempt for attempt in facts.in_vain if facts.at - attempt.at < timedelta(days=1)]
    if lately:
        advice = f"Last: {lately[0].kind} for {lately[0].family}: {lately[0].reason}"
        title = f"{plural(len(lately), 'attempt')} at a tool came to nothing in 24 hours"
        yield Sign("watch", title, advice, "acquisition")
