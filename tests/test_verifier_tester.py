"""The verifier-tester as a node: reports, failures for the writer, refusals; and the benchmark that rests on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.admission import AdmissionReport
from rlar_graph.engine import Engine
from rlar_graph.nodes.verifier_tester import VerifierTesterUpdate, verifier_tester
from rlar_graph.probe_making import keep
from rlar_graph.settings import Settings
from rlar_graph.state import AcquireState
from tests.made_families import ALWAYS, FAMILY, HALF, HEAD, RIGHT, SIGNATURE, probes, records
from tests.patience import COMMAND_SECONDS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def proving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path_factory.mktemp('registry')}/rlar.db"
    with Engine(Settings.load(registry_url=url)) as engine:
        keep(engine.resources.registry, FAMILY, "user", probes())
        yield engine


def outcome_of(source: str, engine: Engine, **more: object) -> VerifierTesterUpdate:
    draft = {
        "name": "verifier-multiples-0", "kind": "verifier", "summary": "s", "source": source,
        "prompt_hash": "", "model": "scripted",
    }  # fmt: skip
    base = {
        "family": FAMILY,
        "signature": SIGNATURE,
        "examples": records(),
        "kinds": [],
        "draft": draft,
        "attempt": 1,
    }
    return verifier_tester(AcquireState(**{**base, **more}), engine)  # type: ignore[typeddict-item]


def test_a_right_draft_is_admitted_with_its_report(proving: Engine) -> None:
    update = outcome_of(RIGHT, proving)
    assert update["admitted"] and update["refused"] is None and update["failures"] == []
    assert "rejected" not in update
    report = AdmissionReport.from_json(update["report"] or "")
    assert report.admitted
    assert len(report.content_hash) == 64
    assert report.probes["good"] >= 35 and report.probes["hostile"] >= 10


def test_a_wrong_draft_comes_back_with_what_its_writer_may_learn(proving: Engine) -> None:
    update = outcome_of(ALWAYS, proving)
    assert not update["admitted"] and update["refused"] is None
    assert update["failures"]
    assert [rejected["draft"]["source"] for rejected in update["rejected"]] == [ALWAYS]
    assert not AdmissionReport.from_json(update["report"] or "").admitted


def test_the_last_round_is_the_last(proving: Engine) -> None:
    update = outcome_of(HALF, proving, attempt=proving.settings.writer_rounds)
    assert not update["admitted"]
    assert update["refused"] and "after 3 drafts" in update["refused"]


def test_a_draft_that_fails_on_deciding_probes_alone_gets_no_second_look(proving: Engine) -> None:
    known = [probe.completion for probe in probes() if probe.visible and probe.expect == "good"]
    update = outcome_of(HEAD + f"    return float(completion.strip() in {known!r})", proving)
    assert not update["admitted"]
    assert update["refused"] and "deciding" in update["refused"]
    assert update["failures"] == []


def test_earlier_rejections_are_kept(proving: Engine) -> None:
    first = outcome_of(ALWAYS, proving)
    second = outcome_of(HALF, proving, rejected=first["rejected"], cost=first["cost"])
    assert [rejected["draft"]["source"] for rejected in second["rejected"]] == [ALWAYS, HALF]
    assert second["cost"]["seconds"] > first["cost"]["seconds"]


def test_a_source_that_may_not_run_is_reported_without_running(proving: Engine) -> None:
    update = outcome_of("import os\n" + HEAD + "    return 1.0", proving)
    assert not update["admitted"]
    assert any("os cannot be imported" in failure for failure in update["failures"])


def test_without_a_draft_there_is_nothing_to_test(proving: Engine) -> None:
    assert outcome_of("", proving, draft=None)["refused"] == "there is no draft to test"


def test_a_rubric_that_is_none_is_a_refusal(proving: Engine) -> None:
    draft = {
        "name": "judge-x-0",
        "kind": "judge",
        "summary": "s",
        "source": "{",
        "prompt_hash": "",
        "model": "",
    }
    update = outcome_of("", proving, draft=draft)
    assert not update["admitted"]
    assert update["refused"] and "ToolError" in update["refused"]


@pytest.mark.slow
def test_the_benchmark_admits_right_verifiers_and_rejects_wrong_ones(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    command = [
        sys.executable,
        "benchmarks/acquire.py",
        "--scripted",
        "--families",
        "divisible",
        "primes",
        "brackets",
    ]
    command += ["--each", "80", "--fresh", "100", "--rounds", "2", "--candidates", "1", "--json", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(out.read_text(encoding="utf-8"))
    for row in figures["rows"]:
        assert row["outcome"] == ("admitted" if row["reason"].startswith("right") else "rejected"), row
        assert row["fresh"] == 200
    assert figures["admitted"] == 3
    assert figures["admitted_below_bar"] == figures["rejected_though_sound"] == []
    assert figures["second_pass_calls"] == 0
