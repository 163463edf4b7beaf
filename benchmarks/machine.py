"""One engine for a machine against one per process: what a start takes and holds, and how fast each is.

Trainers' processes are stood in for by processes that call the adapters' one internal call: ``single`` (one sample a
call, one call at a time: OpenRLHF, AReaL), ``stream`` (one sample a call, 64 at a time on an event loop: verl, slime)
and ``batch`` (64 completions of mixed kinds a call: TRL, ms-swift). Every answer is checked. Both engines take turns
with the same processes, so that other work on the machine falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.server import descendants, record  # noqa: E402
from rlar_graph.adapters.shared import ascore_items, score_items  # noqa: E402
from rlar_graph.records import rollout_from  # noqa: E402
from rlar_graph.types import Rollout  # noqa: E402

PROMPTS = 100_000
TASKS = 64
STYLES = ("single", "stream", "batch")


def sum_of(chance: random.Random) -> tuple[Rollout, float]:
    """Return one cheap sample and its value."""
    number, right = chance.randrange(1, PROMPTS), chance.random() < 0.5
    text = str(number if right else number + 1)
    return Rollout(f"What is {number} + 0?", (text,), reference=str(number)), float(right)


def batch_of(chance: random.Random) -> tuple[list[Rollout], list[float | None]]:
    """Return 64 completions of mixed kinds and their values."""
    made = [record(chance.randrange(1, PROMPTS)) for _ in range(8)]
    return [rollout_from(each) for each, _ in made], [value for _, values in made for value in values]


class Caller:
    """What one process does until the time is up.

    Args:
        seed: Chooses the samples.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scored = self.wrong = 0
        self.waits: list[float] = []

    def count(self, got: list[float | None], wanted: list[float | None], started: float) -> None:
        """Count one call."""
        self.waits.append(time.perf_counter() - started)
        self.scored += len(got)
        self.wrong += sum(a != b for a, b in zip(got, wanted, strict=True))

    def single(self, until: float) -> None:
        """One sample a call, one call at a time."""
        while (started := time.perf_counter()) < until:
            rollout, value = sum_of(self.chance)
            self.count([score_items([rollout])[0][0].value], [value], started)

    def stream(self, until: float) -> None:
        """One sample a call, many calls at a time."""

        async def task() -> None:
            while (started := time.perf_counter()) < until:
                rollout, value = sum_of(self.chance)
                self.count([(await ascore_items([rollout]))[0][0].value], [value], started)

        async def all_of_them() -> None:
            await asyncio.gather(*(task() for _ in range(TASKS)))

        asyncio.run(all_of_them())

    def batch(self, until: float) -> None:
        """Sixty-four completions a call."""
        while (started := time.perf_counter()) < until:
            rollouts, values = batch_of(self.chance)
            got = [score.value for row in score_items(rollouts) for score in row]
            self.count(got, values, started)


def work(seed: int) -> None:
    """Be a process of a trainer: do what standard input says, line by line."""
    score_items(batch_of(random.Random(seed))[0])
    print("ready", flush=True)
    for line in sys.stdin:
        style, seconds = json.loads(line)
        caller = Caller(seed)
        getattr(caller, style)(time.perf_counter() + seconds)
        print(json.dumps([caller.scored, caller.wrong, caller.waits]), flush=True)


class Trainer:
    """Several processes that score with engines of one kind.

    Args:
        engine: ``own`` or ``machine``.
        processes: How many.
        folder: Holds the registry and the meeting place.
    """

    def __init__(self, engine: str, processes: int, folder: Path) -> None:
        environment = {
            **os.environ,
            "RLAR_ENGINE": engine,
            "RLAR_ENGINE_GRACE_SECONDS": "0",
            "RLAR_REGISTRY_URL": f"sqlite:///{folder}/rlar.db",
            "XDG_RUNTIME_DIR": str(folder),
        }
        self.folder = folder
        started = time.perf_counter()
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--work", str(seed)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in range(processes)
        ]
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        self.start_seconds = time.perf_counter() - started

    def run(self, style: str, seconds: float) -> tuple[float, int, float, float]:
        """Return completions a second, wrong ones, and the middle and 99th percentile of the waits in ms."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps([style, seconds]) + "\n")
            process.stdin.flush()
        said = [json.loads(process.stdout.readline()) for process in self.processes if process.stdout]
        waits = sorted(wait for each in said for wait in each[2])
        rate = sum(each[0] for each in said) / seconds
        late = waits[int(len(waits) * 0.99)]
        return rate, sum(each[1] for each in said), statistics.median(waits) * 1e3, late * 1e3

    def memory_mb(self) -> float:
        """Return the memory of all processes together, pages that several share counted once."""
        roots = [process.pid for process in self.processes]
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(path / "cwd") == str(self.folder / "rlar"):
                    roots.append(int(path.name))
        everything = {pid for root in roots for pid in (root, *descendants(root))}
        return sum(map(_proportional_mb, everything))

    def end(self) -> None:
        """Let the processes end."""
        for process in self.processes:
            process.communicate()


def _proportional_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def compare(processes: int, seconds: float, rounds: int) -> None:
    """Print one line a figure, both kinds of engine beside each other."""
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as shared:
        trainers = {}
        for engine, name in (("own", own), ("machine", shared)):
            Trainer(engine, 1, Path(name)).end()  # the registry is made, and its tools are admitted
            trainers[engine] = Trainer(engine, processes, Path(name))
            start = {"start_s": round(trainers[engine].start_seconds, 2)}
            print(json.dumps({"processes": processes, "engine": engine, **start}), flush=True)
        for style in STYLES:
            for trainer in trainers.values():
                trainer.run(style, 1.0)
            figures: dict[str, list[tuple[float, int, float, float]]] = {engine: [] for engine in trainers}
            for _ in range(rounds):
                for engine, trainer in trainers.items():
                    figures[engine].append(trainer.run(style, seconds))
            for engine, found in figures.items():
                rate, _, middle, late = (statistics.median(column) for column in zip(*found, strict=True))
                wrong = sum(each[1] for each in found)
                line = {"processes": processes, "engine": engine, "style": style, "per_s": round(rate)}
                line |= {"p50_ms": round(middle, 1), "p99_ms": round(late, 1), "wrong": wrong}
                print(json.dumps(line), flush=True)
        for engine, trainer in trainers.items():
            memory = {"memory_mb": round(trainer.memory_mb())}
            print(json.dumps({"processes": processes, "engine": engine, **memory}), flush=True)
            trainer.end()


def main() -> None:
    """Print the figures, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", default="1,4,8")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work is not None:
        work(options.work)
        return
    for processes in map(int, options.processes.split(",")):
        compare(processes, options.seconds, options.rounds)


if __name__ == "__main__":
    main()
