"""The server under load: 64 clients, every answer checked, beside the same engine called in process.

Clients are asyncio protocols in processes of their own, each with one connection and one request at a time. Scenes:
``single`` (one completion a request, a verifier that does next to nothing), ``mixed`` (64 completions a request, maths,
choices, short answers, instructions, schemas and code), and ``mixed`` again with a sandbox worker killed every second,
with the registry locked for 5 s, and with a language model configured that cannot be reached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rlar_graph import AgentReward, Rollout, Settings
from rlar_graph.library import Loaded
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.types import RIGHT, WRONG, Verdict

Record = dict[str, object]
GROUP = 8


class Trivial:
    """Compares texts; stands for the cheapest verifier there can be."""

    spec = ToolSpec("trivial", "verifier", "the completion is the reference")

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return a verdict per completion."""
        return [[RIGHT if text == r.reference else WRONG for text in r.completions] for r in rollouts]


def use_trivial(reward: AgentReward) -> None:
    """Let the trivial verifier serve what the maths verifier serves."""
    reward.score([{"prompt": "What is 1 + 1?", "completions": ["2"], "reference": "2"}])
    reward.score([{"prompt": "What is 1 + 1?", "completions": ["2"], "reference": "2"}])
    found = reward._engine.library._found
    for key in list(found):
        found[key] = Loaded(Trivial(), "maths", 1)


def record(number: int) -> tuple[Record, list[float | None]]:
    """Return one prompt with its completions, and their true values; which sort it is follows from the number.

    One sort has no evidence: it must abstain, and with a language model configured a tool is sought for it.
    """
    right = [(number * 7 + k) % 3 != 0 for k in range(GROUP)]
    sort = number % 17
    made: Record
    if sort == 16:
        topics = ("rain", "the sea", "a stone")
        made = {"prompt": f"Write a poem of {number % 9 + 2} lines about {topics[number % 3]}."}
        return made | {"completions": ["Rain falls."] * GROUP}, [None] * GROUP
    if sort == 0:
        texts = [f"```python\ndef f(x):\n    return x + {number + (not ok)}\n```" for ok in right]
        made = {
            "prompt": f"Write f(x) that adds {number}.",
            "tests": [f"assert f(1) == {number + 1}"],
        }
    elif sort < 4:
        texts = [f"The answer is \\boxed{{\\frac{{{number}}}{{{7 if ok else 6}}}}}." for ok in right]
        made = {"prompt": f"What is {number} / 7?", "reference": f"\\frac{{{number}}}{{7}}"}
    elif sort < 9:
        texts = [f"The answer is {number + (not ok)}." for ok in right]
        made = {"prompt": f"What is {number} + 0?", "reference": str(number)}
    elif sort < 12:
        texts = [f"The answer is {'B' if ok else 'C'}." for ok in right]
        prompt = f"Which is {number}?\nA. none\nB. {number}\nC. {number + 1}"
        made = {"prompt": prompt, "reference": "B", "choices": ["none", str(number), str(number + 1)]}
    elif sort < 14:
        texts = [f"Line {number}{'' if ok else ','} and on." for ok in right]
        made = {
            "prompt": f"Say {number}. Use no commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        }
    else:
        texts = [json.dumps({"n": number if ok else "x"}) for ok in right]
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        made = {"prompt": f"Give n = {number} as JSON.", "schema": schema}
    return made | {"completions": texts}, [float(ok) for ok in right]


def mixed_body(rng: random.Random, prompts: int) -> tuple[str, bytes, list[float | None]]:
    """Return a request of 64 completions and its true values."""
    made = [record(rng.randrange(1, prompts)) for _ in range(8)]
    body = json.dumps({"rollouts": [each for each, _ in made]}).encode()
    return "/score", body, [value for _, values in made for value in values]


def single_body(rng: random.Random, prompts: int) -> tuple[str, bytes, list[float | None]]:
    """Return a request of one completion, the way slime and OpenRLHF ask, and its true value."""
    number, ok = rng.randrange(1, prompts), rng.random() < 0.5
    text = str(number if ok else number + 1)
    sample = {"prompt": f"What is {number} + 0?", "response": text, "label": str(number)}
    return "/remote_rm", json.dumps(sample).encode(), [float(ok)]


@dataclass
class Tally:
    """What the clients of one process saw."""

    requests: int = 0
    completions: int = 0
    swapped: int = 0
    abstained: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def check(self, path: str, status: int, body: bytes, wanted: list[float | None]) -> None:
        """Compare an answer with the truth."""
        if status != 200:
            self.failed += 1
            self.problems.append(f"{status} {body[:200]!r}")
            return
        answer = json.loads(body)
        values = [answer] if path == "/remote_rm" else [s["value"] for row in answer["scores"] for s in row]
        self.requests += 1
        self.completions += len(wanted)
        self.abstained += sum(v is None and w is not None for v, w in zip(values, wanted, strict=True))
        wrong = [(v, w) for v, w in zip(values, wanted, strict=True) if v is not None and v != w]
        self.swapped += len(wrong)


class Client(asyncio.Protocol):
    """One connection that sends the next request when the answer to the last is in."""

    def __init__(
        self, scene: str, prompts: int, seed: int, until: float, tally: Tally, over: asyncio.Future[None]
    ) -> None:
        self.prompts = prompts
        self.make = single_body if scene == "single" else mixed_body
        self.rng, self.until, self.tally, self.over = random.Random(seed), until, tally, over
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send a request."""
        self.path, body, self.wanted = self.make(self.rng, self.prompts)
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.started = time.perf_counter()
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and go on."""
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.tally.seconds.append(time.perf_counter() - self.started)
        self.tally.check(self.path, int(lines[0].split()[1]), rest[:length], self.wanted)
        if time.monotonic() < self.until:
            self.ask()
        else:
            self.transport.close()
            self.finish()

    def connection_lost(self, error: Exception | None) -> None:
        """Count a request whose answer never came."""
        if not self.over.done():
            self.tally.failed += 1
            self.tally.problems.append(f"connection lost: {error}")
        self.finish()

    def finish(self) -> None:
        """Say that this connection is done."""
        if not self.over.done():
            self.over.set_result(None)


def run_clients(
    port: int, scene: str, prompts: int, count: int, seconds: float, seed: int, results: object
) -> None:
    """Be several clients, in a process of its own."""
    tally = Tally()

    async def all_of_them() -> None:
        loop = asyncio.get_running_loop()
        until = time.monotonic() + seconds
        overs = [loop.create_future() for _ in range(count)]
        for number, over in enumerate(overs):
            client = Client(scene, prompts, seed * 1000 + number, until, tally, over)
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*overs)

    asyncio.run(all_of_them())
    results.put(tally)  # type: ignore[attr-defined]


def load(port: int, scene: str, prompts: int, clients: int, seconds: float) -> Tally:
    """Put the server under load; return what was seen."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=run_clients, args=(port, scene, prompts, clients // 2, seconds, seed, results))
        for seed in (1, 2)
    ]
    for child in children:
        child.start()
    tallies = [results.get() for _ in children]
    for child in children:
        child.join()
    total = Tally()
    for tally in tallies:
        for name in ("requests", "completions", "swapped", "abstained", "failed"):
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.seconds += tally.seconds
        total.problems += tally.problems
    return total


@contextmanager
def serving(folder: Path, scene: str, **variables: str) -> Iterator[tuple[int, int]]:
    """Run a server; yield its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--serve", str(port), "--scenes", scene]
    environment = dict(os.environ) | {"RLAR_REGISTRY_URL": f"sqlite:///{folder}/rlar.db"} | variables
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def serve(port: int, scene: str) -> None:
    """Be the server: what `rlar serve` runs, warmed up."""
    import uvicorn

    from rlar_graph.server import application

    opened = application.Scoring.open

    def warmed(scoring: application.Scoring) -> None:
        opened(scoring)
        if scene == "single":
            use_trivial(scoring.shared.reward)
        else:
            scoring.shared.reward.score([record(number)[0] for number in range(1, 33)])

    application.Scoring.open = warmed  # type: ignore[method-assign, assignment]
    uvicorn.run(application.create_app(), port=port, log_level="warning", access_log=False, backlog=4096)


def in_process(folder: Path, scene: str, prompts: int, seconds: float, threads: int) -> float:
    """Return completions a second of the same engine, called directly with the same rollouts by some threads."""
    counts = [0] * threads
    url = f"sqlite:///{folder}/rlar.db"
    with AgentReward(Settings.load(registry_url=url)) as reward:
        if scene == "single":
            use_trivial(reward)
        else:
            reward.score([record(number)[0] for number in range(1, 33)])
        until = time.monotonic() + seconds

        def work(index: int) -> None:
            rng = random.Random(index)
            while time.monotonic() < until:
                if scene == "single":
                    numbers = [rng.randrange(1, prompts) for _ in range(64)]
                    batch: list[Record] = [
                        {"prompt": f"What is {n} + 0?", "completions": [str(n)], "reference": str(n)}
                        for n in numbers
                    ]
                else:
                    batch = json.loads(mixed_body(rng, prompts)[1])["rollouts"]
                counts[index] += sum(len(row) for row in reward.score(batch))

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return sum(counts) / seconds


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def watch_memory(pid: int, seconds: float, figures: list[float]) -> None:
    """Look at a process's memory six times."""
    for _ in range(6):
        time.sleep(seconds / 6)
        figures.append(memory_mb(pid))


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                child = int(path.parent.name)
                found += [child, *descendants(child)]
    return found


def kill_workers(pid: int, seconds: float, killed: list[int]) -> None:
    """Kill one process below the server every second."""
    rng = random.Random(7)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(1)
        below = descendants(pid)
        leaves = [child for child in below if not descendants(child)]
        if leaves:
            killed.append(rng.choice(leaves))
            with suppress(ProcessLookupError):
                os.kill(killed[-1], signal.SIGKILL)


def lock_registry(folder: Path, held: float) -> None:
    """Hold the registry's write lock for a while."""
    time.sleep(2)
    connection = sqlite3.connect(folder / "rlar.db", timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(held)
    connection.execute("COMMIT")
    connection.close()


def scene_figures(scene: str, trouble: str, prompts: int, clients: int, seconds: float) -> Record:
    """Run one scene."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = {}
        if trouble == "llm down":
            variables = {
                "RLAR_LLM_BASE_URL": "http://127.0.0.1:9/v1",
                "RLAR_LLM_MODEL": "none",
                "RLAR_LLM_SECONDS": "5",
            }
        direct = (
            0.0
            if trouble
            else max(in_process(folder, scene, prompts, seconds / 4, threads) for threads in (1, 4))
        )
        with serving(folder, scene, **variables) as (port, pid):
            load(port, scene, prompts, clients, min(3.0, seconds))
            memory = [memory_mb(pid)]
            killed: list[int] = []
            troubles = {
                "worker killed every second": lambda: kill_workers(pid, seconds, killed),
                "registry locked for 5 s": lambda: lock_registry(folder, 5.0),
            }
            thread = threading.Thread(target=troubles.get(trouble, lambda: None))
            watching = threading.Thread(target=watch_memory, args=(pid, seconds, memory))
            thread.start()
            watching.start()
            tally = load(port, scene, prompts, clients, seconds)
            thread.join()
            watching.join()
    times = sorted(tally.seconds)
    rate = tally.completions / seconds
    return {
        "scene": scene,
        "trouble": trouble,
        "requests_per_s": round(tally.requests / seconds),
        "completions_per_s": round(rate),
        "in_process_per_s": round(direct),
        "ratio": round(rate / direct, 3) if direct else None,
        "p50_ms": round(statistics.median(times) * 1e3, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 1),
        "max_ms": round(times[-1] * 1e3, 1),
        "requests": tally.requests,
        "wrong_or_swapped": tally.swapped,
        "abstained": tally.abstained,
        "failed": tally.failed,
        "killed": len(killed),
        "memory_mb": [round(figure) for figure in memory],
        "problems": tally.problems[:3],
    }


def main() -> None:
    """Print the figures, one JSON object a scene."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=100_000, help="Prompts there are; few of them repeat.")
    parser.add_argument("--scenes", default="single,mixed,killed,locked,llm")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.scenes)
        return
    plan = {
        "single": ("single", ""),
        "mixed": ("mixed", ""),
        "killed": ("mixed", "worker killed every second"),
        "locked": ("mixed", "registry locked for 5 s"),
        "llm": ("mixed", "llm down"),
    }
    for name in options.scenes.split(","):
        print(
            json.dumps(scene_figures(*plan[name], options.prompts, options.clients, options.seconds)),
            flush=True,
        )


if __name__ == "__main__":
    main()
