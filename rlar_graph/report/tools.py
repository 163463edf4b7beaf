"""The reward tools: which score, what the gate measured of each version, who made it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from rlar_graph.admission.report import AdmissionReport, Check
from rlar_graph.registry.records import Event, Provenance
from rlar_graph.report.attacks import hostile_check
from rlar_graph.report.facts import Facts, ToolFacts, VersionFacts
from rlar_graph.report.markup import Child, Markup, join, named, tag, text
from rlar_graph.report.section import section
from rlar_graph.report.tables import Cell, head, number, table, wide
from rlar_graph.report.words import figure, lasting, moment, plural, share

ROWS = 200
DETAILED = 60
"""Tools whose versions are told one by one."""
VERSIONS = 4
FAILURES = 3
"""Failing probes shown of each check."""
ORDER = {"quarantined": 0, "candidate": 1, "active": 2, "rejected": 3, "retired": 4}


def tools(facts: Facts) -> Markup:
    """Return the section of tools."""
    if not facts.tools:
        said = "No tool yet. Built-in tools are proved and entered when the first prompt needs them."
        return section("tools", "Tools", tag("p", said))
    lead = (
        "Each tool by the version that scores, or by its newest. TPR and TNR are the shares of right and of wrong "
        "probes that it judged rightly at the gate; a graded tool has the order of its values instead. Hostile: how "
        "many of the hostile probes it accepted."
    )
    told = sorted(facts.tools, key=lambda tool: ORDER[tool.chief.version.state] > 1)[:DETAILED]
    more = len(facts.tools) - len(told)
    return section(
        "tools",
        "Tools",
        tag("p", lead),
        _all(facts.tools),
        tag("h3", "Versions and their evidence"),
        [_told(tool) for tool in told],
        tag("p", f"and {more:,} more: `rlar tools show NAME` tells them", class_="note")
        if more > 0
        else None,
    )


def _all(found: Sequence[ToolFacts]) -> Markup:
    headings = (
        "tool",
        "kind",
        "state",
        "author",
        "TPR",
        "TNR",
        "hostile",
        "completions",
        "abstained",
        "time each",
    )
    return table("Tools, most completions first", headings, [_row(tool) for tool in found], most=ROWS)


def _row(tool: ToolFacts) -> list[Cell]:
    chief = tool.chief
    used, report = chief.used, chief.report
    each = used.seconds / used.completions if used.completions else None
    return [
        head(tool.tool.name),
        Cell(tool.tool.kind.replace("_", " ")),
        Cell(join(state(chief.version.state), f" v{chief.version.number}"), chief.version.state),
        Cell(chief.version.provenance.author),
        _rate(report, "true positives"),
        _rate(report, "true negatives"),
        _hostile(report),
        number(f"{tool.completions:,}", tool.completions),
        number(
            share(used.abstentions, used.completions),
            used.abstentions / used.completions if used.completions else None,
        ),
        number("–" if each is None else lasting(each), each),
    ]


def state(name: str) -> Markup:
    """Return the state of a version, told apart by word and sign, not by colour alone."""
    return tag("span", name, class_=f"state {name}")


def _rate(report: AdmissionReport | None, name: str) -> Cell:
    """Return what the gate measured; a graded tool has the order of its values in place of both."""
    check = report.check(name) if report else None
    if check is None and report is not None and report.graded and name == "true positives":
        check = report.check("order") or report.check("pair accuracy")
        return number(
            "–" if check is None else f"{figure(check.figure, 2)} (order)", check.figure if check else None
        )
    return number("–" if check is None else figure(check.figure, 2), check.figure if check else None)


def _hostile(report: AdmissionReport | None) -> Cell:
    check = hostile_check(report)
    if report is None or check is None:
        return number("–")
    return number(f"{check.failed} of {report.probes.get('hostile', 0)}", check.failed)


def _told(tool: ToolFacts) -> Markup:
    """Return a tool with its versions, folded."""
    chief = tool.chief.version
    shown = tool.versions[:VERSIONS]
    more = len(tool.versions) - len(shown)
    serves = ", ".join(tool.tool.bindings[:6]) + (" …" if len(tool.tool.bindings) > 6 else "")
    return tag(
        "details",
        tag(
            "summary",
            tag("h4", named(tool.tool.name)),
            state(chief.state),
            tag("span", plural(len(tool.versions), "version"), class_="note"),
        ),
        tag("p", text(tool.chief.version.summary, 400)),
        tag("p", f"Serves {serves}." if serves else "Serves no prompts now.", class_="note"),
        [_version(facts) for facts in shown],
        tag("p", f"and {plural(more, 'earlier version')}", class_="note") if more > 0 else None,
        class_="card",
    )


def _version(facts: VersionFacts) -> Markup:
    version, report = facts.version, facts.report
    rows: list[tuple[str, Child]] = [
        ("made", f"{moment(version.created_at)} UTC by {_author(version.provenance)}"),
        ("content", tag("code", version.content_hash[:16])),
        *_provenance(version.provenance),
        ("last change", _change(facts.change)),
        ("scored", _used(facts)),
    ]
    listed = [join(tag("dt", name), tag("dd", value)) for name, value in rows]
    return tag(
        "div",
        tag("h5", f"Version {version.number} ", state(version.state)),
        tag("dl", listed),
        _evidence(report)
        if report
        else tag("p", "It has no admission report that can be read.", class_="note"),
        class_="version",
    )


def _author(provenance: Provenance) -> str:
    names = {
        "builtin": "the library",
        "agent": "a language model",
        "user": "a person",
        "hub": "its authors on the Hub",
    }
    return names[provenance.author]


def _provenance(provenance: Provenance) -> list[tuple[str, Child]]:
    """Return what is known of where a version comes from."""
    known = {
        "model": provenance.model,
        "revision": provenance.revision,
        "prompt hash": provenance.prompt_hash,
        "licence": provenance.licence,
        "note": provenance.note,
    }
    return [(name, text(value, 200)) for name, value in known.items() if value]


def _change(event: Event | None) -> Child:
    if event is None:
        return "none"
    reason = f": {event.reason}" if event.reason else ""
    return text(f"{event.action} {moment(event.at)} UTC by {event.who}{reason}", 500)


def _used(facts: VersionFacts) -> str:
    used = facts.used
    if not used.completions:
        return "nothing"
    broke = f", broke {used.errors:,} times" if used.errors else ""
    return (
        f"{used.completions:,} completions in {plural(used.batches, 'batch', 'batches')}, "
        f"{share(used.abstentions, used.completions)} abstained{broke}, "
        f"{lasting(used.seconds / used.completions)} each"
    )


def _evidence(report: AdmissionReport) -> Markup:
    """Return what the gate asked and found."""
    counts = ", ".join(f"{count} {expect}" for expect, count in report.probes.items() if count) or "no"
    outcome = "admitted" if report.admitted else "rejected"
    lead = f"The gate {outcome} it on {counts} probes in {lasting(report.seconds)}."
    rows = [
        [
            Cell(tag("span", "passed" if check.passed else "failed", class_="yes" if check.passed else "no")),
            head(check.name),
            number("–" if check.figure is None else f"{check.figure:.3g}", check.figure),
            number("–" if check.threshold is None else f"{check.threshold:.3g}", check.threshold),
            wide(text(check.note, 240)),
        ]
        for check in report.checks[:30]
    ]
    failing = [check for check in report.checks if check.failures]
    return join(
        tag("p", lead),
        table("Checks of the gate", ("", "check", "measured", "wanted", "note"), rows, sortable=False),
        [_failing(check) for check in failing[:6]],
    )


def _failing(check: Check) -> Markup:
    """Return some of the probes that a check failed on."""
    items = [
        tag(
            "li",
            f"{failure.expect}{f' ({failure.why})' if failure.why else ''}: said {failure.said} to ",
            tag("span", text(failure.completion, 200) or "nothing", class_="completion"),
        )
        for failure in check.failures[:FAILURES]
    ]
    more = check.failed - len(items)
    shown = tag("p", f"and {more:,} more", class_="note") if more > 0 else None
    return join(tag("p", f"Failed at {check.name}:"), tag("ul", items), shown)
