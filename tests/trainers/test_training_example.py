"""The training example: its tasks are sound, and it runs, stops on Ctrl-C and goes on inside TRL itself."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from rlar_graph import AgentReward, Settings
from tests.patience import COMMAND_SECONDS

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "train_grpo_trl.py"


@pytest.fixture(scope="module")
def tasks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mixed_tasks", EXAMPLES / "mixed_tasks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_split_is_even_disjoint_and_decided_by_the_seed(tasks: ModuleType) -> None:
    train, held_out = tasks.make_tasks(20, seed=3)
    asked = [[task["prompt"][0]["content"] for task in side] for side in (train, held_out)]
    assert len({*asked[0], *asked[1]}) == len(train) + len(held_out)
    assert Counter(task["task"] for task in held_out) == dict.fromkeys(tasks.KINDS, 20)
    assert len(set(Counter(task["task"] for task in train).values())) == 1
    assert tasks.make_tasks(20, seed=3) == (train, held_out)
    assert tasks.make_tasks(20, seed=4)[1] != held_out
    with pytest.raises(ValueError, match="must be from 1 to"):
        tasks.make_tasks(10_000, seed=0)


def test_every_task_is_solved_by_its_reference_and_by_no_other(tasks: ModuleType, registry_url: str) -> None:
    rows = [task for side in tasks.make_tasks(1, seed=0) for task in side]
    wrong = {"maths": "99", "choice": "C", "code": "def f(y):\n    return 0.5", "instruction": "NO, " * 12}
    with AgentReward(Settings(registry_url=registry_url)) as reward:
        said = [[task["reference"], wrong[task["task"]]] for task in rows]
        scores = reward.score([dict(task, completions=texts) for task, texts in zip(rows, said, strict=True)])
    for task, texts, (good, bad) in zip(rows, said, scores, strict=True):
        assert good.value == 1.0, (task, good)
        assert bad.value == 0.0, (task, bad)
        assert tasks.plainly_right(task, texts[0]) is not False
        assert not tasks.plainly_right(task, texts[1])


def test_own_prompts_are_split_and_a_record_without_one_is_named(tasks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    lines = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1), "task": "sums"} for n in range(5)]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8") + "\n" + json.dumps(lines[0]), encoding="utf-8")
    train, held_out = tasks.load_tasks(file, 2, seed=0)
    assert (len(train), len(held_out)) == (3, 2)
    assert {row["task"] for row in train} == {"sums"}
    assert train[0]["prompt"][0]["role"] == "user"
    file.write_text(json.dumps(lines[0]) + '\n{"answer": "2"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match="record 2 has no prompt"):
        tasks.load_tasks(file, 1, seed=0)


def command(out: Path, *options: str) -> list[str]:
    for package in ("trl", "pyarrow"):
        pytest.importorskip(package)
    return [sys.executable, str(SCRIPT), "--smoke", "--threads", "1", "--out", str(out), *options]


def run(out: Path, *options: str) -> str:
    done = subprocess.run(command(out, *options), capture_output=True, text=True, timeout=COMMAND_SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(600)  # most of it is the import of torch and TRL
def test_a_smoke_run_leaves_figures_and_a_registry(tmp_path: Path) -> None:
    printed = run(tmp_path, "--rewards", "agent", "maths")
    assert "rlar/tool" in printed, "no sample of completions with the tool that scored them"
    log = json.loads((tmp_path / "agent" / "log.json").read_text(encoding="utf-8"))
    assert sum("rlar/abstain_rate" in entry and "rewards/rlar/mean" in entry for entry in log) == 2
    for arm in ("agent", "maths"):
        found = json.loads((tmp_path / arm / "trained.json").read_text(encoding="utf-8"))
        assert {kind: row["n"] for kind, row in found["by_kind"].items()} == dict.fromkeys(
            ("maths", "instruction", "choice", "code"), 2
        )
        with (tmp_path / arm / "steps.csv").open(encoding="utf-8") as file:
            steps = list(csv.DictReader(file))
        assert {row["step"] for row in steps} == {"1", "2"}
        assert sum(int(row["completions"]) for row in steps) == 2 * 4 * 2
    assert all(row["reward"] == row["right"] for row in _steps(tmp_path / "agent"))
    listed = subprocess.run(
        [sys.executable, "-c", "from rlar_graph.cli.app import main; main()", "tools", "list", "--json"],
        env={**os.environ, "RLAR_REGISTRY_URL": f"sqlite:///{tmp_path / 'rlar.db'}"},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert {"maths", "instructions", "choice", "code"} <= {tool["tool"] for tool in json.loads(listed.stdout)}


def _steps(arm: Path) -> list[dict[str, str]]:
    with (arm / "steps.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(600)
def test_ctrl_c_saves_and_resume_goes_on(tmp_path: Path) -> None:
    sums = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1), "task": "sums"} for n in range(3)]
    open_ = [{"prompt": f"Tell me joke number {n}.", "task": "open"} for n in range(3)]
    data = tmp_path / "mine.jsonl"
    data.write_text("\n".join(map(json.dumps, [*sums, *open_])), encoding="utf-8")
    long = command(tmp_path, "--data", str(data), "--trainer", "max_steps=100000")
    with (tmp_path / "log").open("w") as log:
        started = subprocess.Popen(long, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _wait_for(tmp_path / "agent" / "completions" / "completions_00003.parquet", started)
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the workers too
            assert started.wait(timeout=COMMAND_SECONDS) == 0, (tmp_path / "log").read_text()[-3000:]
        finally:
            started.kill()
    printed = (tmp_path / "log").read_text()
    assert "agent stopped at step" in printed
    assert "Traceback" not in printed
    [checkpoint] = (tmp_path / "agent").glob("checkpoint-*")
    last = int(checkpoint.name.rpartition("-")[2])
    run(tmp_path, "--data", str(data), "--resume", "--trainer", f"max_steps={last + 1}")
    steps = _steps(tmp_path / "agent")
    assert max(int(row["step"]) for row in steps) == last + 1
    assert {(row["reward"], row["abstained"]) for row in steps if row["task"] == "open"} == {("", "1.0")}
    assert {row["abstained"] for row in steps if row["task"] == "sums"} == {"0.0"}
    assert (tmp_path / "agent" / "trained.json").exists()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + COMMAND_SECONDS
    while not path.exists():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline, f"no {path.name} in {COMMAND_SECONDS:g} s"
        time.sleep(0.2)
