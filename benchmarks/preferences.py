"""The whole path of a reward model on files of preferences: trained, served, evaluated. A smoke test, no more.

    python benchmarks/preferences.py DIRECTORY [--steps 300]

A small network is trained in minutes on one half of the prompts of the pair files in a directory, put on a local hub,
registered past the gate (it would not pass), and evaluated through the same code as ``rlar eval`` on the other half.
Beside its pair accuracy stand the floors of the same pairs. Whatever it reaches says that the path works, and nothing
of reward models.

Needs the extra ``local``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlar_graph.admission import AdmissionReport, Check
from rlar_graph.engine import Engine
from rlar_graph.evaluation import evaluate_file, read_items
from rlar_graph.hub import Hub, ModelCard
from rlar_graph.registry import Provenance
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.model_pool import close_pool
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.routing.kinds import kinds
from rlar_graph.scoring import Planned
from rlar_graph.settings import Settings
from rlar_graph.testing_hub import HubRepo, LocalHub
from rlar_graph.testing_models import files_of, make_model

FILES = ("autoj_pairwise", "hh_rlhf_harmless", "llmbar_natural_plus", "pandalm_test", "rmb_bon")
NAME = "smoke-test-model"


def records(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a file that have a pair."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["chosen"] and record["rejected"]:
                yield record


def is_test(record: Mapping[str, Any]) -> bool:
    """Say whether a record is kept for evaluation: every other prompt, by its digest."""
    return hashlib.sha256(record["prompt"].encode()).digest()[0] % 2 == 1


def floors(path: Path) -> tuple[int, float, float]:
    """Return the pairs of a file, and how often the longer and the shorter completion is the better one."""
    points: list[float] = []
    for item in read_items(str(path)):
        texts = item.rollout.completions
        for better in texts[: item.chosen]:
            for worse in texts[item.chosen :]:
                points.append((len(better) > len(worse)) + (len(better) == len(worse)) / 2)
    longest = sum(points) / len(points)
    return len(points), longest, 1 - longest


def registered(engine: Engine, hub: LocalHub, plan: list[Planned]) -> None:
    """Register the model for every signature of the plan that a reward model may serve."""
    settings = engine.settings
    card = Hub(settings.hub_endpoint, settings.hub_cache).card("smoke/test")
    assert isinstance(card, ModelCard), card
    source = ModelSource("smoke/test", card.sha, max_length=512, licence="apache-2.0", files=card.weights)
    text = source.to_json()
    check = Check("smoke test", True, note="registered past the gate")
    report = AdmissionReport(
        NAME, "reward_model", hashlib.sha256(text.encode()).hexdigest(), True, {}, "", 0.0, (check,)
    )
    registry = engine.resources.registry
    registry.register(
        ToolSpec(NAME, "reward_model", "a smoke test", graded=True),
        provenance=Provenance("hub", model="smoke/test"),
        source=text,
        report=report,
        activate=True,
    )
    for planned in plan:
        if isinstance(planned.tool, str) and "reward_model" in kinds(planned.route.signature):
            registry.bind(planned.route.signature.key, NAME)


def main() -> None:
    """Train, serve, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--items", type=int, default=250, help="test items of a file at most")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = {name: list(records(options.directory / f"{name}.jsonl.gz")) for name in FILES}
    pairs = [
        (record["prompt"], record["chosen"][0], worse)
        for some in found.values()
        for record in some
        if not is_test(record)
        for worse in record["rejected"][:2]
    ]
    texts = [text for pair in pairs for text in pair]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_model(
            folder / "model", texts, width=64, pairs=pairs, steps=options.steps, rate=1e-3, length=192, seed=1
        )
        print(f"trained on {len(pairs)} pairs in {options.steps} steps of 24")
        print(f"{'file':<22}{'pairs':>7}{'model':>8}{'longest':>9}{'shortest':>10}{'abstained':>11}")
        with LocalHub({"smoke/test": HubRepo(files_of(folder / "model"))}) as hub:
            settings = Settings.load(
                registry_url=f"sqlite:///{folder}/rlar.db",
                hub_endpoint=hub.url,
                hub_cache=str(folder / "cache"),
            )
            with Engine(settings) as engine:
                for name, some in found.items():
                    path = folder / f"{name}.jsonl"
                    kept = [record for record in some if is_test(record)][: options.items]
                    path.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
                    registered(engine, hub, engine.plan([item.rollout for item in read_items(str(path))]))
                    result = evaluate_file(engine, str(path), lambda done, total: None).to_dict()
                    count, longest, shortest = floors(path)
                    accuracy, silent = result["pair_accuracy"], result["abstained"]
                    shown = "-" if accuracy is None else f"{accuracy:.3f}"
                    print(f"{name:<22}{count:>7}{shown:>8}{longest:>9.3f}{shortest:>10.3f}{silent!s:>11}")
                close_pool(engine.resources)


if __name__ == "__main__":
    main()
