"""The sandbox contract: what every engine promises, whatever it is made of.

A sandbox runs Python that is hostile until proven otherwise and hands back one checked number per call. It never
raises for what the program did; that is an :class:`Outcome` with a status. It raises
:class:`~rlar_graph.errors.SandboxError` only when it cannot do its own work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

Status: TypeAlias = Literal["ok", "error", "timeout", "memory", "crashed", "invalid", "refused"]
Fault: TypeAlias = Literal["", "program", "sandbox"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use. A call that goes over is stopped by a kill, not asked to stop."""

    seconds: float = 5.0
    """Wall-clock seconds for one call (for :meth:`Sandbox.run_tests`, for the whole test run). Defining the source
    counts as a call of its own."""
    memory_mb: int = 512
    """Address space in MiB, beyond what the interpreter itself has mapped."""
    output_kb: int = 64
    """KiB of printed output kept; the rest is dropped without stopping the program."""
    disk_mb: int = 0
    """MiB of scratch space at most. The process engine gives none, whatever is allowed: nothing can be written."""
    processes: int = 0
    """Further processes or threads at most. The process engine gives none, whatever is allowed."""


@dataclass(frozen=True)
class Outcome:
    """What came of one call."""

    status: Status
    """``ok`` is the only status that carries a value; no other status may be read as a score."""
    value: float | None = None
    """The finite number returned, as a float; for a test run, the fraction of tests passed in [0, 1]."""
    detail: str = ""
    """Bounded text for people: the kind of error, the limit that was hit, tests passed of how many."""
    seconds: float = 0.0
    """Wall-clock seconds the call took."""
    passed: int = 0
    """Tests passed (test runs only)."""
    total: int = 0
    """Tests counted (test runs only)."""
    attested: bool = True
    """False when the program could have forged its own result: it shared a process with its grader, or nothing
    confined it."""
    fault: Fault = ""
    """Whose fault a missing or partial result is. ``program``: what the code under test did, so a verifier may
    call it wrong. ``sandbox``: the engine's, the tests' or the caller's, so a verifier must abstain."""


@dataclass(frozen=True, slots=True)
class TestJob:
    """One program to be run against tests it cannot see."""

    __test__ = False  # pytest must not collect it

    source: str
    """The program."""
    tests: object
    """What it must pass; the forms are listed at :meth:`Sandbox.run_tests`."""
    entry_point: str | None = None
    """Name of the function under test; found in the tests where it is not given."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of confinement as found on this machine."""

    name: str
    """``seccomp``, ``landlock``, ``namespaces``, ..."""
    active: bool
    """Whether the layer is in force."""
    note: str = ""
    """Version, mode, or the reason why the layer is off."""


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What confines code on this machine, as measured by attacking it, not as configured."""

    engine: str
    """``process``, ``e2b`` or ``unsafe``."""
    confined: bool
    """Whether the self-test's attacks were all contained."""
    layers: tuple[Layer, ...] = ()
    """Every layer tried, in force or not."""
    escaped: tuple[str, ...] = field(default=())
    """Names of the self-test attacks that got through; empty on a confined engine."""

    @property
    def summary(self) -> str:
        """One line for logs and results, e.g. ``process: seccomp+landlock+rlimits``."""
        layers = "+".join(layer.name for layer in self.layers if layer.active)
        return f"{self.engine}: {layers or 'no confinement'}"


DEFAULT = Limits()


class Sandbox(Protocol):
    """Runs untrusted Python. Safe to share between threads; a context manager that ends its processes.

    Engines derive from it; what is the same for all of them is written here.
    """

    def call(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, object],
        limits: Limits = DEFAULT,
        *,
        fresh: bool = False,
    ) -> Outcome:
        """Define ``source`` in a worker and call ``function(**arguments)``; its number is the outcome's value.

        Args:
            source: Python that defines ``function``. Code that runs a completion (exec, eval, compile) is refused;
                it may call ``run_code(code, tests, entry_point=None)``, which gives the fraction of tests passed.
            function: Name of the function to call.
            arguments: Keyword arguments made of None, bool, int, float, str, bytes and containers of them.
            limits: What the call may use.
            fresh: Use a new process for this call alone, for code that keeps state between calls.

        Returns:
            The outcome; only exact, finite int, float and bool values are ``ok``.
        """
        return self.call_batch(source, function, [arguments], limits, fresh=fresh)[0]

    def call_batch(
        self,
        source: str,
        function: str,
        arguments: Sequence[Mapping[str, object]],
        limits: Limits = DEFAULT,
        *,
        fresh: bool = False,
    ) -> list[Outcome]:
        """Call ``function`` once per mapping, in order; limits hold per call and one bad call spoils no other."""
        ...

    def run_tests(
        self,
        source: str,
        tests: object,
        entry_point: str | None = None,
        limits: Limits = DEFAULT,
        *,
        same_process: bool = False,
    ) -> Outcome:
        """Run the program ``source`` against ``tests`` it cannot see; value is the fraction of tests passed.

        ``ok`` means that grading ran to its end. A program that hangs, dies, eats its memory or cannot be loaded
        gives ``timeout``, ``crashed``, ``memory`` or ``error`` with fault ``program``: it failed its tests. Fault
        ``sandbox`` says nothing about the program.

        Args:
            source: The program.
            tests: Python text (a ``check(candidate)`` function, asserts, ``test_*`` functions or a
                ``unittest.TestCase``); a list of assert statements; or input/output pairs: a list of
                ``{"input", "output"}`` dicts, a list of two-element lists, or ``{"inputs": [...], "outputs": [...]}``
                (with ``entry_point`` or ``fn_name``: call arguments and results).
            entry_point: Name of the function under test.
            limits: What the whole run may use.
            same_process: Run program and tests in one process, for tests that need classes or callables from the
                program. Such a program can forge its verdict, so the outcome is not attested.
        """
        ...

    def run_tests_batch(self, jobs: Sequence[TestJob], limits: Limits = DEFAULT) -> list[Outcome]:
        """Grade many programs in parallel, in order, as :meth:`run_tests` grades one."""
        ...

    def report(self) -> SandboxReport:
        """Say what confines code here."""
        ...

    def close(self) -> None:
        """End every process; calls in flight end as ``crashed`` with fault ``sandbox``."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
