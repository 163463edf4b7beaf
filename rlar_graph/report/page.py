"""The page: one HTML document that asks for nothing, runs one script of ours, and is whole without it.

The policy in its head is the second wall behind the escaping: only the style sheet and the script that have these
hashes count, and no address of any kind is loaded, whatever a completion might have smuggled in.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from rlar_graph.report import tools, traffic, workshop
from rlar_graph.report.attacks import attacks
from rlar_graph.report.facts import Facts
from rlar_graph.report.markup import Markup, join, tag
from rlar_graph.report.overview import heading, overview

CONTENTS = (
    ("overview", "Overview"),
    ("rewards", "Rewards"),
    ("abstentions", "Abstentions"),
    ("tools", "Tools"),
    ("attacks", "Hostile probes"),
    ("acquisition", "Acquisition"),
    ("cost", "Cost"),
    ("drift", "Drift"),
    ("decisions", "Decisions"),
    ("history", "History"),
)


def render(facts: Facts) -> str:
    """Return the page of a registry's facts."""
    style, script = _asset("style.css"), _asset("sort.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # First of all that can load or run anything: a policy holds for what comes after it.
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"Reward report, {facts.at:%Y-%m-%d %H:%M} UTC"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("a", "To the figures", href="#overview", class_="skip"),
        heading(facts),
        _contents(),
        tag("main", _sections(facts)),
        _footer(),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(facts: Facts) -> list[Markup]:
    return [
        overview(facts),
        traffic.rewards(facts),
        traffic.abstentions(facts),
        tools.tools(facts),
        attacks(facts),
        workshop.acquisition(facts),
        workshop.cost(facts),
        workshop.drift(facts),
        traffic.decisions(facts),
        workshop.history(facts),
    ]


def _contents() -> Markup:
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, title in CONTENTS]
    return tag("nav", tag("ul", links), aria_label="Sections")


def _footer() -> Markup:
    return tag(
        "footer",
        tag(
            "p",
            join(
                "Written by ",
                tag("code", "rlar report"),
                "; it shows the registry as it was then. What each part means: docs/report.md of rlar-graph.",
            ),
        ),
    )


@cache
def _asset(name: str) -> str:
    """Return the style sheet or the script."""
    return (resources.files("rlar_graph.report") / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """Return the hash of an inline style sheet or script, as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
