"""An engine starts with its first user and ends with its last, whoever is killed in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from rlar_graph.errors import EngineError, RegistryError
from rlar_graph.machine.client import MachineEngine
from rlar_graph.types import Rollout
from tests.machine.conftest import SLEEPER, SUM, Place, descendants, parent
from tests.patience import HANG_SECONDS, PATIENCE, until


def test_eight_processes_that_start_at_once_share_one_engine_and_leave_nothing(place: Place) -> None:
    clients = [place.client("print(score(SUM), flush=True); sys.stdin.read()") for _ in range(8)]
    said = [client.stdout.readline() for client in clients if client.stdout]
    assert said == ["[[1.0, 0.0]]\n"] * 8
    (engine,) = place.engines()
    workers = descendants(engine)
    for client in clients:
        client.communicate("", timeout=PATIENCE)
    until(lambda: not place.engines())
    assert place.sockets() == []
    assert sorted(path.name for path in place.meeting.iterdir()) == ["lock"]
    until(lambda: not any(map(parent, workers)))


def test_when_all_clients_are_killed_everything_is_gone_within_seconds(place: Place) -> None:
    code = "print(score(SUM), flush=True); score(SLEEPER, SLEEPER); time.sleep(60)"
    clients = [place.client(code) for _ in range(2)]
    for client in clients:
        assert client.stdout is not None and client.stdout.readline()
    (engine,) = place.engines()
    until(lambda: descendants(engine))
    workers = descendants(engine)
    for client in clients:
        client.kill()
        client.communicate()
    until(lambda: not place.engines() and not any(map(parent, workers)))
    assert place.sockets() == []


def test_a_client_killed_in_the_middle_of_its_request_costs_the_others_nothing(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        assert mine.score([SUM])[0][0].value == 1.0
        (engine,) = place.engines()
        other = place.client("print('asking', flush=True); score(*[SLEEPER] * 8)")
        assert other.stdout is not None and other.stdout.readline()
        waiting = mine.submit([SLEEPER, SUM])
        time.sleep(0.3)
        other.kill()
        other.communicate()
        assert [[score.value for score in row] for row in waiting.result(PATIENCE)] == [[1.0], [1.0, 0.0]]
        assert place.engines() == [engine]


def test_an_engine_killed_in_the_middle_of_a_batch_is_started_again_and_asked_again(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    code = "print(score(SUM), flush=True); print(score(SLEEPER, SUM), flush=True)"
    other = place.client(code)
    with closing(MachineEngine(place.settings())) as mine:
        assert mine.score([SUM])[0][0].value == 1.0
        assert other.stdout is not None and other.stdout.readline()
        waiting = mine.submit([SLEEPER, SUM])
        time.sleep(0.5)
        (engine,) = place.engines()
        os.kill(engine, signal.SIGKILL)
        assert [[score.value for score in row] for row in waiting.result(PATIENCE)] == [[1.0], [1.0, 0.0]]
        said, complaints = other.communicate(timeout=PATIENCE)
        assert said == "[[1.0], [1.0, 0.0]]\n", complaints
        assert engine not in place.engines()
        assert len(place.engines()) == 1
    assert "1 calls are asked again" in caplog.text


def test_a_batch_over_which_two_engines_ended_is_an_error_and_the_next_is_scored(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        mine.score([SUM])
        waiting = mine.submit([SLEEPER])
        killed: set[int] = set()
        while len(killed) < 2:
            for engine in set(place.engines()) - killed:
                time.sleep(0.4)
                os.kill(engine, signal.SIGKILL)
                killed.add(engine)
        with pytest.raises(EngineError, match=r"ended.*for the second time"):
            waiting.result(PATIENCE)
        assert mine.score([SUM])[0][0].value == 1.0


def test_an_engine_that_says_nothing_is_replaced_and_ends_when_it_wakes(place: Place) -> None:
    with closing(MachineEngine(place.settings(engine_silent_seconds=3))) as mine:
        mine.score([SUM])
        (stopped,) = place.engines()
        os.kill(stopped, signal.SIGSTOP)
        started = time.monotonic()
        (row,) = mine.score([SUM])
        assert [score.value for score in row] == [1.0, 0.0]
        assert time.monotonic() - started > 2.5
        (fresh,) = set(place.engines()) - {stopped}
        os.kill(stopped, signal.SIGCONT)
        until(lambda: place.engines() == [fresh])
        assert len(place.sockets()) == 1
        assert mine.score([SUM])[0][0].value == 1.0


def test_a_long_request_is_not_taken_for_silence(place: Place) -> None:
    slow = Rollout(SLEEPER.prompt, (SLEEPER.completions[0].replace("2", "5"),), tests=SLEEPER.tests)
    with closing(MachineEngine(place.settings(engine_silent_seconds=3, acquire="prepare"))) as mine:
        mine.score([SUM])
        (engine,) = place.engines()
        assert mine.score([slow])[0][0].value == 1.0
        assert place.engines() == [engine]


def test_an_engine_that_was_asked_nothing_owes_no_word(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(MachineEngine(place.settings(engine_silent_seconds=3))) as mine:
        mine.score([SUM])
        (engine,) = place.engines()
        time.sleep(3.5)
        assert mine.score([SUM])[0][0].value == 1.0
        assert place.engines() == [engine]
    assert caplog.records == []


def test_an_engine_outlives_its_last_user_by_the_grace(place: Place) -> None:
    with closing(MachineEngine(place.settings(engine_grace_seconds=HANG_SECONDS))) as first:
        first.score([SUM])
    (engine,) = place.engines()
    with closing(MachineEngine(place.settings(engine_grace_seconds=HANG_SECONDS))) as second:
        second.score([SUM])
        assert place.engines() == [engine]
        os.kill(engine, signal.SIGTERM)
        until(lambda: not place.engines())
        assert second.score([SUM])[0][0].value == 1.0
        assert place.engines() != [engine]


def test_an_engine_whose_folder_was_cleared_away_ends_all_the_same(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        mine.score([SUM])
        (engine,) = place.engines()
        shutil.rmtree(place.meeting)
        assert mine.score([SUM])[0][0].value == 1.0
    until(lambda: parent(engine) == 0)


def test_the_engine_is_detached_and_gets_no_secret_but_by_its_standard_input(place: Place) -> None:
    key, password = "sk-very-secret", "pass-word-1"
    settings = place.settings(
        llm_base_url="http://127.0.0.1:9/v1", llm_model="none", llm_api_key=key, rm_server_key=password
    )
    kept = os.open(place.runtime / "kept", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(kept, True)
    with closing(MachineEngine(settings)) as mine:
        mine.score([SUM])
        (engine,) = place.engines()
        assert os.getsid(engine) != os.getsid(0)
        assert parent(engine) != os.getpid()
        opened = {os.readlink(f"/proc/{engine}/fd/{fd}") for fd in os.listdir(f"/proc/{engine}/fd")}
        assert str(place.runtime / "kept") not in opened
        seen = [Path(f"/proc/{engine}/{name}").read_bytes() for name in ("cmdline", "environ")]
        seen += [path.read_bytes() for path in place.meeting.iterdir() if path.suffix != ".sock"]
        assert all(key.encode() not in text and password.encode() not in text for text in seen)
        os.kill(engine, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{engine}") or parent(engine) == 0)
        children = subprocess.run(
            ["ps", "--ppid", str(os.getpid()), "-o", "pid="], capture_output=True, text=True
        )
        assert str(engine) not in children.stdout.split()
    os.close(kept)


def test_a_trainer_that_is_interrupted_takes_no_engine_with_it(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        first = place.client("score(SUM); print('ready', flush=True); time.sleep(60)")
        assert first.stdout is not None and first.stdout.readline()
        mine.score([SUM])
        (engine,) = place.engines()
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=PATIENCE)
        time.sleep(1)
        assert place.engines() == [engine]
        assert mine.score([SUM])[0][0].value == 1.0


def test_a_forked_child_has_a_connection_of_its_own(place: Place) -> None:
    code = """
score(SUM)
child = os.fork()
if child == 0:
    print(score(SUM), flush=True)
    time.sleep(3)
    os._exit(0)
print(score(SUM), flush=True)
close_all()
os.waitpid(child, 0)
print(score(SUM), flush=True)
"""
    said, complaints = place.client(code).communicate(timeout=PATIENCE)
    assert said == "[[1.0, 0.0]]\n" * 3, complaints


def test_a_forked_child_that_asks_nothing_does_not_keep_the_engine(place: Place) -> None:
    code = """
score(SUM)
if os.fork() == 0:
    sys.stdout.close()
    time.sleep(300)
    os._exit(0)
close_all()
print('left', flush=True)
sys.stdin.read()
"""
    client = place.client(code)
    assert client.stdout is not None and client.stdout.readline() == "left\n"
    until(lambda: not place.engines())
    (child,) = descendants(client.pid)
    os.kill(child, signal.SIGKILL)
    client.communicate("", timeout=PATIENCE)


def test_errors_of_the_engine_are_raised_as_they_are(place: Place) -> None:
    broken = place.settings(registry_url="sqlite:////proc/nowhere/rlar.db")
    with closing(MachineEngine(broken)) as mine:
        for _ in range(2):
            with pytest.raises(RegistryError, match="nowhere"):
                mine.score([SUM])
        assert len(place.engines()) == 1


def test_an_engine_that_cannot_start_is_an_error_with_its_log_left(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.runtime / "sitecustomize.py").write_text("import os\nos.environ.get('BROKEN') and os._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(place.runtime))
    monkeypatch.setenv("BROKEN", "1")
    with (
        closing(MachineEngine(place.settings())) as mine,
        pytest.raises(EngineError, match="could not be started"),
    ):
        mine.score([SUM])
