"""Acquisition for real: a language model writes verifiers for families that no built-in covers, and the gate decides.

Each family's probes are labelled by its own scorer and handed over as a user would hand over a probes file. What is
admitted is then measured on fresh labelled completions that no part of the loop has seen: not one admitted tool may be
below 0.9 on either rate. What is rejected is measured as well, to see whether the gate was right.

    python benchmarks/acquire.py --scripted                      # right and wrong verifiers, without a model
    RLAR_LLM_BASE_URL=http://127.0.0.1:18080/v1 RLAR_LLM_MODEL=coder-1.5b python benchmarks/acquire.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from families import FAMILIES, family, labelled
from scripted_replies import RIGHT, WRONG

from rlar_graph.candidates import Candidate, judged, tool_name
from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.probes import Probe, hostile_set, split
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.proving import Proof, prove
from rlar_graph.registry import open_registry
from rlar_graph.registry.records import Provenance
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import TRIAL_LIMITS, GeneratedVerifier
from rlar_graph.routing.router import route
from rlar_graph.sandbox import Sandbox, open_sandbox
from rlar_graph.settings import Settings
from rlar_graph.testing import ChatRequest, scripted_model
from rlar_graph.writing import Assignment, Plan, repair, write

PROBE_SEED, FRESH_SEED = 1, 2


@dataclass
class Row:
    """What came of one family."""

    family: str
    """Its name."""
    outcome: str
    """``admitted``, ``rejected`` by the gate, or ``refused`` before it."""
    reason: str
    """Why, in a few words."""
    rounds: int
    """Drafts that went to the gate."""
    tpr: float | None
    """Share of fresh good completions that the last draft accepts."""
    tnr: float | None
    """Share of fresh bad completions that it does not accept."""
    fresh: int
    """Fresh completions it was measured on."""
    calls: int
    """Requests to the model."""
    tokens: int
    """Tokens both ways."""
    seconds: float
    """Wall-clock seconds of the acquisition."""
    second_pass_calls: int
    """Requests to the model when the fresh completions were scored by the registered tool."""
    source: str
    """The last draft."""

    @property
    def sound(self) -> bool:
        """Return whether the tool keeps the bar on fresh completions."""
        return min(self.tpr or 0.0, self.tnr or 0.0) >= 0.9


@dataclass(frozen=True)
class Bench:
    """What every family's run shares."""

    llm: LanguageModel
    """Who writes."""
    sandbox: Sandbox
    """Where it runs."""
    registry: Registry
    """Where it is kept."""
    options: argparse.Namespace
    """How much of everything."""


def user_probes(name: str, each: int) -> list[Probe]:
    """Return a family's probes as a user's file would give them, and the hostile set; a few of it visible."""
    given = split(labelled(family(name), PROBE_SEED, each))
    good = next(probe for probe in given if probe.expect == "good" and not probe.visible)
    hostile = hostile_set(good.rollout.prompt, good_completion=good.completion)
    return [*given, *hostile]


def acquire(name: str, bench: Bench) -> Row:
    """Have a verifier written, proved and registered, in the order in which the graph's nodes do it."""
    started, before = time.perf_counter(), bench.llm.ledger.total()
    probes = user_probes(name, bench.options.each)
    visible = tuple(probe for probe in probes if probe.visible)
    assignment = Assignment(tuple(probe.rollout for probe in visible[:8]), visible)
    found: Candidate | LLMError = LLMError("nothing was asked")
    proof, attempt = None, 0
    for attempt in range(1, bench.options.rounds + 1):
        found = _written(bench, assignment, found, proof, attempt)
        if isinstance(found, LLMError):
            break
        last = attempt == bench.options.rounds
        proof = _proved(name, found.source, probes, bench, last)
        if proof.decided:
            break
    seconds, used = time.perf_counter() - started, bench.llm.ledger.total()
    row = Row(
        name, *_outcome(found, proof), attempt, None, None, 0, used.calls - before.calls,
        used.tokens - before.tokens, round(seconds, 1), 0, "",
    )  # fmt: skip
    if isinstance(found, Candidate):
        row.source = found.source
        _measure(row, found.source, proof, bench)
    return row


def _written(
    bench: Bench, assignment: Assignment, before: Candidate | LLMError, proof: Proof | None, attempt: int
) -> Candidate | LLMError:
    count = bench.options.candidates
    if proof is None or isinstance(before, LLMError):
        return write(bench.llm, assignment, lambda: bench.sandbox, count)
    return repair(
        bench.llm, assignment, lambda: bench.sandbox, count,
        source=before.source, failures=proof.failures, attempt=attempt,
    )  # fmt: skip


def _loader(name: str, source: str, bench: Bench) -> Callable[[bool], RewardTool]:
    spec = ToolSpec(tool_name("verifier", f"source:{name}"), "verifier", f"written for {name}")
    return lambda fresh: GeneratedVerifier(spec, source, lambda: bench.sandbox, TRIAL_LIMITS, fresh=fresh)


def _proved(name: str, source: str, probes: Sequence[Probe], bench: Bench, last: bool) -> Proof:
    signature = route(probes[0].rollout).signature
    return prove(_loader(name, source, bench), source, probes, signature, last_round=last)


def _outcome(found: Candidate | LLMError, proof: Proof | None) -> tuple[str, str]:
    if proof is None or isinstance(found, LLMError):
        return "refused", f"{type(found).__name__}: {found}"
    if proof.admitted:
        return "admitted", "every check passed"
    failed = [check.name for check in proof.report.checks if not check.passed]
    return "rejected", f"{'deciding' if proof.decided else 'visible'}: {', '.join(failed)}"


def _measure(row: Row, source: str, proof: Proof | None, bench: Bench) -> None:
    """Register an admitted tool, and score fresh completions with what the registry hands out."""
    tool = _loader(row.family, source, bench)(False)
    if proof is not None and proof.admitted:
        version = bench.registry.register(
            tool.spec,
            source=source,
            provenance=Provenance("agent", load_prompt("code_writer_draft").hash, bench.llm.model),
            report=proof.report,
            activate=True,
        )
        kept = bench.registry.source(version.tool, version.number)
        assert kept == source
    before = bench.llm.ledger.total().calls
    fresh = labelled(family(row.family), FRESH_SEED, bench.options.fresh)
    accepted = [verdict.value is not None and verdict.value >= 0.5 for verdict in judged(tool, fresh)]
    for expect in ("good", "bad"):
        sides = [yes for yes, probe in zip(accepted, fresh, strict=True) if probe.expect == expect]
        share = sum(sides) / len(sides)
        if expect == "good":
            row.tpr = share
        else:
            row.tnr = 1 - share
    row.fresh, row.second_pass_calls = len(fresh), bench.llm.ledger.total().calls - before


def scripted_reply(source: str) -> Callable[[ChatRequest], str]:
    """Return what a scripted model answers: a plan where JSON is asked for, else the source."""

    def reply(request: ChatRequest) -> str:
        if request.format != "text":
            return Plan(steps=["read the prompt", "check every rule"]).model_dump_json()
        return f"```python\n{source}\n```"

    return reply


def scripted(options: argparse.Namespace, sandbox: Sandbox, registry: Registry) -> list[Row]:
    """Run every family with a right and with a wrong verifier."""
    rows = []
    for name in options.families:
        for word, sources in (("right", RIGHT), ("wrong", WRONG)):
            if name in sources:
                with scripted_model(scripted_reply(sources[name])) as llm:
                    row = acquire(name, Bench(llm, sandbox, registry, options))
                row.reason = f"{word} verifier; {row.reason}"
                rows.append(row)
                show(row)
    return rows


def real(options: argparse.Namespace, sandbox: Sandbox, registry: Registry) -> list[Row]:
    """Run every family with the configured model, until the time is up.

    Raises:
        SystemExit: No model is configured.
    """
    settings = Settings.load()
    if settings.llm_base_url is None or settings.llm_model is None:
        raise SystemExit("set RLAR_LLM_BASE_URL and RLAR_LLM_MODEL, or use --scripted")
    rows: list[Row] = []
    started = time.perf_counter()
    with LanguageModel(
        settings.llm_base_url, settings.llm_model, settings.llm_api_key,
        timeout_seconds=settings.llm_seconds, max_tokens=options.max_tokens,
    ) as llm:  # fmt: skip
        for name in options.families:
            if time.perf_counter() - started > options.seconds:
                print(f"{name}: not tried, {options.seconds:.0f} s are over", file=sys.stderr)
                continue
            rows.append(acquire(name, Bench(llm, sandbox, registry, options)))
            show(rows[-1])
            _write(options, rows)
    return rows


def show(row: Row) -> None:
    """Print one line of the table."""
    rates = "  -     -  " if row.tpr is None or row.tnr is None else f"{row.tpr:.3f} {row.tnr:.3f}"
    print(
        f"{row.family:22} {row.outcome:9} {row.rounds} rounds  TPR/TNR {rates} on {row.fresh:3}  "
        f"{row.calls:2} calls {row.tokens:6} tokens {row.seconds:6.1f} s  {row.reason}",
        flush=True,
    )


def _write(options: argparse.Namespace, rows: Sequence[Row]) -> None:
    if options.json:
        admitted = [row for row in rows if row.outcome == "admitted"]
        summary = {
            "families": len(rows),
            "admitted": len(admitted),
            "admitted_below_bar": [row.family for row in admitted if not row.sound],
            "rejected_though_sound": [r.family for r in rows if r.outcome == "rejected" and r.sound],
            "calls": sum(row.calls for row in rows),
            "tokens": sum(row.tokens for row in rows),
            "seconds": round(sum(row.seconds for row in rows), 1),
            "second_pass_calls": sum(row.second_pass_calls for row in rows),
            "rows": [asdict(row) for row in rows],
        }
        Path(options.json).write_text(json.dumps(summary, indent=1), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a table, and fail if an admitted tool is below the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scripted", action="store_true", help="right and wrong verifiers, without a model")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument(
        "--each", type=int, default=80, help="good and bad probes a user gives for each family"
    )
    parser.add_argument("--fresh", type=int, default=120, help="fresh good and bad completions for each tool")
    parser.add_argument("--candidates", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=700, help="longest reply of the model")
    parser.add_argument("--seconds", type=float, default=900.0, help="start no further family after that")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(arguments)
    run = scripted if options.scripted else real
    with (
        tempfile.TemporaryDirectory() as folder,
        open_sandbox(workers=2) as sandbox,
        open_registry(f"sqlite:///{folder}/rlar.db") as registry,
    ):
        rows = run(options, sandbox, registry)
    _write(options, rows)
    unsound = [row.family for row in rows if row.outcome == "admitted" and not row.sound]
    count = sum(row.outcome == "admitted" for row in rows)
    print(f"{count} of {len(rows)} admitted; admitted below the bar: {', '.join(unsound) or 'none'}")
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
