"""How tools came to be: attempts and what they cost, drift and audits, and the history of changes."""

from __future__ import annotations

from collections.abc import Sequence

from rlar_graph.audit_gap import BASELINE_AUDITS, standard_error
from rlar_graph.registry.records import Event
from rlar_graph.registry.workshop_records import Audit
from rlar_graph.registry.workshop_summary import DailySpend
from rlar_graph.report.charts import gap_chart, meter
from rlar_graph.report.facts import Facts
from rlar_graph.report.markup import Markup, join, named, tag, text
from rlar_graph.report.section import figures, section
from rlar_graph.report.tables import Cell, head, number, table, wide
from rlar_graph.report.words import lasting, moment, plural

AUDITED = 12
"""Versions whose audits are drawn."""
POINTS = 40


def acquisition(facts: Facts) -> Markup:
    """Return the section of attempts at getting tools."""
    if not facts.attempts:
        said = "No tool was sought. With a language model set, tools are sought for prompts that none serves."
        return section("acquisition", "Acquisition", tag("p", said))
    headings = ("kind", "outcome", "attempts", "calls", "tokens", "money", "time")
    rows = [
        [
            head(row.kind.replace("_", " ")),
            Cell(tag("span", row.outcome, class_="yes" if row.outcome == "admitted" else "no")),
            number(f"{row.attempts:,}", row.attempts),
            number(f"{row.calls:,}", row.calls),
            number(f"{row.tokens:,}", row.tokens),
            number(f"{row.money:,.2f}", row.money),
            number(lasting(row.seconds), row.seconds),
        ]
        for row in facts.attempts
    ]
    sought = f"Being sought now: {', '.join(facts.sought[:10])}." if facts.sought else None
    return section(
        "acquisition",
        "Acquisition",
        tag("p", sought) if sought else None,
        table("Attempts at a tool, and what they cost", headings, rows),
        _in_vain(facts),
    )


def _in_vain(facts: Facts) -> Markup:
    """Return the attempts that came to nothing."""
    if not facts.in_vain:
        return tag("p", "Every attempt came to a tool.")
    total = sum(row.attempts for row in facts.attempts if row.outcome != "admitted")
    rows = [
        [
            Cell(moment(attempt.at), kind="tight"),
            head(attempt.family),
            Cell(attempt.kind.replace("_", " ")),
            Cell(attempt.outcome),
            wide(text(attempt.reason, 400)),
            number(f"{attempt.calls:,}", attempt.calls),
            number(lasting(attempt.seconds), attempt.seconds),
        ]
        for attempt in facts.in_vain
    ]
    headings = ("at (UTC)", "family", "kind", "outcome", "why", "calls", "time")
    more = total - len(rows)
    return join(
        tag("h3", "Attempts that came to nothing"),
        table("Attempts that came to nothing, newest first", headings, rows),
        tag("p", f"and {more:,} more", class_="note") if more > 0 else None,
    )


def cost(facts: Facts) -> Markup:
    """Return the section of what language models cost."""
    lead = "What was asked of language models, by role; written when a run ends. Money is in the unit of your prices."
    if not facts.spend:
        return section("cost", "Cost", tag("p", f"{lead} Nothing is written yet."))
    roles = _summed(facts.spend, "role")
    days = _summed(facts.spend, "day")
    return section(
        "cost",
        "Cost",
        tag("p", lead),
        tag(
            "div",
            _spent("role", roles),
            _spent("day", days) if len(days) > 1 else None,
            class_="pair" if len(days) > 1 else None,
        ),
    )


def _summed(rows: Sequence[DailySpend], column: str) -> dict[str, list[float]]:
    """Return calls, tokens sent, tokens received, seconds and money, by role or by day."""
    sums: dict[str, list[float]] = {}
    for row in rows:
        name = row.role if column == "role" else row.day
        amounts = (row.calls, row.prompt_tokens, row.completion_tokens, row.seconds, row.money)
        sums[name] = [mine + more for mine, more in zip(sums.get(name, [0.0] * 5), amounts, strict=True)]
    return sums


def _spent(column: str, sums: dict[str, list[float]]) -> Markup:
    whole = sum(sent + received for _, sent, received, _, _ in sums.values())
    rows = [
        [
            head(name),
            number(f"{calls:,.0f}", calls),
            number(join(f"{sent + received:,.0f}", meter(sent + received, whole)), sent + received),
            number(f"{sent:,.0f}", sent),
            number(f"{received:,.0f}", received),
            number(lasting(seconds), seconds),
            number(f"{money:,.2f}", money),
        ]
        for name, (calls, sent, received, seconds, money) in sums.items()
    ]
    headings = (column, "calls", "tokens", "sent", "received", "time", "money")
    return table(f"Language models by {column}", headings, rows, most=60)


def drift(facts: Facts) -> Markup:
    """Return the section of drift alarms and audits."""
    lead = (
        "Monitors watch each tool's own stream: abstentions, errors, rewards that never differ, time. An audit "
        "compares a tool's values with independent ones on the same completions."
    )
    drawn = list(facts.audits.items())[:AUDITED]
    more = len(facts.audits) - len(drawn)
    return section(
        "drift",
        "Drift and audits",
        tag("p", lead),
        _alarms(facts),
        tag("div", [_audited(*each) for each in drawn], class_="grid")
        if drawn
        else tag("p", "No audit has been told: see AgentReward.audit."),
        tag("p", f"and {more:,} more audited versions", class_="note") if more > 0 else None,
    )


def _alarms(facts: Facts) -> Markup:
    if not facts.alarms:
        return tag("p", "No monitor has raised an alarm.")
    rows = [
        [
            Cell(
                tag(
                    "span",
                    "stands" if alarm.standing else "settled",
                    class_="no" if alarm.standing else "yes",
                )
            ),
            head(f"{alarm.tool} v{alarm.version}"),
            Cell(alarm.monitor),
            wide(text(alarm.reason, 300)),
            Cell(alarm.action),
            Cell(moment(alarm.at), kind="tight"),
        ]
        for alarm in facts.alarms
    ]
    headings = ("", "version", "monitor", "what was found", "what follows", "at (UTC)")
    return table("Drift alarms", headings, rows)


def _audited(key: tuple[str, int], audits: list[Audit]) -> Markup:
    """Return the chart of one version's audits."""
    name = f"{key[0]} v{key[1]}"
    groups = _groups(audits)
    baseline = _baseline(audits)
    gaps = [_gap(group) for group in groups]
    pairs = _pairs(audits)
    said = (
        f"{plural(len(audits), 'audit')} of {pairs:,} completions; the tool was above its audit by {gaps[0][0]:+.3f} "
        f"at first and by {gaps[-1][0]:+.3f} at last; baseline {baseline:+.3f}."
    )
    rows = [
        [number(place), number(f"{_pairs(group):,}"), number(f"{mean:+.3f}"), number(f"{error:.3f}")]
        for place, (group, (mean, error)) in enumerate(zip(groups, gaps, strict=True), 1)
    ]
    shown = table(f"Audits of {name}", ("audit", "completions", "tool above audit", "standard error"), rows)
    return tag(
        "figure",
        tag("figcaption", tag("h3", named(f"Audits of {name}")), tag("span", said, class_="note")),
        gap_chart(name, said, gaps, baseline),
        figures(shown),
    )


def _groups(audits: list[Audit]) -> list[list[Audit]]:
    """Return neighbouring audits together, until there are few enough groups to draw."""
    width = -(-len(audits) // POINTS)
    return [audits[start : start + width] for start in range(0, len(audits), width)]


def _pairs(audits: list[Audit]) -> int:
    return sum(audit.pairs for audit in audits)


def _baseline(audits: list[Audit]) -> float:
    """Return the mean gap of the first audits, which later ones are compared with."""
    total = Audit()
    for audit in audits:
        total += audit
        if total.pairs >= BASELINE_AUDITS:
            break
    return total.gap / max(total.pairs, 1)


def _gap(audits: list[Audit]) -> tuple[float, float]:
    """Return the mean gap and its standard error."""
    return sum(audit.gap for audit in audits) / max(_pairs(audits), 1), standard_error(audits)


def history(facts: Facts) -> Markup:
    """Return the section of the latest changes of tools."""
    if not facts.events:
        return section("history", "History", tag("p", "No tool has changed in this time."))
    headings = ("at (UTC)", "tool", "what", "who", "why")
    rows = [_event(event) for event in facts.events]
    more = "Older changes: `rlar tools history`."
    return section(
        "history",
        "History",
        table("The latest changes of tools, newest first", headings, rows),
        tag("p", more, class_="note"),
    )


def _event(event: Event) -> list[Cell]:
    version = "" if event.version is None else f" v{event.version}"
    key = f" {event.key}" if event.key else ""
    return [
        Cell(moment(event.at), kind="tight"),
        head(f"{event.tool}{version}"),
        Cell(text(f"{event.action}{key}", 160)),
        Cell(event.who),
        wide(text(event.reason, 300)),
    ]
