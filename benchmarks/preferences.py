"""The whole path of a reward model on files of preferences: trained, found, proved, evaluated. A smoke test, no more.

    python benchmarks/preferences.py DIRECTORY [--steps 450] [--accuracy 0.55]

A small network is trained in minutes on one half of the prompts of the pair files in a directory and put on a local
hub. From there on everything is the command line's: ``rlar prepare --probes`` looks it up, holds it to the gates,
measures it on the labelled pairs of a quarter of the prompts, file by file, and admits it or says why not; ``rlar
eval`` scores the last quarter, which nothing has seen. Beside its pair accuracy stand the floors of the same pairs.

The pair accuracy that admission asks for is lower here than by default, and nothing else is: such a network would not
reach 0.7. Whatever it reaches says that the path works, and nothing of reward models.

Needs the extra ``local``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlar_graph.admission import AdmissionReport
from rlar_graph.probes import hostile_set
from rlar_graph.registry import open_registry
from rlar_graph.testing.hub import HubRepo, LocalHub
from rlar_graph.testing.models import files_of, make_model

FILES = (
    "autoj_pairwise",
    "hh_rlhf_harmless",
    "llmbar_natural_plus",
    "pandalm_test",
    "rmb_bon",
    "truthfulqa_judge",
)
WORDS = 20_000
"""Words that the network knows."""
LENGTH = 192
"""Tokens of a conversation that it is trained on; its end."""
OPENINGS = ("- ", "Sure! ", "Here is the answer to your question. ", "Let me think about it.\n\n")
"""Ways to begin that say nothing of what follows."""
PARTS = {0: "train", 1: "train", 2: "gate", 3: "eval"}
"""What a prompt is for, by its digest."""
Record = Mapping[str, Any]


def records(path: Path) -> dict[str, list[Record]]:
    """Return the records of a file that have a pair, by what their prompts are for."""
    found: dict[str, list[Record]] = {part: [] for part in PARTS.values()}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["chosen"] and record["rejected"]:
                digest = hashlib.sha256(record["prompt"].encode()).digest()
                found[PARTS[digest[0] % len(PARTS)]].append(record)
    return found


def training_pairs(some: Iterable[Record]) -> list[tuple[str, str, str]]:
    """Return (prompt, better, worse), some with an opening on both sides, and attacks among the worse ones."""
    pairs = []
    for number, record in enumerate(some):
        prompt, good = record["prompt"], record["chosen"][0]
        pairs += [(prompt, good, worse) for worse in record["rejected"][:2]]
        opening = OPENINGS[number % len(OPENINGS)]
        pairs.append((prompt, opening + good, opening + record["rejected"][0]))
        attacks = [probe.completion for probe in hostile_set(prompt, good_completion=good)]
        pairs += [(prompt, good, text) for text in attacks[number % 12 :: 12] if text.strip()]
    return pairs


def trained(folder: Path, pairs: Sequence[tuple[str, str, str]], steps: int) -> Path:
    """Return the folder of a network that is trained on pairs."""
    words = Counter(word for pair in pairs for text in pair for word in text.lower().split())
    known = " ".join(word for word, _ in words.most_common(WORDS))
    return make_model(folder, [known], width=64, pairs=pairs, steps=steps, rate=1e-3, length=LENGTH, seed=1)


def floors(some: Iterable[Record]) -> tuple[int, float, float]:
    """Return the pairs of records, and how often the longer and the shorter completion is the better one."""
    points = [
        (len(better) > len(worse)) + (len(better) == len(worse)) / 2
        for record in some
        for better in record["chosen"]
        for worse in record["rejected"]
    ]
    longest = sum(points) / len(points)
    return len(points), longest, 1 - longest


def written(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def probes(name: str, some: Iterable[Record]) -> list[dict[str, object]]:
    """Return the completions of records as labelled probes of a family."""
    return [
        {"prompt": record["prompt"], "data_source": name, "completion": text, "expect": expect}
        for record in some
        for side, expect in (("chosen", "good"), ("rejected", "bad"))
        for text in record[side][:2]
    ]


def rlar(folder: Path, *words: str | Path) -> None:
    """Run the command line, with the settings of a folder's ``rlar.toml``."""
    began = time.monotonic()
    command = [sys.executable, "-m", "rlar_graph.cli", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    shown = " ".join(word.name if isinstance(word, Path) else word for word in words[:2])
    print(f"rlar {shown} ...: status {done.returncode}, {time.monotonic() - began:.0f} s")
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)


def verdicts(registry: str) -> dict[str, tuple[str, str]]:
    """Return by family what the gate measured, and whether it admitted the network or at what it failed."""
    found = {}
    with open_registry(registry) as opened:
        for tool in opened.tools():
            for version in tool.versions:
                kept = opened.report(tool.name, version.number)
                if kept is not None and version.kind == "reward_model":
                    source = json.loads(opened.source(tool.name, version.number) or "{}")
                    report = AdmissionReport.from_json(kept)
                    check = report.check("pair accuracy")
                    measured = f"{check.figure:.3f}" if check and check.figure is not None else "-"
                    failed = ", ".join(one.name for one in report.checks if not one.passed)
                    found[source["family"]] = (measured, f"refused: {failed}" if failed else "admitted")
    return found


def main() -> None:
    """Train, prove, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--items", type=int, default=250, help="records of a file at most, of either part")
    parser.add_argument("--accuracy", type=float, default=0.55, help="pair accuracy that admission asks for")
    parser.add_argument("--files", nargs="+", default=FILES)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = {name: records(options.directory / f"{name}.jsonl.gz") for name in options.files}
    pairs = training_pairs(record for parts in found.values() for record in parts["train"])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        began = time.monotonic()
        model = trained(folder / "model", pairs, options.steps)
        print(f"trained on {len(pairs)} pairs in {options.steps} steps, {time.monotonic() - began:.0f} s")
        with LocalHub({"smoke/reward": HubRepo(files_of(model))}) as hub:
            evaluated(folder, hub, found, options)


def evaluated(
    folder: Path,
    hub: LocalHub,
    found: Mapping[str, Mapping[str, list[Record]]],
    options: argparse.Namespace,
) -> None:
    """Prepare and evaluate through the command line, and print what came of it."""
    registry = f"sqlite:///{folder}/rlar.db"
    settings = {
        "registry_url": registry,
        "hub_endpoint": hub.url,
        "hub_cache": str(folder / "cache"),
        "reward_model_names": ["smoke/reward"],
        "reward_model_accuracy": options.accuracy,
        "reward_model_device": "cpu",
    }
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    (folder / "rlar.toml").write_text(text, encoding="utf-8")
    gate = {name: parts["gate"][: options.items] for name, parts in found.items()}
    rest = {name: parts["eval"][: options.items] for name, parts in found.items()}
    for (
        name,
        some,
    ) in gate.items():  # each a family of its own, whose first prompts decide what it is taken for
        prompts = [{"prompt": record["prompt"], "data_source": name} for record in some]
        labelled = written(folder / f"probes-{name}.jsonl", probes(name, some))
        rlar(folder, "prepare", written(folder / f"prompts-{name}.jsonl", prompts), "--probes", labelled)
    files = [
        written(
            folder / f"{name}.jsonl",
            ({**record, "meta": {**(record["meta"] or {}), "data_source": name}} for record in some),
        )
        for name, some in rest.items()
    ]
    rlar(folder, "eval", *files, "--quiet", "--json", folder / "figures.json")
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    told = verdicts(registry)
    print(
        f"{'file':<21}{'gate':>7}{'pairs':>7}{'model':>8}{'longest':>9}{'shortest':>10}{'abstained':>11}  verdict"
    )
    for name, result in zip(rest, figures["files"], strict=True):
        measured, verdict = told.get(f"source:{name}", ("-", "no reward model was tried"))
        count, longest, shortest = floors(rest[name])
        accuracy = "-" if result["pair_accuracy"] is None else f"{result['pair_accuracy']:.3f}"
        print(
            f"{name:<21}{measured:>7}{count:>7}{accuracy:>8}{longest:>9.3f}{shortest:>10.3f}"
            f"{result['abstained']!s:>11}  {verdict}"
        )


if __name__ == "__main__":
    main()
