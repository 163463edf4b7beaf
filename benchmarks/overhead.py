"""What the framework itself costs per completion, beside the bare verifier, and what importing costs.

A batch of 1,024 completions is scored with a verifier that does next to nothing, through `AgentReward` and by
calling the verifier directly; the difference is ours. Published figures of others for the same shape (their
machine, so read them as orders of magnitude): legacy verifiers 23 us, OpenJudge 24, openevals 53, verifiers 0.4 99,
verl's reward loop 320.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from rlar_graph import AgentReward, Rollout, Settings
from rlar_graph.engine import Engine
from rlar_graph.library import Loaded
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.types import RIGHT, WRONG, Verdict


class Trivial:
    """Compares texts; stands for the cheapest verifier there can be."""

    spec = ToolSpec("trivial", "verifier", "the completion is the reference")

    def __init__(self) -> None:
        self.calls = 0

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return a verdict per completion."""
        self.calls += 1
        return [[RIGHT if text == r.reference else WRONG for text in r.completions] for r in rollouts]


def median_us(call: Callable[[], object], completions: int, repeats: int) -> float:
    """Return the median time of a call, in microseconds per completion."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) / completions * 1e6


def overhead(group: int, completions: int, repeats: int) -> dict[str, float]:
    """Measure one shape: prompts with ``group`` completions each."""
    prompts = [f"What is {n} + {n}? Give the number only." for n in range(completions // group)]
    rollouts = [
        Rollout(p, tuple(str(k) for k in range(group)), reference=str(n)) for n, p in enumerate(prompts)
    ]
    flat = [(r.prompt, text, r.reference) for r in rollouts for text in r.completions]
    columns = [list(column) for column in zip(*flat, strict=True)]
    trivial = Trivial()
    with tempfile.TemporaryDirectory() as folder:
        reward = AgentReward(Settings.load(registry_url=f"sqlite:///{folder}/rlar.db"))
        with reward:
            for _ in range(2):  # admits the verifier, and sees that the registry has changed
                reward.score(rollouts)
            _use(reward._engine, trivial)
            assert reward.score(rollouts)[0][0].value == 1.0 and trivial.calls > 0
            bare = median_us(lambda: trivial.score(rollouts), completions, repeats)
            batch = median_us(lambda: reward.score(rollouts), completions, repeats)
            trainer = median_us(
                lambda: reward(columns[0], columns[1], answer=columns[2]), completions, repeats
            )
    return {"group": group, "bare_us": bare, "score_us": batch - bare, "trl_call_us": trainer - bare}


def _use(engine: Engine, tool: Trivial) -> None:
    """Let the trivial verifier serve what the maths verifier served."""
    for key in list(engine.library._found):
        engine.library._found[key] = Loaded(tool, "maths", 1)


def start_seconds(arguments: list[str], repeats: int) -> float:
    """Return the median time of a process."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--completions", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [overhead(group, options.completions, options.repeats) for group in (1, 8, 16)]
    python = sys.executable
    bare = start_seconds([python, "-c", ""], 7)
    starts = {
        "import rlar_graph": start_seconds([python, "-c", "import rlar_graph"], 7) - bare,
        "import rlar_graph.reward": start_seconds([python, "-c", "import rlar_graph.reward"], 7) - bare,
        "rlar --help": start_seconds([python, "-m", "rlar_graph.cli", "--help"], 7),
    }
    if options.json:
        print(json.dumps({"overhead": rows, "seconds": starts}, indent=2))
        return
    print(f"us per completion beyond the verifier's own, batch of {options.completions} (aim: 15)")
    for row in rows:
        print(
            f"  {row['group']:3.0f} completions a prompt: AgentReward.score {row['score_us']:6.2f}, "
            f"TRL call {row['trl_call_us']:6.2f}  (the verifier itself {row['bare_us']:.2f})"
        )
    for name, seconds in starts.items():
        print(f"{name}: {seconds:.3f} s")


if __name__ == "__main__":
    main()
