"""Hostile probes: which attacks were tried on which versions at the gate, and which got through."""

from __future__ import annotations

from rlar_graph.admission.report import AdmissionReport, Check
from rlar_graph.report.charts import meter
from rlar_graph.report.facts import Facts
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.section import section
from rlar_graph.report.tables import Cell, head, number, table, wide

KINDS = 60


def attacks(facts: Facts) -> Markup:
    """Return the section of hostile probes: which attacks were tried on whom, and which got through."""
    serving: dict[str, list[int]] = {}
    others: dict[str, list[int]] = {}
    accepted_by: dict[str, set[str]] = {}
    silent = 0
    for tool in facts.tools:
        for each in tool.versions:
            if each.report is None:
                continue
            silent += each.report.probes.get("hostile", 0) - sum(each.report.attacks.values())
            sums = serving if each.version.state == "active" else others
            for kind, (run, accepted) in tried(each.report).items():
                counts = sums.setdefault(kind, [0, 0])
                counts[0] += run
                counts[1] += accepted
                if accepted:
                    accepted_by.setdefault(kind, set()).add(f"{tool.tool.name} v{each.version.number}")
    kinds = sorted(
        {*serving, *others}, key=lambda kind: (-serving.get(kind, [0, 0])[1], -_sum(kind, serving, others))
    )
    if not kinds:
        return section("attacks", "Hostile probes", tag("p", "None has been run here."))
    lead = (
        "Completions made to be accepted without being right, put to every version at the gate. "
        f"Versions in service accepted {_total(serving)}, all others {_total(others)}."
    )
    rows = [
        _attack(kind, serving.get(kind, [0, 0]), others.get(kind, [0, 0]), sorted(accepted_by.get(kind, ())))
        for kind in kinds
    ]
    headings = (
        "attack",
        "run on tools in service",
        "accepted",
        "run on other versions",
        "accepted",
        "accepted by",
    )
    note = f"{silent:,} more were run whose kind the report does not say." if silent > 0 else None
    return section(
        "attacks",
        "Hostile probes",
        tag("p", lead),
        table("Hostile probes by kind of attack", headings, rows, most=KINDS),
        tag("p", note, class_="note") if note else None,
    )


def _total(sums: dict[str, list[int]]) -> str:
    return f"{sum(accepted for _, accepted in sums.values()):,} of {sum(run for run, _ in sums.values()):,}"


def _sum(kind: str, *sums: dict[str, list[int]]) -> int:
    return sum(each.get(kind, [0, 0])[0] for each in sums)


def _attack(kind: str, serving: list[int], others: list[int], names: list[str]) -> list[Cell]:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [
        head(kind or "not named"),
        number(f"{serving[0]:,}", serving[0]),
        number(join(f"{serving[1]:,}", meter(serving[1], serving[0], "bad")), serving[1]),
        number(f"{others[0]:,}", others[0]),
        number(join(f"{others[1]:,}", meter(others[1], others[0], "bad")), others[1]),
        wide(shown or "–"),
    ]


def tried(report: AdmissionReport) -> dict[str, tuple[int, int]]:
    """Return how many hostile probes of each kind were run, and how many of the reported ones were accepted."""
    check = hostile_check(report)
    accepted: dict[str, int] = {}
    for failure in check.failures if check else ():
        accepted[failure.why] = accepted.get(failure.why, 0) + 1
    kinds = {**dict.fromkeys(accepted, 0), **report.attacks}
    return {kind: (max(run, accepted.get(kind, 0)), accepted.get(kind, 0)) for kind, run in kinds.items()}


def hostile_check(report: AdmissionReport | None) -> Check | None:
    """Return the check that counted accepted hostile probes, as verifiers and judges or as reward models have it."""
    return (report.check("hostile accepted") or report.check("hostile above good")) if report else None
