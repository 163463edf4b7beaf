"""The front door: pick an engine and start it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rlar_graph.errors import SandboxUnavailable

if TYPE_CHECKING:
    from rlar_graph.sandbox.base import Sandbox

ENGINES = ("process", "ray", "e2b", "unsafe")
"""Engines by name; ``unsafe`` confines nothing and must be asked for by name."""


def open_sandbox(
    workers: int = 2, *, engine: str | None = None, ray_address: str = "auto", ray_cpus: float = 1.0
) -> Sandbox:
    """Start a sandbox.

    Args:
        workers: Processes that may work at once; actors, for ``ray``.
        engine: ``process`` (the default), ``ray``, ``e2b``, or ``unsafe``. Where it is not given, the environment
            variable ``RLAR_SANDBOX`` decides.
        ray_address: The Ray cluster, unless this process has joined one.
        ray_cpus: CPUs that a Ray actor reserves, and uses.

    Returns:
        A running sandbox; use it as a context manager.

    Raises:
        SandboxUnavailable: The engine cannot confine code on this machine, or there is no such engine.
    """
    chosen = engine or os.environ.get("RLAR_SANDBOX") or "process"
    if chosen not in ENGINES:
        raise SandboxUnavailable(f"there is no sandbox engine {chosen!r}; choose one of {', '.join(ENGINES)}")
    if workers < 1:
        raise SandboxUnavailable(f"a sandbox needs at least one worker, not {workers}")
    if chosen == "e2b":
        try:
            from rlar_graph.sandbox.e2b import E2BSandbox
        except ImportError as error:
            raise SandboxUnavailable('the E2B engine needs: pip install "rlar-graph[e2b]"') from error
        return E2BSandbox(workers)
    if chosen == "ray":
        from rlar_graph.sandbox.ray_pool import RaySandbox

        return RaySandbox(workers, address=ray_address, cpus=ray_cpus)
    from rlar_graph.sandbox.process import ProcessSandbox

    if chosen == "unsafe":
        sys.stderr.write(
            "rlar sandbox: UNSAFE, as asked for: generated code runs with every right of this user\n"
        )
        return ProcessSandbox(workers, confine=False)
    if sys.platform != "linux":
        raise SandboxUnavailable(f"the process engine needs Linux, not {sys.platform}. {WAYS_OUT}")
    try:
        return ProcessSandbox(workers)
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{error}. {WAYS_OUT}") from error


WAYS_OUT = (
    'Run code remotely with open_sandbox(engine="e2b"), or give up confinement by typing '
    'RLAR_SANDBOX=unsafe or open_sandbox(engine="unsafe")'
)
"""What a refusal offers."""
