"""Every built-in verifier earns its admission from its table, through the same gate as any other tool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlar_graph.admission import admit
from rlar_graph.engine import Engine
from rlar_graph.probes import load_table
from rlar_graph.rewards.load import BUILTINS

NAMES = [builtin.name for builtin in BUILTINS]


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_admits_it(name: str, engine: Engine) -> None:
    report = admit(engine.library.load(name), load_table(name))
    assert report.admitted, report.render()


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_its_table_holds(name: str, engine: Engine) -> None:
    tool = engine.library.load(name)
    probes = load_table(name)
    assert len(probes) >= 60
    rows = tool.score([replace(probe.rollout, completions=(probe.completion,)) for probe in probes])
    for probe, row in zip(probes, rows, strict=True):
        (verdict,) = row
        said = "abstain" if verdict.value is None else ("good" if verdict.value >= 0.5 else "bad")
        wanted = {"good": {"good"}, "bad": {"bad"}, "hostile": {"bad", "abstain"}, "abstain": {"abstain"}}[
            probe.expect
        ]
        if not tool.spec.graded:
            assert said in wanted, f"{probe.why}: {probe.completion[:200]!r} -> {verdict}"


@pytest.mark.parametrize("name", NAMES)
def test_a_megabyte_of_anything_is_survived(name: str, engine: Engine) -> None:
    tool = engine.library.load(name)
    first = load_table(name)[0].rollout
    texts = (
        "(" * 1_000_000,
        "\\boxed{" * 140_000,
        "the answer is " * 70_000,
        "\ud800" * 1_000,
        "{" * 500_000,
    )
    (row,) = tool.score([replace(first, completions=texts)])
    assert all(verdict.value is None or verdict.value < 0.5 for verdict in row)
