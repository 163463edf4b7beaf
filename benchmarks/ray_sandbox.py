"""What sending code through Ray costs: calls and programs a second, beside the process engine on the same machine.

``python benchmarks/ray_sandbox.py`` starts a one-node cluster for itself, unless ``--address`` names one; both engines
have as many processes at work, which are actors x CPUs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from rlar_graph.sandbox import Sandbox, TestJob, open_sandbox

CALL = "def score(completion, reference):\n    return float(completion.strip() == reference)"
MILLISECOND = "def score(completion, reference):\n    for _ in range(20_000): pass\n    return 1.0"
PROGRAM = "def pair(values, key):\n    return {key: list(values)}"
TASK = "def check(candidate):\n" + "".join(
    f"    assert candidate([{n}, 2], 'k') == {{'k': [{n}, 2]}}\n" for n in range(8)
)


@dataclass(frozen=True)
class Load:
    """One kind of work."""

    what: str
    count: int
    run: Callable[[Sandbox, int], list[float | None]]
    target: float


def calls(source: str) -> Callable[[Sandbox, int], list[float | None]]:
    """Return work of many calls with a kilobyte each."""

    def run(sandbox: Sandbox, count: int) -> list[float | None]:
        arguments = [
            {"completion": f"{'x' * 1000}{n}", "reference": f"{'x' * 1000}{n}"} for n in range(count)
        ]
        return [outcome.value for outcome in sandbox.call_batch(source, "score", arguments)]

    return run


def programs(sandbox: Sandbox, count: int) -> list[float | None]:
    """Grade many programs with eight asserts each."""
    return [outcome.value for outcome in sandbox.run_tests_batch([TestJob(PROGRAM, TASK, "pair")] * count)]


LOADS = (
    Load("calls of 1 us with 1 KB", 60_000, calls(CALL), 0.2),
    Load("calls of 1 ms with 1 KB", 2_000, calls(MILLISECOND), 0.8),
    Load("programs with 8 asserts", 400, programs, 0.8),
)


def rate(sandbox: Sandbox, load: Load, count: int) -> float:
    """Return how much a second one turn of a load does."""
    begun = time.perf_counter()
    assert load.run(sandbox, count) == [1.0] * count
    return count / (time.perf_counter() - begun)


def measure(ray: Sandbox, process: Sandbox, scale: float) -> bool:
    """Print a line per load: the engines take turns, so that both meet the same machine."""
    met = True
    for load in LOADS:
        count = int(load.count * scale)
        for sandbox in (ray, process):
            load.run(sandbox, count // 4)
        turns = [(rate(ray, load, count), rate(process, load, count)) for _ in range(5)]
        ours, theirs = statistics.median(a for a, _ in turns), statistics.median(b for _, b in turns)
        ratio = statistics.median(a / b for a, b in turns)
        met = met and ratio >= load.target
        sign = "ok  " if ratio >= load.target else "MISS"
        print(
            f"{sign} {load.what:<26} {ours:>9,.0f}/s through Ray, {theirs:>9,.0f}/s here:"
            f" {ratio:.2f} (>= {load.target})",
            flush=True,
        )
    return met


def latency(sandbox: Sandbox) -> float:
    """Return the median milliseconds of a single call."""
    spent = []
    for _ in range(200):
        begun = time.perf_counter()
        sandbox.call(CALL, "score", {"completion": "x", "reference": "x"})
        spent.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(spent)


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", help="a cluster that runs; by default one is started on this machine")
    parser.add_argument("--actors", type=int, default=1, help="actors of the Ray engine")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs of an actor, and its processes")
    parser.add_argument("--quick", action="store_true", help="a quarter of the work")
    given = parser.parse_args()
    if given.address is None:
        import ray

        ray.init(num_cpus=given.actors * given.cpus, include_dashboard=False, log_to_driver=False)
    begun = time.perf_counter()
    address = given.address or "auto"
    with (
        open_sandbox(given.actors, engine="ray", ray_address=address, ray_cpus=given.cpus) as ours,
        open_sandbox(given.actors * given.cpus, engine="process") as theirs,
    ):
        while not ours.report().layers[0].note.startswith(f"{given.actors} of"):
            time.sleep(0.1)
        print(f"{ours.report().layers[0].note}, after {time.perf_counter() - begun:.1f} s")
        met = measure(ours, theirs, 0.25 if given.quick else 1.0)
        print(f"     a single call: {latency(ours):.2f} ms through Ray, {latency(theirs):.2f} ms here")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
