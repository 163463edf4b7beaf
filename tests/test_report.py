"""The report: honest figures, every text escaped, nothing written, nothing asked for."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlar_graph import AgentReward, Settings
from rlar_graph.cli.report import since_from
from rlar_graph.engine import Engine
from rlar_graph.errors import InputError, MigrationError
from rlar_graph.registry import Spend, open_registry
from rlar_graph.registry.database import Database
from rlar_graph.registry.migrations import MIGRATIONS, _apply
from rlar_graph.report import gather, render
from rlar_graph.report.facts import Facts
from rlar_graph.report.health import signs
from rlar_graph.types import Rollout, Score
from rlar_graph.waiting import OTHER, REASONS_KEPT
from tests.patience import COMMAND_SECONDS, linear

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SUMS = [f"What is {number} + 1?" for number in range(8)]
ANSWERS = [str(number + 1) for number in range(8)]


def rlar(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlar_graph.cli", "report", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=COMMAND_SECONDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that a run has written: 12 steps in which ever more answers are right."""
    path = tmp_path_factory.mktemp("trained") / "rlar.db"
    with AgentReward(Settings.load(registry_url=f"sqlite:///{path}", decision_sample=1.0)) as reward:
        for step in range(12):
            right = [number * 12 <= step * 8 for number in range(8)]
            said = [answer if good else "0" for answer, good in zip(ANSWERS, right, strict=True)]
            reward(SUMS, said, reference=ANSWERS, trainer_state=SimpleNamespace(global_step=step))
        reward.score([{"prompt": "Write a poem.", "completions": ["Rain.", "Snow."]}])
    return path


def facts_of(path: Path) -> Facts:
    return gather(f"sqlite:///{path}")


def test_the_curve_holds_every_completion_at_its_step(trained: Path) -> None:
    facts = facts_of(trained)
    assert facts.curves is not None
    (curve,) = facts.curves.by_tool
    assert (curve.tool, facts.curves.axis) == ("maths", "step")
    assert [point.place for point in curve.judged] == [str(step) for step in range(12)]
    wanted = [sum(number * 12 <= step * 8 for number in range(8)) / 8 for step in range(12)]
    assert [point.mean for point in curve.judged] == pytest.approx(wanted)
    assert (facts.outcomes.completions, facts.outcomes.abstained, facts.outcomes.unserved) == (98, 2, 2)


def test_the_page_says_so(trained: Path) -> None:
    page = render(facts_of(trained))
    assert "step 11: mean 1.000" in page
    assert "0.125 → 1.000" in page
    assert "no tool serves open/text/none/und" in page
    assert "2 of 98 completions have none" in page


def test_reasons_are_kinds_and_there_are_not_too_many(settings: Settings) -> None:
    limited = settings.model_copy(update={"max_completion_chars": 10})
    with Engine(limited) as engine:
        rollout = Rollout("What is 2 + 2?", tuple("4" * (20 + number) for number in range(5)), reference="4")
        engine.score(engine.plan([rollout]))
        plan = engine.plan([Rollout("What is 3 + 3?", ("6",) * 300, reference="6")])
        said = [f"no {chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(300)]
        engine.recorder.record(plan, [[Score(None, abstained=reason) for reason in said]], [])
    reasons = gather(limited.registry_url).outcomes.reasons()
    assert reasons["the completion has # characters and the limit is # (max_completion_chars)"] == 5
    assert len(reasons) == REASONS_KEPT + 1
    assert reasons[OTHER] == 300 - (REASONS_KEPT - 1)


def test_the_command_writes_a_page_or_json(trained: Path, tmp_path: Path) -> None:
    done = rlar("--registry", str(trained), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "98 completions" in done.stderr
    page = (tmp_path / "rlar-report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["rlar-report.html"]
    assert rlar("--registry", str(trained), "--out", "-", cwd=tmp_path).stdout.startswith("<!doctype html>")
    facts = json.loads(rlar("--registry", str(trained), "--json", cwd=tmp_path).stdout)
    assert facts["curves"]["by_tool"][0]["tool"] == "maths"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--registry", "none.db"), 1, "there is no registry"),
        (("--registry", "sqlite://"), 1, "a registry in memory is gone"),
        (("--registry", "text.db"), 1, "it is not a SQLite database"),
        (("--registry", "empty.db"), 1, "holds no registry"),
        (("--since", "yesterday"), 2, "must be a span (90m, 6h, 3d, 2w) or a date or time"),
        (("--registry", "made.db", "--out", "nowhere/page.html"), 2, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_explained(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE other (a)").connection.close()
    open_registry(f"sqlite:///{tmp_path}/made.db").close()
    before = _names(tmp_path)
    done = rlar(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert _names(tmp_path) == before


def _names(folder: Path) -> list[str]:
    """Return the files of a folder, but those that SQLite lays beside a registry for as long as anybody reads it."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(("-wal", "-shm")))


def test_an_empty_registry_has_a_page_that_says_what_to_do(tmp_path: Path) -> None:
    open_registry(f"sqlite:///{tmp_path}/rlar.db").close()
    page = render(facts_of(tmp_path / "rlar.db"))
    assert "Nothing has been scored yet" in page
    assert "rlar score FILE" in page
    assert "nan" not in page.partition("<script>")[0].lower()


def test_reading_changes_nothing_while_a_run_writes(trained: Path) -> None:
    digest = hashlib.sha256(trained.read_bytes()).hexdigest()
    running = sqlite3.connect(trained, isolation_level=None)
    running.execute("BEGIN IMMEDIATE")
    running.execute("DELETE FROM rlar_rewards")
    assert facts_of(trained).curves is not None
    running.execute("ROLLBACK")
    running.close()
    assert hashlib.sha256(trained.read_bytes()).hexdigest() == digest


ARCHIVED = """
import os, sys
from rlar_graph.report import gather
kept, archived = sys.argv[1:]
gather(kept)  # imports all there is, before this process may read less than now
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
print(gather(archived).completions)
"""


def test_a_registry_that_cannot_be_written_is_read(trained: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rlar.db"
        shutil.copy(trained, copy)
        copy.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", ARCHIVED, f"sqlite:///{trained}", f"sqlite:///{copy}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
        found = [path.name for path in Path(folder).iterdir()]
        Path(folder).chmod(0o755)
    assert done.stdout == "98\n", done.stderr
    assert found == ["rlar.db"]


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_registry_is_read_and_not_migrated(tmp_path: Path, version: int) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    with database.writing() as connection:
        for migration in MIGRATIONS[:version]:
            _apply(connection, migration, database)
    database.close()
    facts = facts_of(tmp_path / "old.db")
    assert facts.schema == version
    assert "does not keep rewards over time" in render(facts)
    assert facts_of(tmp_path / "old.db").schema == version


def test_a_newer_registry_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained, tmp_path / "new.db")
    with sqlite3.connect(tmp_path / "new.db") as newer:
        newer.execute("INSERT INTO rlar_schema VALUES (99, '2030-01-01T00:00:00+00:00')")
    newer.close()
    with pytest.raises(MigrationError, match="upgrade"):
        facts_of(tmp_path / "new.db")


NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, None),
        ("90m", NOW - timedelta(minutes=90)),
        ("6h", NOW - timedelta(hours=6)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_since_is_a_span_or_a_time(said: str | None, meant: datetime | None) -> None:
    assert since_from(said, NOW) == meant


@pytest.mark.parametrize("said", ["", "6", "h", "-3h", "999999w", "tomorrow"])
def test_since_refuses_what_it_does_not_know(said: str) -> None:
    with pytest.raises(InputError):
        since_from(said, NOW)


def test_the_signs_say_what_is_wrong(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "rlar.db"
    shutil.copy(trained, copy)
    assert {sign.level for sign in signs(facts_of(copy))} == {"good"}
    with open_registry(f"sqlite:///{copy}") as registry:
        registry.found("maths", 1, "saturation", "watch", "saturation 0.99")
    assert "maths v1 drifts: saturation" in [sign.title for sign in signs(facts_of(copy))]
    with open_registry(f"sqlite:///{copy}") as registry:
        registry.quarantine("maths", "it rewards empty answers")
    first = signs(facts_of(copy))[0]
    assert (first.level, first.title) == ("act", "maths is quarantined")
    assert first.advice.startswith("it rewards empty answers. Its prompts abstain")


def test_what_has_no_price_is_told_in_tokens(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "rlar.db"
    shutil.copy(trained, copy)
    assert '<span class="value">0 tokens</span>' in render(facts_of(copy))
    with open_registry(f"sqlite:///{copy}") as registry:
        registry.spend([Spend("judge", 2, 300, 50, 1.0, 0.0)])
    page = render(facts_of(copy))
    assert '<span class="value">350 tokens</span>' in page
    assert "2 calls; no price is set" in page


HOSTILE = (
    "</title></style></script></desc></svg></td></table></details><script>document.title='hacked';"
    "fetch('http://127.0.0.1:{port}/script')</script><img src='http://127.0.0.1:{port}/img' "
    'onerror="document.title=\'hacked\'"><style>@import url("http://127.0.0.1:{port}/css");</style>'
    '<svg onload="document.title=\'hacked\'"><a href="javascript:alert(1)">\u202e\x1b[31m & \ud800" onclick="x" \''
)
TEXTS = {
    "rlar_tools": ("name",),
    "rlar_versions": ("content_hash", "summary"),
    "rlar_bindings": ("key",),
    "rlar_events": ("key", "action", "reason", "who"),
    "rlar_outcomes": ("signature", "tool", "reason"),
    "rlar_decisions": ("signature", "rollout_id", "family", "abstained", "excerpt"),
    "rlar_attempts": ("family", "kind", "reason"),
    "rlar_spend": ("role",),
    "rlar_findings": ("monitor", "reason"),
    "rlar_claims": ("family",),
}
"""Every column of free text that the page shows."""


def poison(path: Path, hostile: str) -> None:
    """Put a hostile text into every field of a registry, past every check that stands before them."""
    text = hostile.encode("utf-8", "backslashreplace").decode()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(
            "INSERT INTO rlar_attempts VALUES (1, '', '', 'rejected', '', 1, 2, 3, 4, ?)", [str(NOW)]
        )
        database.execute("INSERT INTO rlar_spend VALUES ('', '2026-03-04', 1, 2, 3, 4.0, 5.0)")
        database.execute("INSERT INTO rlar_findings VALUES (1, '', 'watch', '', ?, false)", [str(NOW)])
        database.execute("INSERT INTO rlar_claims VALUES ('', 'me', 9e12)")
        database.execute("INSERT INTO rlar_audits VALUES (1, 1, 300, 200.0, 9.0, 9.0)")
        for table, columns in TEXTS.items():
            for column in columns:
                database.execute(f"UPDATE {table} SET {column} = ? || coalesce({column}, '')", [text])  # noqa: S608
        fields = {
            "author": "agent",
            **dict.fromkeys(("prompt_hash", "model", "revision", "licence", "note"), text),
        }
        database.execute("UPDATE rlar_versions SET provenance = ?", [json.dumps(fields)])
        names = ("check", "why", "said", "prompt", "completion")
        failure = {**dict.fromkeys(names, text), "expect": "hostile", "visible": True}
        check = {
            "name": "hostile accepted",
            "passed": False,
            "note": text,
            "failed": 1,
            "failures": [failure],
        }
        report = {
            **{"admitted": False, "tool": text, "kind": "verifier", "content_hash": text, "graded": False},
            **{"probes": {text: 2, "hostile": 1}, "probes_hash": text, "seconds": 1.0, "attacks": {text: 3}},
            "checks": [check, {**check, "name": text}],
        }
        database.execute("UPDATE rlar_admissions SET report = ?", [json.dumps(report)])
    database.close()


class Outline(HTMLParser):
    """The elements of a page, their attributes, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def poisoned(trained: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "poisoned.db"
    shutil.copy(trained, copy)
    return copy


def test_hostile_texts_stay_texts(poisoned: Path, trained: Path) -> None:
    poison(poisoned, HOSTILE.format(port=9))
    page = render(facts_of(poisoned))
    assert page.count("127.0.0.1:9/script") > 20
    found, clean = Outline(), Outline()
    found.feed(page)
    clean.feed(render(facts_of(trained)))
    assert found.open == clean.open == []
    assert {tag for tag, _ in found.seen} <= {tag for tag, _ in clean.seen} | {
        "dl",
        "dt",
        "dd",
        "ul",
        "li",
        "circle",
    }
    assert sum(tag == "script" for tag, _ in found.seen) == sum(tag == "style" for tag, _ in found.seen) == 1
    for tag, attributes in found.seen:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "style", "srcdoc")
        ], tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert page.encode("utf-8")


def test_every_chart_has_a_name_and_figures(trained: Path) -> None:
    outline = Outline()
    outline.feed(render(facts_of(trained)))
    charts = [attributes for tag, attributes in outline.seen if attributes.get("class") == "chart"]
    assert charts
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    assert sum(attributes.get("class") == "figures" for _, attributes in outline.seen) == len(charts)
    assert all("scope" in attributes for tag, attributes in outline.seen if tag == "th")
    headings = [int(tag[1]) for tag, _ in outline.seen if tag in ("h1", "h2", "h3", "h4", "h5")]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_a_large_registry_is_told_fast_and_in_bounds(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    open_registry(f"sqlite:///{path}").close()
    check = {"name": "hostile accepted", "passed": True, "note": "of 9", "failed": 0, "failures": []}
    checks = [{**check, "name": f"check {number}"} for number in range(12)]
    report = json.dumps(
        {
            **{
                "tool": "t",
                "kind": "verifier",
                "content_hash": "",
                "graded": False,
                "probes": {"hostile": 9},
            },
            **{
                "probes_hash": "",
                "seconds": 1.0,
                "checks": checks,
                "attacks": {f"a{n}": 9 for n in range(60)},
            },
        }
    )
    at = "2026-03-04T12:00:00.000000+00:00"
    with sqlite3.connect(path) as database:
        for number in range(1, 201):
            name = f"tool-{number}"
            database.execute("INSERT INTO rlar_tools VALUES (?, ?, 'verifier', ?)", [number, name, at])
            version = [number, number, 1, "active", "h", None, "s", False, '{"author": "agent"}', at]
            database.execute(f"INSERT INTO rlar_versions VALUES ({', '.join('?' * 10)})", version)  # noqa: S608
            database.execute(
                "INSERT INTO rlar_admissions VALUES (?, ?, true, ?, ?)", [number, number, report, at]
            )
            database.execute("INSERT INTO rlar_usage VALUES (?, '2026-03-04', 9, 5000, 50, 0, 9.0)", [number])
        rows = [(f"2026-03-04T{step // 60:02}:{step % 60:02}", tool, step, 10, 1, 5.0, 4.0)
                for tool in range(1, 201) for step in range(500)]  # fmt: skip
        database.executemany("INSERT INTO rlar_rewards VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        reasons = [
            ("2026-03-04T12:00", f"s{n % 50}", f"tool-{n % 200}", f"reason {n}", 1) for n in range(20_000)
        ]
        database.executemany("INSERT INTO rlar_outcomes VALUES (?, ?, ?, ?, ?)", reasons)
        decisions = [(n, at, "s", "h", None, None, n % 200 + 1, 1.0, None, "x" * 500) for n in range(20_000)]
        database.executemany("INSERT INTO rlar_decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", decisions)
    database.close()
    with linear():
        facts = facts_of(path)
        page = render(facts)
    assert facts.completions == 1_000_000
    assert len(page) < 2_500_000
    assert "and 188 more tools" in page


@contextmanager
def counting_server() -> Iterator[tuple[int, list[str]]]:
    """Run a server that only notes what it is asked for; yield its port and the notes."""
    asked: list[str] = []

    class Notes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium and return what became of it, and what the console said."""
    assert CHROMIUM is not None
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ]
    flags += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=3000"]
    flags += ["--enable-logging=stderr", "--dump-dom"]
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *flags, f"--user-data-dir={profile}", file.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@needs_browser
def test_in_a_browser_nothing_hostile_runs_and_nothing_is_asked_for(poisoned: Path, tmp_path: Path) -> None:
    with counting_server() as (port, asked):
        poison(poisoned, HOSTILE.format(port=port))
        done = browse(render(facts_of(poisoned)), tmp_path)
    assert done.returncode == 0, done.stderr
    assert asked == []
    assert "<title>Reward report" in done.stdout
    assert 'aria-label="Sections"' in done.stdout
    assert '<button type="button">' in done.stdout  # our own script ran
    assert "Content Security Policy" not in done.stderr


@needs_browser
def test_what_got_past_the_escaping_would_be_stopped_by_the_policy(trained: Path, tmp_path: Path) -> None:
    with counting_server() as (port, asked):
        broken = render(facts_of(trained)).replace(
            "<h1>", HOSTILE.format(port=port).replace("\ud800", "") + "<h1>", 1
        )
        done = browse(broken, tmp_path)
        assert asked == []
        assert "<title>Reward report" in done.stdout
        assert "Content Security Policy" in done.stderr
        start, end = (
            broken.index('<meta http-equiv="Content-Security-Policy"'),
            broken.index('<meta name="viewport"'),
        )
        unguarded = browse(broken[:start] + broken[end:], tmp_path)
        assert "/script" in asked  # or this test could not fail
        assert "<title>hacked</title>" in unguarded.stdout
