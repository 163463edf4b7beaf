"""The report's queries on SQLite and PostgreSQL: what was recorded is what is summed, and reading changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import RegistryError
from rlar_graph.registry import Attempt, Audit, Decision, Outcome, Provenance, Spend, Usage, open_registry
from rlar_graph.registry.database import Database
from rlar_graph.registry.readonly import ReadOnlyDatabase, look
from rlar_graph.registry.tables import outcomes, rewards
from rlar_graph.report import gather, render
from rlar_graph.rewards.base import ToolSpec

PASSED = AdmissionReport(
    "t", "verifier", "", False, {"hostile": 3}, "", 0.5, (Check("contract", True),), {"empty": 3}
)


def fill(url: str) -> None:
    with open_registry(url) as registry:
        for name in ("maths", "code"):
            spec = ToolSpec(name, "verifier", "Compares.", content_hash=name)
            registry.register(spec, provenance=Provenance("builtin"), report=PASSED, activate=True)
        for step in range(10):
            total = step / 10 * 8
            registry.record(
                [
                    Usage("maths", 1, 10, 2, 0, 0.5, total, total * step / 10, step),
                    Usage("code", 1, 4, 0, 1, 0.1, 2, 1),
                ],
                [Decision("s/a", "h", tool="maths", version=1, value=1.0, excerpt=f"said {step}")],
                [
                    Outcome("s/a", "maths", None, 8),
                    Outcome("s/a", "maths", "no answer", 2),
                    Outcome("s/b", None, "no tool serves s/b", 3),
                ],
            )
        registry.record([Usage("maths", 1, 10, 2, 0, 0.5, 6.4, 5.12, 0)])
        registry.quarantine("code", "it broke", who="ada")
        registry.record_attempt(Attempt("f", "verifier", "rejected", "too weak", 3, 300, 0.5, 2.0))
        registry.record_attempt(Attempt("g", "judge", "admitted", "", 1, 100, 0.25, 1.0))
        registry.spend([Spend("code_writer", 3, 200, 100, 1.5, 0.5), Spend("judge", 1, 50, 50, 0.5, 0.25)])
        registry.add_audit("maths", 1, Audit(10, 5.0, 1.0, 0.5))
        registry.found("maths", 1, "saturation", "watch", "saturation 0.99 over 2,000 rollouts")


def test_the_facts_are_what_was_recorded(shared_url: str) -> None:
    fill(shared_url)
    facts = gather(shared_url)
    maths, code = facts.tools
    assert (maths.tool.name, maths.completions, maths.chief.used.abstentions) == ("maths", 110, 22)
    assert (code.chief.version.state, code.chief.used.errors) == ("quarantined", 10)
    assert code.chief.change is not None
    assert (code.chief.change.action, code.chief.change.reason, code.chief.change.who) == (
        "quarantined",
        "it broke",
        "ada",
    )
    assert maths.chief.report == PASSED
    curves = facts.curves
    assert curves is not None
    assert (curves.axis, curves.last) == ("step", "9")
    (curve,) = curves.by_tool  # code was scored outside a step
    assert [point and point.place for point in curve.points] == [str(step) for step in range(10)]
    assert [round(point.mean, 6) for point in curve.judged if point.mean is not None] == [
        0.4,  # step 0 was scored twice: with 0 and with 0.8
        *(step / 10 for step in range(1, 10)),
    ]
    assert [point.completions for point in curve.judged] == [20, *[10] * 9]
    assert curve.judged[0].spread == pytest.approx(0.4)
    assert curve.judged[5].spread == pytest.approx(0.0, abs=1e-6)
    assert (facts.outcomes.completions, facts.outcomes.abstained, facts.outcomes.unserved) == (130, 50, 30)
    assert facts.outcomes.reasons() == {"no tool serves s/b": 30, "no answer": 20}
    assert sum(row.completions for row in facts.outcomes.by_slot) == 130
    assert {(row.kind, row.outcome, row.attempts, row.tokens) for row in facts.attempts} == {
        ("verifier", "rejected", 1, 300),
        ("judge", "admitted", 1, 100),
    }
    assert [attempt.reason for attempt in facts.in_vain] == ["too weak"]
    assert {row.role: row.money for row in facts.spend} == {"code_writer": 0.5, "judge": 0.25}
    assert [(alarm.tool, alarm.monitor, alarm.standing) for alarm in facts.alarms] == [
        ("maths", "saturation", True)
    ]
    assert facts.audits == {("maths", 1): [Audit(10, 5.0, 1.0, 0.5)]}
    assert [each.decision.excerpt for each in facts.decisions][:2] == ["said 9", "said 8"]
    assert facts.events[0].action == "drift:watch"
    assert maths.chief.change is not None
    assert maths.chief.change.action == "promoted"  # an alarm alone changes no state
    page = render(facts)
    assert "too weak" in page
    assert '<span class="value">0.75</span>' in page


def test_rewards_and_outcomes_are_kept_for_a_time_only(shared_url: str) -> None:
    fill(shared_url)
    database = Database(shared_url)
    with database.writing() as connection:
        connection.execute(sa.update(rewards).values(minute="2020-01-01T00:00"))
        connection.execute(sa.update(outcomes).values(slot="2020-01-01T00:00"))
    database.close()
    assert gather(shared_url).outcomes.completions == 130
    with open_registry(shared_url) as registry:
        registry.record([Usage("maths", 1, 1)], outcomes=[Outcome("s/a", "maths", None, 1)])
    facts = gather(shared_url)
    assert (facts.outcomes.completions, facts.curves and facts.curves.all_tools.completions) == (1, 1)


def test_what_was_before_is_left_out(shared_url: str) -> None:
    fill(shared_url)
    facts = gather(shared_url, datetime.now(UTC) + timedelta(days=1))
    assert (facts.curves, facts.outcomes.completions, facts.completions) == (None, 0, 0)
    assert (facts.in_vain, facts.spend, facts.decisions, facts.events) == ((), (), (), ())
    assert len(facts.tools) == 2
    assert "There is nothing to show in this time" in render(facts)


def test_a_registry_that_is_looked_at_cannot_be_written(shared_url: str) -> None:
    fill(shared_url)
    with (
        pytest.raises(RegistryError, match="read"),
        look(shared_url) as (_, connection, _),
    ):
        connection.exec_driver_sql("DELETE FROM rlar_events")
    assert gather(shared_url).events


def test_a_password_is_in_no_page_and_no_message() -> None:
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed (extra postgres)")
    url = "postgresql://ada:s3cret@127.0.0.1:1/rlar"
    database = ReadOnlyDatabase(url)
    assert "s3cret" not in str(database.where)  # what the page shows of it
    database.close()
    with pytest.raises(RegistryError) as caught:
        gather(url)
    assert "s3cret" not in str(caught.value)
