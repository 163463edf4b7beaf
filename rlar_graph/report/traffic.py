"""What passed through the tools: rewards over steps, abstentions over time and by reason, sampled decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from rlar_graph.registry.summary_records import OutcomeSum, Sampled
from rlar_graph.report.charts import legend, meter, stacked_chart
from rlar_graph.report.curve import Axis, Curve, Curves
from rlar_graph.report.facts import Facts
from rlar_graph.report.markup import Markup, join, named, tag, text
from rlar_graph.report.reward_chart import reward_chart
from rlar_graph.report.section import figures, section
from rlar_graph.report.tables import Cell, head, number, table, wide
from rlar_graph.report.words import figure, moment, place, plural, share

CURVES = 12
"""Tools that are drawn; the others are in the table of tools."""
REASONS_LISTED = 40
NAME_CHARS = 100
REASONS = 5
"""Kinds of abstention with a colour of their own."""
SLOTS = 72
SHORT = 3
"""Points that make no curve."""
TOOLS_WITH_DECISIONS = 30
EXCERPT_CHARS = 320
DECISIONS, SAME_PROMPT = 4, 2
"""Decisions that are shown of one tool, and of one prompt among them."""


def rewards(facts: Facts) -> Markup:
    """Return the section of rewards over steps or time."""
    curves = facts.curves
    if curves is None:
        why = (
            "Nothing was scored in this time."
            if facts.has_rewards
            else f"This registry has schema version {facts.schema}, which does not keep rewards over time. It will "
            "once a run with this version of rlar-graph has opened it."
        )
        return section("rewards", "Rewards", tag("p", why))
    axis = "the trainer's steps" if curves.axis == "step" else "time (UTC)"
    lead = (
        f"Mean value over {axis}. The mean itself lies within the inner band (two standard errors), most values within "
        "the outer one (one standard deviation). The bars below say how many completions a point rests on; the red "
        "part abstained. A dashed line is a new version of the tool."
    )
    shown = curves.by_tool[:CURVES]
    left_out = len(curves.by_tool) - len(shown)
    return section(
        "rewards",
        "Rewards",
        tag("p", lead),
        tag("p", _unstepped(facts, curves), class_="note"),
        _figure(curves.all_tools, curves, "h3", wide=True) if len(shown) > 1 else None,
        tag("div", [_figure(curve, curves, "h3", wide=len(shown) == 1) for curve in shown], class_="grid"),
        tag("p", f"and {left_out:,} more tools, in the table of tools", class_="note")
        if left_out > 0
        else None,
    )


def _unstepped(facts: Facts, curves: Curves) -> str:
    """Say what the curves do not hold."""
    if curves.axis == "time":
        return "No trainer named its step here (TRL and ms-swift do), so the points are in order of time."
    outside = facts.outcomes.completions - facts.outcomes.unserved - curves.all_tools.completions
    if outside <= 0:
        return "Every completion was scored within a trainer's step."
    return f"{plural(outside, 'completion')} scored outside a trainer's step are not drawn."


def _figure(curve: Curve, curves: Curves, level: str, *, wide: bool) -> Markup:
    name = curve.tool or "All tools together"
    ends = curve.ends
    trend = f"{figure(ends[0])} → {figure(ends[1])}" if ends else "no value"
    missing = sum(point.abstentions for point in curve.points if point is not None)
    note = f"{trend} · {plural(curve.completions, 'completion')}"
    note += f" · {share(missing, curve.completions)} abstained" if missing else ""
    return tag(
        "figure",
        tag("figcaption", tag(level, named(name, NAME_CHARS)), tag("span", note, class_="note")),
        reward_chart(curve, curves, wide=wide),
        figures(_curve_table(curve, curves.axis)),
        class_="wide" if wide else None,
    )


def _curve_table(curve: Curve, axis: Axis) -> Markup:
    rows = [
        [
            head(place(point.place, axis)),
            number(figure(point.mean)),
            number(figure(point.spread)),
            number(f"{point.completions:,}"),
            number(f"{point.abstentions:,}"),
            number(f"v{point.version}"),
        ]
        for point in curve.points
        if point is not None
    ]
    headings = ["from", "mean", "spread", "completions", "abstained", "version"]
    if curve.tool is None:
        rows, headings = [row[:-1] for row in rows], headings[:-1]
    return table(f"Reward of {curve.tool or 'all tools together'}", headings, rows, sortable=False)


def abstentions(facts: Facts) -> Markup:
    """Return the section of abstentions."""
    outcomes = facts.outcomes
    lead = "An abstention is no zero: the completion has no value, and the trainer leaves it out."
    if not facts.has_rewards or not outcomes.completions:
        return section("abstentions", "Abstentions", tag("p", f"{lead} None is known of here."))
    if not outcomes.abstained:
        said = f"{lead} None of {outcomes.completions:,} completions abstained."
        return section("abstentions", "Abstentions", tag("p", said))
    counted = f"{outcomes.abstained:,} of {outcomes.completions:,} completions have none."
    return section(
        "abstentions",
        "Abstentions",
        tag("p", f"{lead} {counted}"),
        _over_time(facts),
        _by_reason(facts),
        tag("div", _by("signature", outcomes.by_tool), _by("tool", outcomes.by_tool), class_="pair"),
    )


def _over_time(facts: Facts) -> Markup:
    """Return the chart of the share of each reason over time."""
    named = [reason for reason, _ in facts.outcomes.reasons().most_common(REASONS)]
    totals: Counter[str] = Counter()
    parts: Counter[tuple[str, str]] = Counter()
    slots = _joined(sorted({row.slot for row in facts.outcomes.by_slot}))
    for row in facts.outcomes.by_slot:
        slot = slots[row.slot]
        totals[slot] += row.completions
        if row.reason:
            parts[slot, row.reason if row.reason in named else ""] += row.completions
    has_rest = any(not reason for _, reason in parts)
    reasons = [*named, ""] if has_rest else named
    names = [(reason or "all other reasons")[:120] for reason in reasons]
    places = sorted(totals)
    stacks = [[parts[slot, reason] / totals[slot] for reason in reasons] for slot in places]
    if len(places) < SHORT:
        return tag("p", "Too short a time for a curve: outcomes are kept by ten minutes.", class_="note")
    shares = [sum(stack) for stack in stacks]
    top = max(range(len(places)), key=lambda index: shares[index])
    said = (
        f"Share of completions without a value: {share(shares[0], 1)} at {place(places[0], 'time')}, "
        f"{share(shares[-1], 1)} at {place(places[-1], 'time')}, "
        f"most {share(shares[top], 1)} at {place(places[top], 'time')}."
    )
    rows = [
        [head(place(slot, "time")), number(f"{totals[slot]:,}"), *(number(share(part, 1)) for part in stack)]
        for slot, stack in zip(places, stacks, strict=True)
    ]
    headings = ["from", "completions", *(str(reason or "all other reasons")[:60] for reason in reasons)]
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Share of completions without a value, over time (UTC)")),
        stacked_chart("Abstentions over time", said, places, stacks, names),
        legend(names),
        figures(table("Abstentions over time", headings, rows, sortable=False)),
        class_="wide",
    )


def _joined(slots: list[str]) -> dict[str, str]:
    """Return for each slot the slot it is drawn with, so that there are few enough."""
    width = -(-len(slots) // SLOTS)
    return {slot: slots[index - index % width] for index, slot in enumerate(slots)}


def _by_reason(facts: Facts) -> Markup:
    rows = []
    outcomes = facts.outcomes
    signatures: dict[str, set[str]] = {}
    tools: dict[str, set[str]] = {}
    for row in outcomes.by_tool:
        if row.reason:
            signatures.setdefault(row.reason, set()).add(row.signature)
            tools.setdefault(row.reason, set()).add(row.tool or "no tool")
    reasons, abstained = outcomes.reasons(), outcomes.abstained
    for reason, count in reasons.most_common(REASONS_LISTED):
        rows.append(
            [
                wide(reason),
                number(f"{count:,}", count),
                number(share(count, abstained), count),
                wide(_names(tools[reason])),
                wide(named(_names(signatures[reason]), 400)),
            ]
        )
    headings = ("reason", "completions", "of all abstentions", "tools", "signatures")
    caption = "Why completions have no value (# stands for a number)"
    return table(caption, headings, rows, total=len(reasons))


def _names(found: Iterable[str]) -> str:
    names = sorted(found)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _by(column: str, rows: Iterable[OutcomeSum]) -> Markup:
    """Return the table of abstentions by signature or by tool."""
    name_of: Callable[[OutcomeSum], str] = (
        (lambda row: row.signature) if column == "signature" else (lambda row: row.tool or "no tool")
    )
    totals: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for row in rows:
        totals[name_of(row)] += row.completions
        if row.reason:
            missing[name_of(row)] += row.completions
    names = sorted(totals, key=lambda name: (-missing[name], -totals[name], name))
    cells = [
        [
            head(name),
            number(f"{totals[name]:,}", totals[name]),
            number(f"{missing[name]:,}", missing[name]),
            Cell(
                join(share(missing[name], totals[name]), meter(missing[name], totals[name], "missing")),
                missing[name] / totals[name],
                "number",
            ),
        ]
        for name in names
    ]
    return table(f"Abstentions by {column}", (column, "completions", "abstained", "share"), cells, most=40)


def decisions(facts: Facts) -> Markup:
    """Return the section of sampled decisions."""
    by_tool: dict[str, list[Sampled]] = {}
    for each in facts.decisions:
        by_tool.setdefault(each.decision.tool or "no tool", []).append(each)
    if not by_tool:
        said = (
            "No decision was sampled. A share of the prompts, chosen by hash, is kept: setting decision_sample, "
            "by default 1 in 100."
        )
        return section("decisions", "Sampled decisions", tag("p", said))
    lead = "The latest kept verdicts of each tool. Completions are cut, and what does not print is spelt out."
    names = list(by_tool)[:TOOLS_WITH_DECISIONS]
    more = len(by_tool) - len(names)
    return section(
        "decisions",
        "Sampled decisions",
        tag("p", lead),
        [_decided(name, by_tool[name], is_open=place < 3) for place, name in enumerate(names)],
        tag("p", f"and {more:,} more tools", class_="note") if more > 0 else None,
    )


def _varied(sampled: list[Sampled]) -> list[Sampled]:
    """Return a few of the decisions, of different prompts and with different values where there are such."""
    chosen: dict[tuple[str, float | None], Sampled] = {}
    for each in sampled:
        chosen.setdefault((each.decision.prompt_hash, each.decision.value), each)
    seen: Counter[str] = Counter()
    found = []
    for each in chosen.values():
        seen[each.decision.prompt_hash] += 1
        if seen[each.decision.prompt_hash] <= SAME_PROMPT:
            found.append(each)
    return found[:DECISIONS]


def _decided(name: str, sampled: list[Sampled], *, is_open: bool) -> Markup:
    rows = [
        [
            number(figure(each.decision.value, 2), each.decision.value),
            wide(
                join(
                    tag(
                        "span", text(each.decision.excerpt, EXCERPT_CHARS, counted=False), class_="completion"
                    ),
                    tag("span", each.decision.abstained, class_="why") if each.decision.abstained else None,
                )
            ),
            wide(
                join(named(each.decision.signature), tag("span", each.decision.family or "", class_="note"))
            ),
            Cell(f"v{each.decision.version}" if each.decision.version else "–"),
            Cell(moment(each.at), kind="tight"),
        ]
        for each in _varied(sampled)
    ]
    headings = ("value", "completion", "signature and family", "version", "at (UTC)")
    return tag(
        "details",
        tag("summary", tag("h3", named(name, NAME_CHARS))),
        table(f"Decisions of {name}", headings, rows, sortable=False),
        open=is_open,
    )
