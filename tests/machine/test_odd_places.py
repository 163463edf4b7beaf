"""Unlucky operators: streams closed, signals ignored, folders full or somebody else's, forks at the wrong moment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rlar_graph.errors import EngineError
from rlar_graph.machine.client import MachineEngine
from rlar_graph.machine.name import source_digest
from rlar_graph.machine.rendezvous import Meeting, locked, open_folder
from tests.machine.conftest import SUM, Place, descendants
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parents[2]


QUICK = "Rollout('Write a function f.', ('def f(): return 1',), tests=['assert f() == 1'])"


@pytest.mark.parametrize(
    "before",
    [
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "kept = os.dup(1); os.close(0); os.close(1); os.close(2); sys.stdout = os.fdopen(kept, 'w')",
    ],
    ids=["children ignored", "signals blocked", "streams closed"],
)
def test_an_engine_does_not_inherit_what_its_starter_did_to_itself(place: Place, before: str) -> None:
    client = place.client(f"{before}\nprint(score(SUM, {QUICK}), flush=True)")
    said, complaints = client.communicate(timeout=2 * PATIENCE)
    assert said == "[[1.0, 0.0], [1.0]]\n", complaints


def test_nor_does_a_sandbox(place: Place) -> None:
    ending = "Rollout('Write a function f.', ('import os\\nos._exit(1)',) * 2, tests=['assert f() == 1'])"
    ignoring = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
    code = f"{ignoring}\nprint(score({ending}), score({QUICK}), flush=True)"
    client = place.client(code, RLAR_ENGINE="own")
    try:
        said, complaints = client.communicate(timeout=1.5 * PATIENCE)
    finally:
        client.kill()
        client.communicate()
    assert said == "[[0.0, 0.0]] [[1.0]]\n", complaints


FORKS_MEANWHILE = """
import glob, threading
os.environ['SLOW'] = '1'
asking = threading.Thread(target=lambda: print(score(SUM), flush=True))
asking.start()
while not glob.glob(os.environ['XDG_RUNTIME_DIR'] + '/rlar/*.sock'):
    time.sleep(0.01)
if os.fork() == 0:
    sys.stdout.close()
    time.sleep(120)
    os._exit(0)
asking.join()
close_all()
print('left', flush=True)
sys.stdin.read()
"""


def test_a_child_forked_while_an_engine_is_started_keeps_neither_it_nor_the_lock(place: Place) -> None:
    (place.runtime / "sitecustomize.py").write_text(
        "import os, time\nos.environ.get('SLOW') and time.sleep(1)\n"
    )
    client = place.client(FORKS_MEANWHILE, PYTHONPATH=f"{place.runtime}{os.pathsep}{ROOT}")
    assert client.stdout is not None
    assert [client.stdout.readline() for _ in range(2)] == ["[[1.0, 0.0]]\n", "left\n"]
    (child,) = [pid for pid in descendants(client.pid) if pid not in place.engines()]
    until(lambda: not place.engines() and not place.sockets())
    with open_folder() as folder, locked(folder, 0):
        pass
    os.kill(child, signal.SIGKILL)
    client.communicate("", timeout=PATIENCE)


def test_an_edited_source_is_not_served_by_an_engine_that_runs_the_old_one(place: Place) -> None:
    copy = place.runtime / "source"
    shutil.copytree(ROOT / "rlar_graph", copy / "rlar_graph", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("nodes", "prompts"):
        if not (copy / "rlar_graph" / name).is_dir():  # a checkout without symbolic links
            pytest.skip("the package cannot be copied")
    old = place.client("print(score(SUM), flush=True); sys.stdin.read()", PYTHONPATH=str(copy))
    assert old.stdout is not None
    assert old.stdout.readline() == "[[1.0, 0.0]]\n"
    with (copy / "rlar_graph" / "scoring.py").open("a") as file:
        file.write("# edited\n")
    new = place.client("print(score(SUM), flush=True); sys.stdin.read()", PYTHONPATH=str(copy))
    assert new.stdout is not None
    assert new.stdout.readline() == "[[1.0, 0.0]]\n"
    assert len(place.engines()) == 2
    for client in (old, new):
        client.communicate("", timeout=PATIENCE)
    until(lambda: not place.engines())


def test_what_is_compiled_or_an_editors_does_not_count_as_source(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = source_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("y")
    (tmp_path / ".a.py.swp").write_text("y")
    (tmp_path / ".#a.py").symlink_to("nowhere")
    assert source_digest(tmp_path) == before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert source_digest(tmp_path) != before


def test_a_line_that_is_full_is_waited_in(place: Place) -> None:
    settings = place.settings()
    with open_folder() as folder, socket.socket(socket.AF_UNIX) as busy, ExitStack() as crowd:
        path = f"/proc/self/fd/{folder}/{Meeting.at(settings).name}.sock"
        busy.bind(path)
        busy.listen(0)
        while True:
            other = crowd.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            try:
                other.connect(path)
            except BlockingIOError:
                break
        with closing(MachineEngine(settings)) as mine:
            waiting = mine.submit([SUM])
            with pytest.raises(TimeoutError):
                waiting.result(1)
            busy.close()
            assert waiting.result(2 * PATIENCE)[0][0].value == 1.0


def test_a_lock_that_is_held_for_too_long_is_named(place: Place) -> None:
    held = pytest.raises(BlockingIOError, match=r"rlar/lock was held for 0\.1 s")
    with open_folder() as folder, locked(folder), held, locked(folder, 0.1):
        pass


def test_a_folder_in_which_nothing_can_be_made_says_what_to_set(place: Place) -> None:
    place.meeting.mkdir(mode=0o700)
    (place.meeting / "lock").mkdir()
    with pytest.raises(EngineError, match=r"nothing can be made in .*/rlar.*RLAR_ENGINE=own"), open_folder():
        pass


def test_a_machine_without_room_for_temporary_files_says_what_to_set(place: Place) -> None:
    code = (
        "import resource\nfrom rlar_graph.errors import EngineError\n"
        "from rlar_graph.machine.rendezvous import open_folder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try:\n    open_folder().__enter__()\nexcept EngineError as error:\n    print(error)\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=place.runtime
    )
    assert "no folder to meet in" in done.stdout, done.stderr
    assert "RLAR_ENGINE=own" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_that_came_with_sudo_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = place.runtime / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, -1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(theirs))
    monkeypatch.setattr("tempfile.tempdir", str(place.runtime))
    with open_folder() as folder:
        assert os.readlink(f"/proc/self/fd/{folder}") == str(place.runtime / "rlar-0")
    assert list(theirs.iterdir()) == []
