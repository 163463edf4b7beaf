"""How well families are told apart, what that costs per prompt, and what the learned router knows.

Families: prompts of reasoning-gym's generators (``pip install reasoning-gym``), or of a file of ``{"name", "prompt"}``
records. Half of each generator's prompts are grouped, the other half is then matched with the families found. Pairs of
prompts that share a group are right when they share a generator. Files of ordinary prompts (``--ordinary``, labelled
records with a ``task``) are grouped and matched too: of them nothing should be; their tasks teach the learned router.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Sequence

from rlar_graph.jsonl import read_records
from rlar_graph.registry.workshop_records import FamilyRecord, Label
from rlar_graph.routing.family import FamilyIndex, found_key
from rlar_graph.routing.grouping import templates
from rlar_graph.routing.learned import LearnedRouter
from rlar_graph.routing.signature import AnswerType, Domain, Evidence, Signature

SIGNATURE = Signature(Domain.KNOWLEDGE, AnswerType.STRING, Evidence.REFERENCE)
Named = tuple[str, str]


def generated(per_generator: int) -> list[Named]:
    """Return prompts of every generator of reasoning-gym, with its name."""
    from reasoning_gym import create_dataset
    from reasoning_gym.factory import DATASETS

    found = []
    for name in sorted(set(DATASETS) - {"composite"}):
        dataset = create_dataset(name, size=per_generator, seed=11)
        found += [(name, str(dataset[number]["question"])) for number in range(per_generator)]
    return found


def read(file: str, field: str) -> list[Named]:
    """Return the named prompts of a file."""
    return [(str(record.get(field)), str(record["prompt"])) for _, record in read_records(file)]


def halves(named: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """Return every other prompt of each name, and the rest."""
    seen: Counter[str] = Counter()
    sides: tuple[list[Named], list[Named]] = ([], [])
    for name, prompt in named:
        sides[seen[name] % 2].append((name, prompt))
        seen[name] += 1
    return sides


def pairs(counts: Counter[str]) -> int:
    """Return how many pairs share a name."""
    return sum(count * (count - 1) // 2 for count in counts.values())


def grouping(named: Sequence[Named]) -> tuple[dict[str, float], list[FamilyRecord], dict[str, set[str]]]:
    """Group prompts; return the figures, the families found, and the generators of each."""
    shuffled = list(dict.fromkeys(named))
    random.Random(1).shuffle(shuffled)
    started = time.perf_counter()
    found = templates([prompt for _, prompt in shuffled])
    seconds = time.perf_counter() - started
    together = right = 0
    records, makers = [], {}
    for made, members in found:
        names = Counter(shuffled[index][0] for index in members)
        together += len(members) * (len(members) - 1) // 2
        right += pairs(names)
        key = found_key(made, Evidence.REFERENCE)
        records.append(FamilyRecord(key, SIGNATURE.key, str(made), "", len(members)))
        makers[key] = set(names)
    all_pairs = pairs(Counter(name for name, _ in shuffled))
    figures = {
        "prompts": float(len(shuffled)),
        "families": float(len(found)),
        "seconds": seconds,
        "pair_precision": right / together if together else 1.0,
        "pair_recall": right / all_pairs if all_pairs else 1.0,
    }
    return figures, records, makers


def matching(
    index: FamilyIndex, makers: dict[str, set[str]], named: Sequence[Named], repeats: int = 3
) -> dict[str, float]:
    """Match prompts that no family was found from."""
    keys = [index.match(prompt) for _, prompt in named]
    right = sum(key is not None and name in makers[key] for key, (name, _) in zip(keys, named, strict=True))
    matched = sum(key is not None for key in keys)
    ordinary = [prompt for _, prompt in named if len(prompt) <= 2_000] * repeats
    started = time.perf_counter()
    for prompt in ordinary:
        index.match(prompt)
    us = (time.perf_counter() - started) / max(1, len(ordinary)) * 1e6
    return {"prompts": float(len(named)), "right": right, "wrong": matched - right, "us_per_prompt": us}


def foreign(
    records: Sequence[FamilyRecord], makers: dict[str, set[str]], named: Sequence[Named]
) -> dict[str, float]:
    """Match the prompts of half of the generators with the families of the other half only."""
    names = sorted({name for name, _ in named})
    known = set(random.Random(2).sample(names, len(names) // 2))
    index = FamilyIndex([record for record in records if makers[record.key] <= known])
    strange = [prompt for name, prompt in named if name not in known]
    return {
        "prompts": float(len(strange)),
        "wrong": float(sum(index.match(prompt) is not None for prompt in strange)),
    }


def learning(named: Sequence[Named], sizes: Sequence[int]) -> list[dict[str, float]]:
    """Train on some of the labelled prompts, and see how much of the rest is answered, and how well."""
    shuffled = list(dict.fromkeys(named))
    random.Random(3).shuffle(shuffled)
    rest = shuffled[max(sizes) :]
    rows = []
    for size in sizes:
        labels = [
            Label(hashlib.sha256(prompt.encode()).hexdigest(), prompt, name, "user")
            for name, prompt in shuffled[:size]
        ]
        started = time.perf_counter()
        router = LearnedRouter.train(labels)
        seconds = time.perf_counter() - started
        answers = router.predict([prompt for _, prompt in rest]) if router else []
        said = [answer[0] == name for answer, (name, _) in zip(answers, rest, strict=False) if answer]
        rows.append(
            {
                "labels": float(size),
                "train_seconds": seconds,
                "answered": len(said) / max(1, len(rest)),
                "right": sum(said) / max(1, len(said)),
            }
        )
    return rows


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--named", help='file of {"name", "prompt"} records instead of reasoning-gym')
    parser.add_argument("--ordinary", nargs="*", default=[], help="labelled records of ordinary prompts")
    parser.add_argument("--per-generator", type=int, default=48)
    options = parser.parse_args()
    named = read(options.named, "name") if options.named else generated(options.per_generator)
    first, second = halves(named)
    figures, records, makers = grouping(first)
    index = FamilyIndex(records)
    report: dict[str, object] = {
        "grouping": figures,
        "fresh": matching(index, makers, second),
        "foreign": foreign(records, makers, second),
    }
    if options.ordinary:
        ordinary = [entry for file in options.ordinary for entry in read(file, "task")]
        report["ordinary_grouped"], _, _ = grouping(ordinary)
        report["ordinary_matched"] = matching(index, makers, ordinary)
        report["learned_router"] = learning(ordinary, (300, 1_000, 2_400))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
