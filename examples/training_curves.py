"""A run by kind of task: a table of its steps out of TRL's own log of completions, and the picture of all arms."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mixed_tasks import Task
from pyarrow import parquet  # TRL's log has this form

from rlar_graph import AgentReward

FIELDS = ("step", "task", "completions", "reward", "right", "abstained")


def write_steps(arm: Path, tasks: Sequence[Task], reward: AgentReward, name: str) -> None:
    """Write ``steps.csv``: for each step and kind of task what the trainer was given, and what was right.

    Args:
        arm: Folder of the run, with the completions TRL logged.
        tasks: The tasks it was trained on.
        reward: Gives the verdicts on which ``right`` and ``abstained`` rest, whatever the policy was rewarded for.
        name: The reward's column in TRL's log.
    """
    by_prompt = {_key(task["prompt"]): task for task in tasks}
    with (arm / "steps.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(FIELDS)
        for path in sorted(arm.glob("completions/*.parquet")):
            log = parquet.read_table(path).to_pydict()
            rows = [by_prompt[_key(prompt)] for prompt in log["prompt"]]
            columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
            verdicts = reward(log["prompt"], log["completion"], **columns)
            for line in _by_kind([str(row["task"]) for row in rows], log[name], verdicts):
                table.writerow([log["step"][0], *line])


def _key(prompt: Sequence[Mapping[str, object]]) -> str:
    return json.dumps([(message["role"], message["content"]) for message in prompt])


def _by_kind(
    kinds: Sequence[str], given: Sequence[float | None], verdicts: Sequence[float | None]
) -> Iterator[tuple[str, int, float | str, float, float]]:
    """Return the last five fields of each kind."""
    for kind in sorted(set(kinds)):
        places = [place for place, name in enumerate(kinds) if name == kind]
        rewards = [value for place in places if (value := given[place]) is not None]
        judged = [verdicts[place] for place in places]
        right = sum((verdict or 0) >= 0.5 for verdict in judged) / len(places)
        abstained = judged.count(None) / len(places)
        yield kind, len(places), sum(rewards) / len(rewards) if rewards else "", right, abstained


def draw(out: Path, window: int = 15) -> Path | None:
    """Draw for each kind of task what was right and what was judged by step, and held-out accuracy, of every arm.

    Args:
        out: Folder with one folder for each arm.
        window: Steps over which a point is averaged.

    Returns:
        The picture, or None where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    arms = {path.parent.name: _read(path) for path in sorted(out.glob("*/steps.csv"))}
    kinds = sorted({kind for arm in arms.values() for kind in arm})
    figure = Figure(figsize=(3 * len(kinds) + 4, 3.2), layout="constrained")
    axes = figure.subplots(1, len(kinds) + 1, sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=False):
        for number, (name, arm) in enumerate(arms.items()):
            rows = arm.get(kind, [])
            steps = [int(row["step"]) for row in rows]
            axis.plot(steps, _smooth(rows, "right", window), label=name, color=f"C{number + 1}")
            axis.plot(steps, _smooth(rows, "abstained", window), ":", color=f"C{number + 1}")
        axis.set(title=kind, xlabel="step", ylim=(-0.02, 1.02))
    axes[0].set_ylabel(f"right (dotted: abstained), {window} steps")
    _bars(axes[-1], out, kinds)
    named = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=len(named))
    path = out / "curves.png"
    figure.savefig(path, dpi=80)
    return path


def _bars(axis: Any, out: Path, kinds: Sequence[str]) -> None:
    """Draw held-out accuracy of the untrained policy and of every arm that went to its end."""
    policies = [
        path for path in [out / "untrained.json", *sorted(out.glob("*/trained.json"))] if path.exists()
    ]
    width = 0.8 / max(1, len(policies))
    for number, path in enumerate(policies):
        found = json.loads(path.read_text(encoding="utf-8"))["by_kind"]
        heights = [found.get(kind, {}).get("sampled", 0) for kind in kinds]
        places = [place + width * (number - (len(policies) - 1) / 2) for place in range(len(kinds))]
        label = path.parent.name if number else "untrained"
        axis.bar(places, heights, width, label=label, color=f"C{number}")
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set_title("held-out, sampled")


def _read(path: Path) -> dict[str, list[dict[str, str]]]:
    """Return the lines of a table by kind."""
    kinds: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kinds[row["task"]].append(row)
    return kinds


def _smooth(rows: Sequence[Mapping[str, str]], field: str, window: int) -> list[float]:
    """Return the share of each line over its step and those before it, by the number of completions."""
    shares = []
    for row in rows:
        near = [other for other in rows if int(row["step"]) - window < int(other["step"]) <= int(row["step"])]
        counts = [int(other["completions"]) for other in near]
        total = sum(float(other[field]) * count for other, count in zip(near, counts, strict=True))
        shares.append(total / sum(counts))
    return shares
