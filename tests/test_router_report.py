"""The router against oracle, static, best-single and random choices, on items small enough to reckon by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlar_graph.cli.app import app
from rlar_graph.engine import Engine
from rlar_graph.errors import InputError
from rlar_graph.evaluation.routers import (
    Agreement,
    Judged,
    RouterReport,
    agreement,
    compare_routers,
    evidence_of,
)
from rlar_graph.routing.signature import Evidence
from rlar_graph.types import Rollout, Score

GOOD, BAD, NONE = Score(1.0), Score(0.0), Score(None, abstained="no")


@pytest.mark.parametrize(
    ("row", "chosen", "pairwise", "pointwise"),
    [
        ([GOOD, BAD], 1, 1.0, 1.0),
        ([BAD, GOOD], 1, 0.0, 0.0),
        ([GOOD, GOOD], 1, 0.5, 0.5),
        ([NONE, BAD], 1, 0.0, 0.5),
        ([GOOD, NONE, BAD], 1, 0.5, 2 / 3),
        ([Score(0.4), Score(0.3)], 1, 1.0, 0.5),
        ([GOOD, BAD], 2, None, 0.5),
        ([BAD], 0, None, 1.0),
    ],
)
def test_agreement(row: list[Score], chosen: int, pairwise: float | None, pointwise: float) -> None:
    found = agreement(row, chosen)
    assert found.pairwise == pairwise and found.pointwise == pytest.approx(pointwise)


def judged(evidence: str, chosen: str | None, **tools: float) -> Judged:
    return Judged(evidence, chosen, {name: Agreement(value, value) for name, value in tools.items()})


def test_policies_are_what_they_say() -> None:
    report = RouterReport(
        [
            judged("reference", "maths", maths=1.0, list=0.5, text=0.0),
            judged("reference", "list", maths=0.0, list=1.0),
            judged("reference", None, maths=1.0),
            judged("tests", "code", code=1.0, text=1.0),
        ],
        unserved=2,
    )
    assert report.to_dict()["static"] == {"reference": "maths", "tests": "code"}
    assert report.to_dict()["best_single"] == "maths"
    figures = {policy: (row["pairwise"], row["picks_best"]) for policy, row in report.figures().items()}
    assert figures == {
        "router": (0.75, 0.75),
        "oracle": (1.0, 1.0),
        "static": (0.75, 0.75),
        "best_single": (0.5, 0.5),
        "random": ((0.5 + 0.5 + 1.0 + 1.0) / 4, pytest.approx((1 / 3 + 1 / 2 + 1 + 1) / 4)),
    }
    assert report.figures("tests")["best_single"]["pointwise"] == 0.0


def test_nothing_judged_has_no_figures() -> None:
    assert set(RouterReport().figures()["router"].values()) == {None}
    assert RouterReport().to_dict()["best_single"] is None


def test_evidence_is_all_that_is_there() -> None:
    assert evidence_of(Rollout("p")) == set()
    both = Rollout("p", reference="x", tests=["assert f() == 1"], source="text")
    assert evidence_of(both) == {Evidence.REFERENCE, Evidence.TESTS, Evidence.SOURCE}


RECORDS: list[dict[str, object]] = [
    {
        "prompt": "What is 7 * 8? End with the answer.",
        "reference": "56",
        "chosen": ["7 * 8 is 56.0, so the answer is 56.0"],
        "rejected": ["The answer is 54", "It is 56, no, the answer is 65"],
    },
    {
        "prompt": "Which planet is red?\n(A) Venus\n(B) Mars\n(C) Saturn",
        "reference": "B",
        "chosen": ["The answer is (B)."],
        "rejected": ["The answer is (A).", "It could be (B), but I choose (C)."],
    },
    {
        "prompt": "Reply as told by this rule: no commas.",
        "reference": None,
        "chosen": ["No comma here"],
        "rejected": ["Yes, one"],
        "meta": {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    },
    {"prompt": "Tell me a story.", "reference": None, "chosen": ["Once."], "rejected": ["No."]},
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("labelled") / "items.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return str(file)


def test_our_choice_is_compared_on_real_tools(engine: Engine, labelled: str) -> None:
    seen: list[tuple[int, int]] = []
    report = compare_routers(engine, [labelled], 100, lambda items, texts: seen.append((items, texts)))
    assert (len(report.judged), report.unserved) == (3, 1)
    assert [item.chosen for item in report.judged] == ["maths", "choice", "instructions"]
    assert all(len(item.tools) > 1 for item in report.judged[:2])
    assert set(report.judged[2].tools) == {"instructions"}
    figures = report.figures()
    assert figures["router"] == figures["oracle"] == {"pairwise": 1.0, "pointwise": 1.0, "picks_best": 1.0}
    assert (figures["best_single"]["pairwise"] or 0) < 1
    assert (figures["random"]["pairwise"] or 0) < 1
    assert seen == [(4, 10)]


def test_a_limit_is_kept(engine: Engine, labelled: str) -> None:
    report = compare_routers(engine, [labelled], 2, lambda items, texts: None)
    assert len(report.judged) + report.unserved == 2


def test_a_bad_line_is_named(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"prompt": "x", "chosen": "not a list"}\n')
    with pytest.raises(InputError, match="line 1"):
        compare_routers(engine, [str(file)], 10, lambda items, texts: None)


def test_the_command_prints_and_writes_them(labelled: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = [
        "eval",
        labelled,
        "--routers",
        "--registry",
        f"sqlite:///{tmp_path}/rlar.db",
        "--json",
        str(figures),
    ]
    done = CliRunner().invoke(app, [*arguments, "--quiet"])
    assert done.exit_code == 0, done.output
    assert "best single" in done.output and "oracle" in done.output
    written = json.loads(figures.read_text())
    assert written["routers"]["policies"]["router"]["picks_best"] == 1.0
    assert written["routers"]["unserved"] == 1
    done = CliRunner().invoke(app, [*arguments[:2], *arguments[3:], "--quiet"])
    assert "routers" not in json.loads(figures.read_text()) and "oracle" not in done.output


def test_zero_items_are_no_limit(labelled: str) -> None:
    assert CliRunner().invoke(app, ["eval", labelled, "--routers", "--limit", "0"]).exit_code == 2
