"""Processes that are short of file descriptors, or have very many, and views of files that differ."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rlar_graph.machine.client import MachineEngine
from rlar_graph.machine.rendezvous import Meeting
from tests.machine.conftest import SUM, Place
from tests.patience import PATIENCE, until


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have every descriptor below 1100 taken."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2048:
        pytest.skip("this machine does not allow 2048 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, before[1]))
    taken: list[int] = []
    while not taken or taken[-1] < 1100:
        taken.append(os.open(os.devnull, os.O_RDONLY))
    yield
    for each in taken:
        os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_with_more_than_a_thousand_files_waits_for_its_engine_in_peace(
    place: Place, many_descriptors: None, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        assert mine.score([SUM])[0][0].value == 1.0
        (engine,) = place.engines()
        os.kill(engine, 9)
        until(lambda: not place.engines())
        assert mine.score([SUM])[0][0].value == 1.0
    assert "broke" not in caplog.text


def test_an_engine_out_of_descriptors_lets_clients_wait_and_scores_for_those_it_has(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine, ExitStack() as crowd:
        assert mine.score([SUM])[0][0].value == 1.0
        (engine,) = place.engines()
        few = len(os.listdir(f"/proc/{engine}/fd")) + 40
        resource.prlimit(engine, resource.RLIMIT_NOFILE, (few, few))
        meeting = Meeting.at(place.settings())
        for _ in range(60):
            crowd.enter_context(meeting.connect()[0])
        (log,) = place.meeting.glob("*.log")
        until(lambda: "has to wait" in log.read_text())
        before = sum(map(int, Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[11:13]))
        assert mine.submit([SUM]).result(PATIENCE)[0][0].value == 1.0
        after = sum(map(int, Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[11:13]))
        assert after - before < 100  # hundredths of a second: it does not spin
        crowd.close()
        with closing(MachineEngine(place.settings())) as late:
            assert late.submit([SUM]).result(PATIENCE)[0][0].value == 1.0
        assert place.engines() == [engine]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_who_sees_other_files_meets_at_another_engine(place: Place) -> None:
    code = (
        "import sys\nfrom rlar_graph.machine.rendezvous import Meeting\nfrom rlar_graph.settings import Settings\n"
        "print(Meeting.at(Settings.load(registry_url=sys.argv[1])).name)"
    )
    command = [sys.executable, "-c", code, place.registry_url]
    here = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    there = subprocess.run(
        ["unshare", "--map-root-user", "--mount", *command], capture_output=True, text=True
    )
    if there.returncode and "unshare" in there.stderr:
        pytest.skip("this machine allows no mount namespace")
    assert there.returncode == 0, there.stderr
    assert len(here) == len(there.stdout) > 30
    assert here != there.stdout
