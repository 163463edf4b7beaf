"""The Ray engine: the same contract on the nodes of a cluster, each of which runs the process engine.

The trainer sends calls and programs to actors in pieces; each actor is the owner of an ordinary process sandbox on its
node, which confines the code there as it would here. The trainer trusts the nodes: what confines the code is in the
report, as found by the self-test of every node. A node has rlar-graph installed, in the trainer's version.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlar_graph import __version__
from rlar_graph.cluster import START_SECONDS, Fleet, Lost, Pace, Part, join, node_id, spread
from rlar_graph.errors import SandboxClosed, SandboxError, SandboxUnavailable
from rlar_graph.sandbox.base import DEFAULT, Layer, Limits, Outcome, Sandbox, SandboxReport, TestJob
from rlar_graph.sandbox.process import ProcessSandbox, refuse_limits

PIECE_SECONDS = 0.1
FIRST_CALLS, MOST_CALLS = 32, 2048
MOST_PROGRAMS = 64
SLICE = 8
"""Calls after which an actor first looks at the clock; it doubles while they are quick."""
MOST_SLICE = 256
ROUNDS = 4
"""Programs for each process at most before an actor looks at the clock; one, while they are slow."""
PATIENCE = 60.0
"""Seconds beside the limits of its calls after which a piece's actor is taken for hung."""
Program = tuple[TestJob, bool]


class Station:
    """The actor: a process sandbox on one node. It does one piece at a time.

    Args:
        version: The trainer's version of this library.
        workers: Processes of its sandbox.

    Raises:
        SandboxUnavailable: The node has another version, or cannot confine code.
    """

    def __init__(self, version: str, workers: int) -> None:
        if version != __version__:
            raise SandboxUnavailable(
                f"{socket.gethostname()} has rlar-graph {__version__} and the trainer {version}: install the same"
            )
        self._workers = workers
        self._sandbox = ProcessSandbox(workers)

    def hello(self) -> tuple[str, SandboxReport]:
        """Return Ray's name of the node and what confines code there."""
        return node_id(), self._sandbox.report()

    def calls(
        self,
        source: str,
        function: str,
        limits: Limits,
        fresh: bool,
        arguments: Sequence[Mapping[str, object]],
    ) -> Part[Outcome]:
        """Call a function once per mapping, as many as there is time for."""

        def some(start: int, size: int) -> list[Outcome]:
            return self._sandbox.call_batch(
                source, function, arguments[start : start + size], limits, fresh=fresh
            )

        return _until_late(some, len(arguments), SLICE, MOST_SLICE)

    def programs(self, limits: Limits, jobs: Sequence[Program]) -> Part[Outcome]:
        """Grade programs, as many as there is time for."""

        def some(start: int, size: int) -> list[Outcome]:
            part = jobs[start : start + size]
            if not any(same_process for _, same_process in part):
                return self._sandbox.run_tests_batch([job for job, _ in part], limits)
            return [
                self._sandbox.run_tests(job.source, job.tests, job.entry_point, limits, same_process=same)
                for job, same in part
            ]

        return _until_late(some, len(jobs), self._workers, ROUNDS * self._workers)


def _until_late(some: Callable[[int, int], list[Outcome]], count: int, size: int, most: int) -> Part[Outcome]:
    """Do jobs slice by slice until they are done or have taken longer than a piece should."""
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    while True:
        outcomes += some(len(outcomes), size)
        spent = time.monotonic() - begun
        if len(outcomes) >= count or spent > 2 * PIECE_SECONDS:
            return Part(outcomes, spent)
        size = min(2 * size, most)


class RaySandbox(Sandbox):
    """Runs untrusted Python on the nodes of a Ray cluster. Safe to share between threads.

    Args:
        workers: Actors; they are spread over the nodes.
        address: The cluster, see :func:`rlar_graph.cluster.join`.
        cpus: CPUs that an actor reserves, and processes that work for it; below one it has one process.
        start_seconds: How long to wait for the first actor, now and whenever none is left.

    Raises:
        SandboxUnavailable: There is no cluster, no room in it, or no node that can confine code.
    """

    def __init__(
        self,
        workers: int = 2,
        *,
        address: str = "auto",
        cpus: float = 1.0,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self._owner = os.getpid()
        self._slots = max(1, int(cpus))
        try:
            join(address)
            self._fleet = Fleet(
                Station, (__version__, self._slots), workers, cpus=cpus, start_seconds=start_seconds
            )
            self._fleet.open()
        except ConnectionError as error:
            raise SandboxUnavailable(f"the Ray engine cannot work: {error}") from error

    def call_batch(
        self,
        source: str,
        function: str,
        arguments: Sequence[Mapping[str, object]],
        limits: Limits = DEFAULT,
        *,
        fresh: bool = False,
    ) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.call_batch`."""

        def send(handle: Any, part: Sequence[Mapping[str, object]]) -> Any:
            return handle.calls.remote(source, function, limits, fresh, list(part))

        return self._spread(arguments, send, limits, FIRST_CALLS, MOST_CALLS, MOST_SLICE)

    def run_tests(
        self,
        source: str,
        tests: object,
        entry_point: str | None = None,
        limits: Limits = DEFAULT,
        *,
        same_process: bool = False,
    ) -> Outcome:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests`."""
        return self._programs([(TestJob(source, tests, entry_point), same_process)], limits)[0]

    def run_tests_batch(self, jobs: Sequence[TestJob], limits: Limits = DEFAULT) -> list[Outcome]:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.run_tests_batch`."""
        return self._programs([(job, False) for job in jobs], limits)

    def _programs(self, jobs: Sequence[Program], limits: Limits) -> list[Outcome]:
        def send(handle: Any, part: Sequence[Program]) -> Any:
            return handle.programs.remote(limits, list(part))

        return self._spread(jobs, send, limits, self._slots, MOST_PROGRAMS, ROUNDS)

    def _spread(
        self,
        jobs: Sequence[Any],
        send: Callable[[Any, Sequence[Any]], Any],
        limits: Limits,
        first: int,
        most: int,
        at_once: int,
    ) -> list[Outcome]:
        self._check_open()
        refusal = refuse_limits(limits)
        if refusal is not None:
            return [refusal] * len(jobs)
        # An actor looks at the clock between slices, and every call of the last one may take its limit.
        patience = PATIENCE + at_once * (limits.seconds + 1.0)
        found = spread(self._fleet, jobs, send, Pace(first, most, PIECE_SECONDS, patience))
        if self._fleet.closed:
            raise SandboxClosed("the sandbox is closed")
        return [_outcome(each) if isinstance(each, Lost) else each for each in found]

    def report(self) -> SandboxReport:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.report`: a layer is in force if it is on every node."""
        told: list[tuple[str, SandboxReport]] = [member.told for member in self._fleet.ready()]
        nodes = len({node for node, _ in told})
        actors = Layer("ray", True, f"{len(told)} of {self._fleet.count} actors, on {nodes} nodes")
        reports = [report for _, report in told]
        names = dict.fromkeys(layer.name for report in reports for layer in report.layers)
        escaped = dict.fromkeys(attack for report in reports for attack in report.escaped)
        return SandboxReport(
            "ray",
            bool(reports) and all(report.confined for report in reports),
            (actors, *(_weakest(name, reports) for name in names)),
            tuple(escaped),
        )

    def close(self) -> None:
        """As :meth:`rlar_graph.sandbox.base.Sandbox.close`; the connection to the cluster stays."""
        if os.getpid() == self._owner:
            self._fleet.close()

    def _check_open(self) -> None:
        if self._fleet.closed:
            raise SandboxClosed("the sandbox is closed")
        if os.getpid() != self._owner:
            raise SandboxError("this sandbox was opened before a fork: open one in each process")


def _outcome(lost: Lost) -> Outcome:
    """Return what a job without a result comes to: nothing is known of the program."""
    if lost.sent:
        return Outcome("crashed", None, lost.why, fault="sandbox")
    return Outcome("refused", None, f"the arguments cannot be sent: {lost.why}", fault="sandbox")


def _weakest(name: str, reports: Sequence[SandboxReport]) -> Layer:
    """Return a layer as it is on the node where it is weakest."""
    found = [layer for report in reports for layer in report.layers if layer.name == name]
    off = next((layer for layer in found if not layer.active), None)
    if off is None and len(found) < len(reports):
        return Layer(name, False, "not on every node")
    return off or found[0]
