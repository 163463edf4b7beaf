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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.families import FAMILIES, family, labelled
from benchmarks.scripted_replies import RIGHT, WRONG
from rlar_graph.admission import AdmissionReport
from rlar_graph.engine import Engine
from rlar_graph.errors import UnknownTool
from rlar_graph.graph import build_branch
from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making import keep
from rlar_graph.probes import Probe, split
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.generated import GeneratedVerifier
from rlar_graph.routing.router import route
from rlar_graph.settings import Settings
from rlar_graph.state import MAX_EXAMPLES, FamilyTask
from rlar_graph.testing import ChatRequest, ScriptedChatServer
from rlar_graph.toolmaking.candidates import tool_name
from rlar_graph.toolmaking.writing import Plan
from rlar_graph.types import Rollout

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


def acquire(name: str, engine: Engine, options: argparse.Namespace) -> Row:
    """Run the graph's branch for one family, kept to verifiers, and measure what came of it on fresh completions."""
    key, registry = f"source:{name}", engine.resources.registry
    given = [_of(name, probe) for probe in split(labelled(family(name), PROBE_SEED, options.each))]
    keep(registry, key, "user", given)
    prompts = list(dict.fromkeys(probe.rollout.prompt for probe in given))[:MAX_EXAMPLES]
    started = time.perf_counter()
    task: FamilyTask = {
        "family": key,
        "signature": route(given[0].rollout).signature.key,
        "examples": [{"prompt": prompt, "data_source": name} for prompt in prompts],
        "kinds": ["verifier"],
        "replaces": None,
    }
    (outcome,) = build_branch(lambda runtime: engine).invoke(task)["outcomes"]
    seconds = time.perf_counter() - started
    attempt = registry.attempts(key)[-1]
    row = Row(
        name, attempt.outcome, outcome["why"], 0, None, None, 0, attempt.calls, attempt.tokens,
        round(seconds, 1), 0, "",
    )  # fmt: skip
    _measure(row, engine, options.fresh)
    return row


def _of(name: str, probe: Probe) -> Probe:
    return replace(probe, rollout=replace(probe.rollout, data_source=name))


def _measure(row: Row, engine: Engine, each: int) -> None:
    """Score fresh completions by the tool the registry hands out: the second pass; by the last draft if it has none."""
    registry, tool = engine.resources.registry, tool_name("verifier", f"source:{row.family}")
    try:
        versions = registry.tool(tool).versions
    except UnknownTool:
        return
    last = versions[-1]
    row.rounds, row.source = len(versions), registry.source(tool, last.number) or ""
    if row.outcome == "rejected":
        report = AdmissionReport.from_json(registry.report(tool, last.number) or "")
        row.reason = "failed: " + ", ".join(check.name for check in report.checks if not check.passed)
    fresh = [_of(row.family, probe) for probe in labelled(family(row.family), FRESH_SEED, each)]
    rollouts = [replace(probe.rollout, completions=(probe.completion,)) for probe in fresh]
    calls = _calls(engine)
    values = _values(row, rollouts, engine)
    row.fresh, row.second_pass_calls = len(fresh), _calls(engine) - calls
    rates = {}
    for expect in ("good", "bad"):
        sides = [value for value, probe in zip(values, fresh, strict=True) if probe.expect == expect]
        rates[expect] = sum(value is not None and value >= 0.5 for value in sides) / len(sides)
    row.tpr, row.tnr = rates["good"], 1 - rates["bad"]


def _values(row: Row, rollouts: Sequence[Rollout], engine: Engine) -> list[float | None]:
    if row.outcome == "admitted":
        return [score.value for (score,) in engine.score(engine.plan(rollouts))]
    draft = GeneratedVerifier(ToolSpec("draft", "verifier", ""), row.source, engine.resources.sandbox)
    return [verdict.value for (verdict,) in draft.score(rollouts)]


def _calls(engine: Engine) -> int:
    llm = engine.resources.llm
    return llm.ledger.total().calls if llm else 0


@contextmanager
def opened(folder: str, name: str, llm: LanguageModel, options: argparse.Namespace) -> Iterator[Engine]:
    """Yield an engine with a registry of its own and this model."""
    settings = Settings.load(
        registry_url=f"sqlite:///{folder}/{name}.db", llm_base_url=llm.base_url, llm_model=llm.model,
        writer_candidates=options.candidates, writer_rounds=options.rounds, llm_calls=100_000,
    )  # fmt: skip
    with Engine(settings) as engine:
        engine.resources._llm = llm  # the replies of small models are kept short, which no setting can say
        yield engine


def scripted_reply(source: str) -> Callable[[ChatRequest], str]:
    """Return what a scripted model answers: a plan where JSON is asked for, else the source."""

    def reply(request: ChatRequest) -> str:
        if request.format != "text":
            return Plan(steps=["read the prompt", "check every rule"]).model_dump_json()
        return f"```python\n{source}\n```"

    return reply


def scripted(options: argparse.Namespace, folder: str) -> list[Row]:
    """Run every family with a right and with a wrong verifier."""
    rows = []
    for name in options.families:
        for word, sources in (("right", RIGHT), ("wrong", WRONG)):
            if name not in sources:
                continue
            with (
                ScriptedChatServer(scripted_reply(sources[name])) as server,
                opened(
                    folder, f"{name}-{word}", LanguageModel(server.base_url, "scripted"), options
                ) as engine,
            ):
                row = acquire(name, engine, options)
            row.reason = f"{word} verifier; {row.reason}"
            rows.append(row)
            show(row)
    return rows


def real(options: argparse.Namespace, folder: str) -> list[Row]:
    """Run every family with the configured model, until the time is up.

    Raises:
        SystemExit: No model is configured.
    """
    settings = Settings.load()
    if settings.llm_base_url is None or settings.llm_model is None:
        raise SystemExit("set RLAR_LLM_BASE_URL and RLAR_LLM_MODEL, or use --scripted")
    rows: list[Row] = []
    started = time.perf_counter()
    llm = LanguageModel(
        settings.llm_base_url, settings.llm_model, settings.llm_api_key,
        timeout_seconds=settings.llm_seconds, max_tokens=options.max_tokens,
    )  # fmt: skip
    with opened(folder, "real", llm, options) as engine:
        for name in options.families:
            if time.perf_counter() - started > options.seconds:
                print(f"{name}: not tried, {options.seconds:.0f} s are over", file=sys.stderr)
                continue
            rows.append(acquire(name, engine, options))
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
    with tempfile.TemporaryDirectory() as folder:
        rows = run(options, folder)
    _write(options, rows)
    unsound = [row.family for row in rows if row.outcome == "admitted" and not row.sound]
    count = sum(row.outcome == "admitted" for row in rows)
    print(f"{count} of {len(rows)} admitted; admitted below the bar: {', '.join(unsound) or 'none'}")
    return 1 if unsound else 0


if __name__ == "__main__":
    sys.exit(main())
