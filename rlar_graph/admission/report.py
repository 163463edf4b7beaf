"""The admission report: what a reward tool was measured by, with every figure, threshold and failing probe.

It is stored with every version, admitted or rejected, so that years later a score can be traced to its evidence.
Excerpts in it are bounded and printable: completions are hostile, and a report is read in terminals.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from rlar_graph.errors import InputError
from rlar_graph.probes import Expect, Probe
from rlar_graph.types import ToolKind

if TYPE_CHECKING:
    from pydantic import TypeAdapter

EXCERPT_CHARS = 160
FAILURES_KEPT = 10
ATTACKS_KEPT = 100


def excerpt(text: str, limit: int = EXCERPT_CHARS) -> str:
    """Return the beginning of a text in one printable line: what would move a cursor or hide is spelt out."""
    cut = text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)


def attacks_of(probes: Sequence[Probe]) -> dict[str, int]:
    """Return how many of the probes are hostile, by what they are about; the most frequent kinds."""
    kinds = Counter(excerpt(probe.why) for probe in probes if probe.expect == "hostile")
    return dict(kinds.most_common(ATTACKS_KEPT))


@dataclass(frozen=True, slots=True)
class Failure:
    """One probe that a tool did not judge as it must."""

    check: str
    """Name of the check."""
    expect: Expect
    """What the probe asks for."""
    why: str
    """What the probe is about."""
    said: str
    """What the tool said instead."""
    prompt: str
    """Excerpt of the prompt."""
    completion: str
    """Excerpt of the completion."""
    visible: bool
    """Whether the writer of the tool may see it."""

    @classmethod
    def of(cls, check: str, probe: Probe, said: str) -> Failure:
        """Return the failure of a probe at a check."""
        return cls(
            check=check,
            expect=probe.expect,
            why=excerpt(probe.why),
            said=excerpt(said),
            prompt=excerpt(probe.rollout.prompt),
            completion=excerpt(probe.completion),
            visible=probe.visible,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was asked of a tool, and what came of it."""

    name: str
    """What was asked."""
    passed: bool
    """Whether the tool met the threshold."""
    figure: float | None = None
    """What was measured, where it is a number."""
    threshold: float | None = None
    """What was required, where it is a number."""
    note: str = ""
    """The figure in words: counts, bounds, the error of a tool that broke."""
    failed: int = 0
    """How many probes failed."""
    failures: tuple[Failure, ...] = ()
    """Some of the failing probes, visible and deciding ones each bounded in number."""

    @classmethod
    def on_probes(
        cls, name: str, passed: bool, figure: float, threshold: float, note: str, failures: list[Failure]
    ) -> Check:
        """Return a check on probes, with as many of the failures as a report keeps."""
        visible = [failure for failure in failures if failure.visible][:FAILURES_KEPT]
        deciding = [failure for failure in failures if not failure.visible][:FAILURES_KEPT]
        return cls(name, passed, figure, threshold, note, len(failures), (*visible, *deciding))


@dataclass(frozen=True, slots=True)
class AdmissionReport:
    """What came of one run of the gate."""

    tool: str
    """Name of the tool."""
    kind: ToolKind
    """Verifier, reward model or judge."""
    content_hash: str
    """What of the tool was measured."""
    graded: bool
    """Whether it was measured by the order of its values instead of their side of 0.5."""
    probes: Mapping[str, int]
    """How many probes there were of each expectation."""
    probes_hash: str
    """SHA-256 of the probes, so that two reports can be known to rest on the same ones."""
    seconds: float
    """Wall-clock seconds the gate took."""
    checks: tuple[Check, ...]
    """Every check, in order; a tool that broke has only those that could still be made."""
    attacks: Mapping[str, int] = field(default_factory=dict)
    """How many hostile probes there were of each kind; reports of earlier releases do not say."""

    @property
    def admitted(self) -> bool:
        """Return whether every check passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def summary(self) -> str:
        """Return in one line what it was measured on, and what it failed at with figures."""
        counts = ", ".join(f"{count} {expect}" for expect, count in self.probes.items() if count)
        probes = f"{counts} probes" if counts else "no probes"
        if self.admitted:
            return f"passed {len(self.checks)} checks on {probes}"
        failed = [
            check.name
            + ("" if check.figure is None else f" {check.figure:.3g}")
            + ("" if check.threshold is None else f" (wanted {check.threshold:.3g})")
            for check in self.checks
            if not check.passed
        ]
        return f"failed {', '.join(failed) or 'every check'} on {probes}"

    def check(self, name: str) -> Check | None:
        """Return a check by name, or None where it was not made."""
        return next((check for check in self.checks if check.name == name), None)

    def visible_failures(self) -> tuple[Failure, ...]:
        """Return the failures that the writer of the tool may see; never one of a deciding probe."""
        return tuple(failure for check in self.checks for failure in check.failures if failure.visible)

    def to_json(self) -> str:
        """Return the report as JSON text, ASCII only."""
        return json.dumps({"admitted": self.admitted, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> AdmissionReport:
        """Return the report of a JSON text.

        Raises:
            InputError: It is not an admission report.
        """
        from pydantic import ValidationError

        try:
            return _reader().validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"is not an admission report: {error.errors()[0]['msg']}", field="report"
            ) from error

    def render(self) -> str:
        """Return the report for people, deciding probes included: do not show it to the tool's writer."""
        counts = ", ".join(f"{count} {expect}" for expect, count in self.probes.items())
        outcome = "ADMITTED" if self.admitted else "REJECTED"
        lines = [f"{self.tool} ({self.kind}) {outcome}: {counts} probes, {self.seconds:.2f} s"]
        for check in self.checks:
            lines += _rendered(check)
        return "\n".join(lines)


@cache
def _reader() -> TypeAdapter[AdmissionReport]:
    """Return what reads a report; making it costs more than reading one."""
    from pydantic import TypeAdapter

    return TypeAdapter(AdmissionReport)


def _rendered(check: Check) -> list[str]:
    """Return one check in lines."""
    figure = "" if check.figure is None else f" {check.figure:.3g}"
    wanted = "" if check.threshold is None else f" (wanted {check.threshold:.3g})"
    note = f": {check.note}" if check.note else ""
    lines = [f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}{figure}{wanted}{note}"]
    for failure in check.failures:
        why = f" ({failure.why})" if failure.why else ""
        lines.append(f'          {failure.expect}{why}: said {failure.said} to "{failure.completion}"')
    if check.failed > len(check.failures):
        lines.append(f"          and {check.failed - len(check.failures)} more")
    return lines


def report_id(text: str) -> str:
    """Return the name by which people find a report again: the beginning of the SHA-256 of what its JSON text says."""
    said = AdmissionReport.from_json(text).to_json()  # a whole number may be written 1 or 1.0
    return hashlib.sha256(said.encode()).hexdigest()[:12]
