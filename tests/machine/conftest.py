"""Engines of the test's own: a meeting place in the test's folder, and what runs there found in /proc."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rlar_graph.reward import AgentReward
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout

SUM = Rollout("What is 2 + 2?", ("The answer is 4.", "The answer is 5."), reference="4")
SLEEPER = Rollout(
    "Write a function f.",
    ("```python\nimport time\n\ndef f():\n    time.sleep(2)\n    return 1\n```",),
    tests=["assert f() == 1"],
)


class Place:
    """Where the engines of a test meet.

    Args:
        folder: Holds the meeting place.
        registry_url: The registry.
    """

    def __init__(self, folder: Path, registry_url: str) -> None:
        self.runtime, self.meeting = folder, folder / "rlar"
        self.registry_url = registry_url

    def settings(self, **more: object) -> Settings:
        """Return settings with the test's registry."""
        return Settings.load(**{"registry_url": self.registry_url, "engine_grace_seconds": 0.5, **more})

    def engines(self) -> list[int]:
        """Return the engines that run, by process id."""
        return [pid for pid in processes() if self._is_engine(pid)]

    def sockets(self) -> list[str]:
        """Return the sockets that lie in the meeting place."""
        return sorted(path.name for path in self.meeting.glob("*.sock"))

    def client(self, code: str, **variables: str) -> subprocess.Popen[str]:
        """Start a process that uses the engine: `score(...)` and `SUM`, `SLEEPER` are at hand in its code."""
        head = (
            "import os, sys, time\n"
            "from rlar_graph.adapters.shared import score_items, close_all\n"
            "from rlar_graph.types import Rollout\n"
            f"SUM = Rollout({SUM.prompt!r}, {SUM.completions!r}, reference='4')\n"
            f"SLEEPER = Rollout({SLEEPER.prompt!r}, {SLEEPER.completions!r}, tests={SLEEPER.tests!r})\n"
            "def score(*rollouts):\n"
            "    return [[s.value for s in row] for row in score_items(rollouts)]\n"
        )
        environment = {
            "PATH": os.environ["PATH"],
            "XDG_RUNTIME_DIR": str(self.runtime),
            "RLAR_ENGINE": "machine",
            "RLAR_REGISTRY_URL": self.registry_url,
            "RLAR_ENGINE_GRACE_SECONDS": "0.5",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-c", head + code],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.runtime,
        )

    def end(self) -> None:
        """End whatever still runs here."""
        for pid in self.engines():
            for each in (pid, *descendants(pid)):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    def _is_engine(self, pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            here = os.readlink(f"/proc/{pid}/cwd") == str(self.meeting)
            starter = os.getsid(pid) == pid  # which forks the engine and ends
        except OSError:
            return False
        return here and not starter and b"rlar_graph.machine.process" in command


def processes() -> list[int]:
    """Return every process id."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(pid: int) -> int:
    """Return a process's parent; 0 where there is no such process, or only what is left of one."""
    try:
        state, ppid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(ppid)


def descendants(pid: int) -> list[int]:
    """Return what a process started, and what that started."""
    children = [each for each in processes() if parent(each) == pid]
    return children + [each for child in children for each in descendants(child)]


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry in which the tools that these tests use were admitted."""
    url = f"sqlite:///{tmp_path_factory.mktemp('machine')}/rlar.db"
    with AgentReward(Settings.load(registry_url=url)) as reward:
        reward.score([SUM, SLEEPER])
    return url


@pytest.fixture
def place(registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A meeting place of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = Place(tmp_path, registry_url)
    yield found
    found.end()
