"""What the sandbox costs, beside doing without one and beside the usual guard, in one run on one machine.

``python benchmarks/sandbox.py`` prints every figure with its target; ``--quick`` takes about half a minute; ``--soak
SECONDS`` runs a mixed load instead and watches memory, descriptors and processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.managers import ListProxy

from rlar_graph.sandbox import Limits, Outcome, Sandbox, TestJob, open_sandbox

FIVE_MICROSECONDS = """
def score(completion, reference):
    hits = 0
    for word in completion[:230].split():
        hits += word in reference
    return hits / 40.0
"""
MILLISECOND = """
def score(completion, reference):
    total = 0
    for number in range(50000):
        total += number
    return float(total % 2)
"""
TASK = "def check(candidate):\n" + "".join(
    f"    assert candidate([{n}, 2], 'k') == {{'k': [{n}, 2]}}\n" for n in range(8)
)
PROGRAM = """
def pair(values, key):
    out = {}
    for value in values:
        out.setdefault(key, []).append(value)
    return out
"""


@dataclass(frozen=True)
class Line:
    """One line of the report."""

    what: str
    measured: str
    target: str
    is_met: bool


def median_of(times: int, job: Callable[[], object]) -> float:
    """Median seconds of ``job``."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        job()
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def load(source: str) -> Callable[..., float]:
    """The function ``score`` of a source, in this process."""
    scope: dict[str, Callable[..., float]] = {}
    exec(source, scope)  # noqa: S102  the benchmark's own text
    return scope["score"]


def batched(sandbox: Sandbox, name: str, source: str, count: int, target: float) -> Line:
    """One worker's rate as a share of the rate in this process: many short turns, so that both meet the same load."""
    text = " ".join(f"w{n}" for n in range(400))[:1000]
    arguments = [{"completion": text, "reference": text} for _ in range(count)]
    function = load(source)
    sandbox.call_batch(source, "score", arguments[:10])
    turns: list[tuple[float, float]] = []
    for _ in range(21):
        begun = time.perf_counter()
        for each in arguments:
            function(**each)
        between = time.perf_counter()
        outcomes = sandbox.call_batch(source, "score", arguments)
        turns.append((count / (between - begun), count / (time.perf_counter() - between)))
        assert all(outcome.status == "ok" for outcome in outcomes)
    raw, rate = sorted(turns, key=lambda turn: turn[1] / turn[0])[len(turns) // 2]
    share = rate / raw
    return Line(
        f"{name} verifier, batched, one worker",
        f"{share:.0%} of raw ({rate:,.0f}/s of {raw:,.0f}/s; {1e6 / raw:.2f} us raw)",
        f">= {target:.0%}",
        share >= target,
    )


def trainer_cpu(sandbox: Sandbox, count: int) -> Line:
    """CPU this process spends per call at 1 KB."""
    arguments = [{"completion": "x" * 1000, "reference": "y"} for _ in range(count)]
    source = "def score(completion, reference): return 1.0"
    sandbox.call_batch(source, "score", arguments[:10])
    spent = []
    for _ in range(5):
        begun = time.process_time()
        sandbox.call_batch(source, "score", arguments)
        spent.append((time.process_time() - begun) / count * 1e6)
    each = statistics.median(spent)
    return Line("trainer CPU a call, 1 KB", f"{each:.2f} us", "<= 1 us", each <= 1.0)


def bare_fork() -> None:
    """The floor of a fresh call: fork, exit, wait."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def fresh(sandbox: Sandbox, count: int) -> Line:
    """A fresh call against a bare fork, in turns."""
    source = "def score(completion): return 1.0"
    forks, calls = [], []
    for _ in range(count):
        forks.append(median_of(1, bare_fork))
        calls.append(median_of(1, lambda: sandbox.call(source, "score", {"completion": "x"}, fresh=True)))
    fork, call = statistics.median(forks), statistics.median(calls)
    ratio = call / fork
    return Line(
        "fresh call",
        f"{ratio:.1f}x a bare fork ({call * 1e3:.2f} ms, {fork * 1e3:.2f} ms)",
        "<= 6x",
        ratio <= 6,
    )


def _guarded(source: str, test: str, entry: str, result: ListProxy[str]) -> None:
    """What the guards of RL repositories do in the child: switch things off, exec program and tests together."""
    import builtins
    import shutil
    import subprocess

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for module, names in (
        (os, ("kill", "system", "remove", "fork", "rename", "rmdir", "chmod", "chown")),
        (shutil, ("rmtree", "move", "chown")),
        (subprocess, ("Popen",)),
        (builtins, ("quit",)),
    ):
        for name in names:
            setattr(module, name, None)
    scope: dict[str, object] = {}
    try:
        exec(f"{source}\n{test}\ncheck({entry})", scope)  # noqa: S102  the rival's way
        result.append("passed")
    except BaseException as error:  # noqa: BLE001  the rival's way
        result.append(f"failed: {error}")


def guard(source: str, test: str, entry: str) -> bool:
    """The usual guard: a manager, a process per sample, a list between them (HumanEval, EvalPlus, verl)."""
    manager = multiprocessing.Manager()
    result = manager.list()
    process = multiprocessing.Process(target=_guarded, args=(source, test, entry, result))
    process.start()
    process.join(timeout=5)
    if process.is_alive():
        process.kill()
    is_right = list(result) == ["passed"]
    manager.shutdown()
    return is_right


def code(sandbox: Sandbox, count: int) -> Line:
    """Eight asserts in two processes against the guard with as many workers."""
    jobs = [TestJob(PROGRAM, TASK, "pair")] * count
    sandbox.run_tests_batch(jobs[:8])
    ours, theirs = [], []
    for _ in range(3):
        begun = time.perf_counter()
        outcomes = sandbox.run_tests_batch(jobs)
        ours.append(count / (time.perf_counter() - begun))
        assert all(outcome.value == 1.0 and outcome.total == 8 for outcome in outcomes)
        few = max(8, count // 16)
        theirs.append(few / _in_threads(2, few, lambda: guard(PROGRAM, TASK, "pair")))
    rate, rival = statistics.median(ours), statistics.median(theirs)
    return Line(
        "8-assert task, two processes, 2 workers",
        f"{rate / rival:.1f}x a process-per-sample guard ({rate:.0f}/s, {rival:.1f}/s)",
        ">= 5x",
        rate >= 5 * rival,
    )


def _in_threads(threads: int, count: int, job: Callable[[], object]) -> float:
    left = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            assert job()

    begun = time.perf_counter()
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return time.perf_counter() - begun


def overshoot(sandbox: Sandbox, count: int) -> Line:
    """How long after its limit a hanging call is over."""
    source = "def score(n):\n    return float(sum(range(10**13)))"
    limit = 0.1
    sandbox.call("def score(n): return 1", "score", {"n": 1})
    late = []
    for _ in range(count):
        begun = time.perf_counter()
        outcome = sandbox.call(source, "score", {"n": 1}, Limits(seconds=limit))
        late.append((time.perf_counter() - begun - limit) * 1e3)
        assert outcome.status == "timeout"
    late.sort()
    worst = late[min(len(late) - 1, int(len(late) * 0.99))]
    return Line(
        "timeout overshoot, p99",
        f"{worst:.0f} ms (median {late[len(late) // 2]:.0f})",
        "<= 50 ms",
        worst <= 50,
    )


def lossless(sandbox: Sandbox, count: int) -> Line:
    """Every result in its place, under random kills."""
    source = (
        "import os\ndef score(n, die):\n    if die == 1: os._exit(0)\n"
        "    if die == 2:\n        while True: pass\n    return float(n)"
    )
    rng = random.Random(0)
    done = wrong = kills = 0
    while done < count:
        size = min(20_000, count - done)
        fates = [rng.choice((1, 1, 2)) if rng.random() < 0.0005 else 0 for _ in range(size)]
        calls = [{"n": done + place, "die": fate} for place, fate in enumerate(fates)]
        outcomes = sandbox.call_batch(source, "score", calls, Limits(seconds=0.5))
        for place, (fate, outcome) in enumerate(zip(fates, outcomes, strict=True)):
            expected = ("ok", "crashed", "timeout")[fate]
            wrong += outcome.status != expected or (fate == 0 and outcome.value != done + place)
        kills += sum(fate != 0 for fate in fates)
        done += size
    return Line(f"{done:,} calls with {kills} kills", f"{wrong} lost or swapped", "0", wrong == 0)


def leftovers(sandbox: Sandbox, batches: int) -> Line:
    """Descriptors, processes and shared pages after batches of 100 calls, each of which kills two workers."""
    source = "import os\ndef score(n):\n    if n == 50: os._exit(0)\n    return 1.0"
    calls = [{"n": n} for n in range(100)]
    sandbox.call_batch(source, "score", calls)
    before = (*footprint()[1:], _shared_mib())
    for _ in range(batches):
        assert sum(outcome.status == "ok" for outcome in sandbox.call_batch(source, "score", calls)) == 99
    time.sleep(0.2)
    after = (*footprint()[1:], _shared_mib())
    files, processes, shared = (late - early for early, late in zip(before, after, strict=True))
    return Line(
        f"left by {batches * 100:,} calls and {batches * 2:,} kills",
        f"{files:+d} descriptors, {processes:+d} processes, {shared:+d} MiB shared",
        "none",
        files <= 2 and processes <= 1 and shared < 64,
    )


def _shared_mib() -> int:
    """Shared memory in use on the whole machine: a page nobody maps any more still shows here."""
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Shmem:")) >> 10


def report(lines: Sequence[Line]) -> bool:
    """Print the lines; say whether every target is met."""
    for line in lines:
        print(
            f"{'ok ' if line.is_met else 'MISS'} {line.what:<45} {line.measured:<62} {line.target}",
            flush=True,
        )
    return all(line.is_met for line in lines)


def measure(quick: bool) -> bool:
    """Measure everything."""
    scale = 1 if quick else 5
    with open_sandbox(workers=1) as one, open_sandbox(workers=2) as two:
        print(one.report().summary)
        met = [
            report([batched(one, "5 us", FIVE_MICROSECONDS, 8_000 * scale, 0.60)]),
            report([batched(one, "1 ms", MILLISECOND, 200 * scale, 0.95)]),
            report([trainer_cpu(one, 20_000 * scale)]),
            report([fresh(one, 200 * scale)]),
            report([code(two, 200 * scale)]),
            report([overshoot(one, 20 * scale)]),
            report([leftovers(two, 100 if quick else 1000)]),
            report([lossless(two, 50_000 if quick else 1_000_000)]),
        ]
    return all(met)


def footprint() -> tuple[int, int, int]:
    """This process's memory in KiB, its descriptors, and the processes it started and theirs."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * 4, len(os.listdir("/proc/self/fd")), len(_family(os.getpid()))


def _family(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def _mixed(sandbox: Sandbox, rng: random.Random) -> Sequence[Outcome]:
    short = Limits(seconds=0.3)
    pick = rng.randrange(8)
    if pick == 0:
        return [sandbox.call("def f():\n    while True: pass", "f", {}, short)]
    if pick == 1:
        return [sandbox.call("import os\ndef f(): os._exit(0)", "f", {}, short)]
    if pick == 2:
        return [sandbox.call("def f(): return len(bytearray(1 << 40))", "f", {}, short)]
    if pick == 3:
        return [sandbox.run_tests("import os\ndef pair(v, k): os._exit(0)", TASK, "pair", short)]
    if pick == 4:
        return [sandbox.run_tests("print(int(input()) * 2)", [["2", "4"], ["3", "6"]])]
    if pick == 5:
        return [sandbox.call(f"def f(): return {rng.randrange(100)}", "f", {}, fresh=True)]
    if pick == 6:
        return sandbox.run_tests_batch([TestJob(PROGRAM, TASK, "pair")] * 8)
    return sandbox.call_batch(FIVE_MICROSECONDS, "score", [{"completion": "a b", "reference": "a"}] * 2000)


def soak(seconds: float) -> bool:
    """Mixed hostile and honest load; memory, descriptors and processes must stay flat."""
    marks: list[tuple[int, int, int]] = []
    with open_sandbox(workers=2) as sandbox:
        end = time.monotonic() + seconds
        done = [0] * 4

        def work(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < end:
                done[number] += len(_mixed(sandbox, rng))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while time.monotonic() < end:
            time.sleep(min(10.0, seconds / 6))
            marks.append(footprint())
            print(
                f"{time.monotonic() - begun:5.0f} s  {marks[-1][0] >> 10} MiB  {marks[-1][1]} descriptors  "
                f"{marks[-1][2]} processes  {sum(done):,} calls",
                flush=True,
            )
        for thread in threads:
            thread.join()
    early, late = marks[len(marks) // 4], marks[-1]
    grown = (late[0] - early[0]) >> 10
    left = len(_family(os.getpid())) - 1
    line = Line(
        f"soak of {seconds:.0f} s",
        f"{grown:+d} MiB, {late[1] - early[1]:+d} descriptors, {left} left",
        "flat",
        grown < 8 and late[1] - early[1] < 16 and left == 0,
    )
    return report([line])


def main() -> int:
    """Run the benchmark; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="about half a minute")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="mixed load for so long")
    options = parser.parse_args()
    met = soak(options.soak) if options.soak else measure(options.quick)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
