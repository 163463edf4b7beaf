"""Claims that are renewed in the background while their process lives, and no longer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from rlar_graph.registry import Attempt, open_registry
from rlar_graph.registry.leases import Leases
from tests.patience import until

SECONDS = 3.0
"""Of a lease: a quarter of it passes between two renewals, and a busy machine may be late with one."""


def test_a_lease_outlives_its_seconds_and_ends_with_drop(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        leases = Leases(registry, SECONDS)
        owner = leases.take("f")
        assert owner is not None
        assert leases.take("f") is None, "another thread of the process may not have it either"
        assert Leases(registry, SECONDS).take("f") is None
        time.sleep(SECONDS + 0.5)
        assert registry.claimed_by("f") == owner
        leases.drop("f", owner)
        leases.drop("f", owner)
        assert registry.claimed_by("f") is None
        assert leases.take("f") not in (None, owner)
        leases.close()
        leases.close()
        assert registry.claimed_by("f") is None
        assert "rlar-leases" not in {thread.name for thread in threading.enumerate()}


def test_a_lease_that_the_registrar_gave_back_is_not_renewed(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        leases = Leases(registry, SECONDS)
        owner = leases.take("f")
        registry.record_attempt(Attempt("f", "judge", "refused", "-"), owner=owner)
        assert registry.claim("f", "other", 60)
        time.sleep(SECONDS / 2)
        assert registry.claimed_by("f") == "other"
        leases.close()
        assert registry.claimed_by("f") == "other"


def test_a_lease_whose_work_is_not_gone_on_with_is_given_back(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        leases = Leases(registry, SECONDS)
        owner = leases.take("f")
        assert owner is not None
        with leases.working("f", owner):
            time.sleep(0.3)
            assert registry.claimed_by("f") == owner
        time.sleep(0.3)
        with leases.working("f", owner):
            time.sleep(SECONDS + 0.5)
            assert registry.claimed_by("f") == owner, "it was gone on with in time"
        until(lambda: registry.claimed_by("f") is None)
        assert leases.take("f") not in (None, owner)
        leases.close()


def test_a_frozen_registry_gives_no_lease(shared_url: str) -> None:
    with open_registry(shared_url, frozen=True) as registry:
        assert Leases(registry).take("f") is None


HOLDER = """
import sys, time
from rlar_graph.registry import open_registry
from rlar_graph.registry.leases import Leases
with open_registry(sys.argv[1]) as registry:
    print(Leases(registry, float(sys.argv[2])).take("f"), flush=True)
    time.sleep(60)
"""


def test_the_lease_of_a_killed_process_can_be_taken_soon(shared_url: str) -> None:
    with open_registry(shared_url) as registry:
        command = [sys.executable, "-c", HOLDER, shared_url, str(SECONDS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline().strip() == registry.claimed_by("f")
            time.sleep(SECONDS + 0.5)
            assert registry.claimed_by("f") is not None
            holder.send_signal(signal.SIGKILL)
        leases = Leases(registry, 30)
        until(lambda: leases.take("f") is not None)
        leases.close()
