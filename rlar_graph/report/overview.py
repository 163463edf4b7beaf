"""The first screen: is the reward healthy? Six figures, and the signs behind the answer."""

from __future__ import annotations

from collections.abc import Sequence

from rlar_graph.report.charts import spark
from rlar_graph.report.curve import Curve, Curves
from rlar_graph.report.facts import Facts
from rlar_graph.report.health import Level, Sign, signs
from rlar_graph.report.markup import Child, Markup, coded, join, tag, text
from rlar_graph.report.words import ago, figure, moment, place, plural, share, short

ANSWERS: dict[Level, str] = {
    "good": "The reward looks healthy",
    "watch": "The reward works, and something is worth a look",
    "act": "The reward needs you",
}
MARKS: dict[Level, str] = {"good": "OK", "watch": "Look", "act": "Act"}
SIGNS = 8
TITLE_CHARS, ADVICE_CHARS = 140, 420


def overview(facts: Facts) -> Markup:
    """Return the first screen."""
    found = signs(facts)
    level = found[0].level
    answer = "Nothing has been scored yet" if not facts.completions and level != "act" else ANSWERS[level]
    more = f"and {len(found) - SIGNS} more" if len(found) > SIGNS else None
    return tag(
        "section",
        tag("h2", answer, id="overview-title"),
        tag("ul", [_sign(sign) for sign in found[:SIGNS]], class_="signs"),
        tag("p", more, class_="note") if more else None,
        tag("div", _tiles(facts), class_="tiles"),
        class_=f"overview {level}",
        id="overview",
        aria_labelledby="overview-title",
    )


def _sign(sign: Sign) -> Markup:
    return tag(
        "li",
        tag("span", MARKS[sign.level], class_=f"mark {sign.level}"),
        tag(
            "span",
            tag("a", text(sign.title, TITLE_CHARS, counted=False), href=f"#{sign.link}"),
            tag("span", coded(sign.advice, ADVICE_CHARS), class_="advice"),
        ),
    )


def _tiles(facts: Facts) -> list[Markup]:
    return [
        _abstained(facts),
        _reward(facts.curves),
        _tools(facts),
        _alarms(facts),
        _cost(facts),
        _scored(facts),
    ]


def _tile(label: str, value: Child, note: Child, link: str, drawing: Markup | None = None) -> Markup:
    return tag(
        "a",
        tag("span", label, class_="label"),
        tag("span", value, class_="value"),
        drawing,
        tag("span", note, class_="note"),
        href=f"#{link}",
        class_="tile",
    )


def _abstained(facts: Facts) -> Markup:
    outcomes = facts.outcomes
    if not facts.has_rewards:
        return _tile("Abstained", "–", "this registry is too old to say", "abstentions")
    if not outcomes.completions:
        return _tile("Abstained", "–", "nothing was scored", "abstentions")
    by_slot: dict[str, list[int]] = {}
    for row in outcomes.by_slot:
        counts = by_slot.setdefault(row.slot, [0, 0])
        counts[0] += row.completions
        counts[1] += row.completions if row.reason else 0
    shares = [missing / whole for whole, missing in by_slot.values()]
    note = f"{share(outcomes.unserved, outcomes.completions)} because no tool serves the prompt"
    value = share(outcomes.abstained, outcomes.completions)
    return _tile("Abstained", value, note, "abstentions", spark(shares, "missing-line"))


def _reward(curves: Curves | None) -> Markup:
    ends = curves.all_tools.ends if curves else None
    if curves is None or ends is None:
        return _tile("Mean reward", "–", "nothing was given a value", "rewards")
    note = f"over the last tenth; {figure(ends[0])} over the first"
    return _tile("Mean reward", figure(ends[1]), note, "rewards", spark(_values(curves.all_tools)))


def _values(curve: Curve) -> Sequence[float | None]:
    return [None if point is None else point.mean for point in curve.points]


def _tools(facts: Facts) -> Markup:
    counts = {state: facts.count(state) for state in ("active", "quarantined", "candidate", "rejected")}
    others = [f"{count} {state}" for state, count in counts.items() if count and state != "active"]
    note = ", ".join(others) or "none quarantined or rejected"
    return _tile("Tools in service", f"{counts['active']:,}", note, "tools")


def _alarms(facts: Facts) -> Markup:
    standing = sum(alarm.standing for alarm in facts.alarms)
    settled = len(facts.alarms) - standing
    note = f"standing; {settled} settled" if settled else "standing"
    return _tile("Drift alarms", f"{standing:,}", note, "drift")


def _cost(facts: Facts) -> Markup:
    spent = facts.spend or facts.attempts
    money, calls = sum(row.money for row in spent), sum(row.calls for row in spent)
    tokens = sum(row.prompt_tokens + row.completion_tokens for row in facts.spend) or sum(
        row.tokens for row in facts.attempts
    )
    if not calls:
        return _tile("Language model", "0 tokens", "no language model was asked", "cost")
    if money:
        note = f"{short(tokens)} tokens, {plural(calls, 'call')}"
        return _tile("Language model cost", f"{money:,.2f}", note, "cost")
    return _tile(
        "Language model", f"{short(tokens)} tokens", f"{plural(calls, 'call')}; no price is set", "cost"
    )


def _scored(facts: Facts) -> Markup:
    curves = facts.curves
    if curves is None:
        return _tile("Completions", short(facts.completions), "scored since the registry was made", "tools")
    last = place(curves.last, curves.axis)
    return _tile("Completions", short(facts.completions), f"scored; the last at {last}", "rewards")


def heading(facts: Facts) -> Markup:
    """Return the heading of the page: which registry, when, and since when."""
    if facts.since is None:
        period = "everything it keeps"
    else:
        back = ago(facts.since, facts.at)
        period = f"since {moment(facts.since)} UTC ({back}; tools' counters and cost by whole days)"
    return tag(
        "header",
        tag("h1", "Reward report"),
        tag(
            "p",
            join("Registry ", tag("code", facts.where), f", {period}; read at {moment(facts.at)} UTC "),
            f"by rlar-graph {facts.library}.",
        ),
    )
