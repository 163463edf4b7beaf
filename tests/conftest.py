"""What holds for every test: no network but this machine's own, no settings from outside."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlar_graph.engine import Engine
from rlar_graph.settings import Settings

LOOPBACK = ("127.", "::1", "localhost")
SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse connections and look-ups that leave this machine."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = str(arguments[0])
    else:
        return
    if host not in {"", "None"} and not host.startswith(LOOPBACK):
        raise OSError(f"tests run offline, and something asked for {host}")


sys.addaudithook(_refuse_the_network)
# A shell that starts the tests in the background has them ignore interrupts, and some tests are about interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take RLAR_* away, so that a developer's own registry or key is never used by a test."""
    for name in list(os.environ):
        if name.startswith("RLAR_") and not name.startswith("RLAR_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a registry of the test's own."""
    return Settings.load(registry_url=f"sqlite:///{tmp_path}/rlar.db")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine shared by a module's tests: admitting the built-ins once is enough for them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('registry')}/rlar.db"
    with Engine(Settings.load(registry_url=url)) as opened:
        yield opened


@pytest.fixture
def shared_data() -> Path:
    """The labelled development set, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("the development set is not on this machine")
    return SHARED
