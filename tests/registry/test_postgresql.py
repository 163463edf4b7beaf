"""A registry on a PostgreSQL server: trainers that share one, a server that comes back, no password shown."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph import AgentReward, Rollout, Settings
from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.errors import RegistryError
from rlar_graph.library import AWAY_SECONDS
from rlar_graph.recorder import RETRY_SECONDS
from rlar_graph.registry import Provenance, open_registry
from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import tools
from rlar_graph.rewards.base import ToolSpec
from tests.patience import COMMAND_SECONDS, PATIENCE, prompt
from tests.postgres_server import PASSWORD, PostgresServer, ServerElsewhere

SUM = Rollout("What is 6 * 7?", ("The answer is 42.", "The answer is 43."), reference="42")
CHOICE = Rollout(
    "Which is even?\nA. 3\nB. 4\nAnswer with the letter.",
    ("The answer is B.", "The answer is A."),
    reference="B",
    choices=(("A", "3"), ("B", "4")),
)
PASSED = AdmissionReport("puzzle", "verifier", "", False, {}, "", 0.0, (Check("contract", True),))
SOURCE = "def score(prompt, completion, reference, **evidence):\n    return float(completion == reference)\n"


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.database() as url:
        yield url


def values(reward: AgentReward, rollout: Rollout) -> list[float | None]:
    (row,) = reward.score([rollout])
    return [score.value for score in row]


def test_scoring_goes_on_while_the_server_is_away_and_what_was_scored_is_counted(
    postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(postgres, ServerElsewhere):
        pytest.skip("the server is not ours to stop")
    with AgentReward(Settings.load(registry_url=database)) as reward:
        assert values(reward, SUM) == [1.0, 0.0]
        postgres.stop()
        try:
            with prompt():  # and not a connection's timeout each time
                for _ in range(50):
                    assert values(reward, SUM) == [1.0, 0.0]
                    assert values(reward, CHOICE) == [None, None]
                    time.sleep(0.03)
            (row,) = reward.score([CHOICE])
            assert all("no server answers there" in (score.abstained or "") for score in row)
        finally:
            postgres.start()
        wait = time.monotonic() + AWAY_SECONDS + PATIENCE
        while values(reward, CHOICE) != [1.0, 0.0]:
            assert time.monotonic() < wait
            time.sleep(0.2)
        assert values(reward, SUM) == [1.0, 0.0]
        time.sleep(max(0.0, RETRY_SECONDS - 3))
    with open_registry(database) as registry:
        (maths,) = [used for used in registry.usage() if used.tool == "maths"]
        assert (maths.completions, maths.abstentions) == (2 * 52, 0)
    assert PASSWORD not in caplog.text
    outages = [record for record in caplog.records if "tools that were looked up" in record.message]
    assert len(outages) == 1


def test_a_registry_that_was_never_read_stops_the_trainer(postgres: PostgresServer) -> None:
    with AgentReward(Settings.load(registry_url=postgres.url("nowhere"))) as reward:
        with pytest.raises(RegistryError, match="does not exist") as caught:
            reward.score([SUM])
        assert PASSWORD not in str(caught.value)


TRAINER = """
import json, pickle, sys
from rlar_graph import AgentReward, Settings
rollouts = pickle.loads(bytes.fromhex(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
with AgentReward(Settings.load(registry_url=sys.argv[1])) as reward:
    for _ in range(20):
        rows = reward.score(rollouts)
        assert [[score.value for score in row] for row in rows] == [[1.0, 0.0], [1.0, 0.0]], rows
print(json.dumps([[score.tool, score.version] for row in rows for score in row]))
"""


def test_four_trainers_share_one_registry_and_admit_each_tool_once(database: str) -> None:
    asked = pickle.dumps([SUM, CHOICE]).hex()
    trainers = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINER, database, asked],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for trainer in trainers:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "ready\n"
    for trainer in trainers:
        assert trainer.stdin is not None
        trainer.stdin.write("go\n")
        trainer.stdin.flush()
    said = [trainer.communicate(timeout=COMMAND_SECONDS)[0] for trainer in trainers]
    assert [trainer.returncode for trainer in trainers] == [0] * 4
    assert {each.strip() for each in said} == {
        json.dumps([["maths", 1], ["maths", 1], ["choice", 1], ["choice", 1]])
    }
    with open_registry(database) as registry:
        actions = [(event.tool, event.action) for event in registry.history()]
        assert actions.count(("maths", "promoted")) == actions.count(("choice", "promoted")) == 1
        assert {used.tool: used.completions for used in registry.usage()} == {
            "maths": 4 * 20 * 2,
            "choice": 4 * 20 * 2,
        }


def test_a_reader_sees_one_state_however_long_it_looks(database: str) -> None:
    with open_registry(database) as registry:
        looking = Database(database)
        with looking.reading() as connection:
            before = connection.execute(tools.select()).all()
            registry.register(
                ToolSpec("puzzle", "verifier", "Compares."), provenance=Provenance("user"), source=SOURCE
            )
            assert connection.execute(tools.select()).all() == before == []
        with looking.reading() as connection:
            assert len(connection.execute(tools.select()).all()) == 1
        with pytest.raises(RegistryError, match="read-only"), looking.reading() as connection:
            connection.execute(tools.delete())
        looking.close()


@pytest.mark.parametrize("towards", ["postgresql", "sqlite"])
def test_tools_move_between_sqlite_and_postgresql(database: str, tmp_path: Path, towards: str) -> None:
    urls = [f"sqlite:///{tmp_path / 'rlar.db'}", database]
    there, here = urls if towards == "postgresql" else urls[::-1]
    with open_registry(there) as theirs, open_registry(here) as mine:
        spec = ToolSpec("puzzle", "verifier", "Compares — gründlich.")
        theirs.register(spec, provenance=Provenance("agent"), source=SOURCE, report=PASSED, activate=True)
        theirs.bind("source:puzzles", "puzzle")
        theirs.export(tmp_path / "tools.json")
        (imported,) = mine.import_(tmp_path / "tools.json", trusted=True)
        mine.promote("puzzle", 1)
        active = mine.active("source:puzzles")
        assert active is not None
        assert (active.content_hash, mine.source("puzzle", 1)) == (imported.version.content_hash, SOURCE)
        mine.export(tmp_path / "back.json")
        assert theirs.import_(tmp_path / "back.json")[0].new is False


def test_no_command_shows_the_password(database: str, tmp_path: Path) -> None:
    wrong = database.replace(PASSWORD, f"{PASSWORD}x")
    for url, ends in ((database, 0), (wrong, 1), (database.replace("rlar_test", "nowhere"), 1)):
        for command in (["doctor"], ["tools", "list"], ["doctor", "--json"]):
            done = subprocess.run(
                [sys.executable, "-m", "rlar_graph.cli", *command],
                env={**os.environ, "RLAR_REGISTRY_URL": url},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == ends, done.stderr
            assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://rlar:{PASSWORD}@host:port/name",
        f"postgresql://rlar:a/{PASSWORD}@host:port/name",
        f"postgresql://rlar@127.0.0.1:9/name?password={PASSWORD}",
        f"mysql://rlar:{PASSWORD}@host/name",
        f"postgresql://rlar:{PASSWORD}@127.0.0.1:9/name?nonsense=1",
    ],
)
def test_an_error_about_the_url_does_not_show_the_password(
    url: str, caplog: pytest.LogCaptureFixture, postgres: PostgresServer
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(RegistryError) as caught:
        open_registry(url)
    said: BaseException | None = caught.value
    while said is not None:
        assert PASSWORD not in f"{said}{said.args}"
        said = said.__cause__
    assert PASSWORD not in caplog.text
