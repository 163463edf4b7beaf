"""Easy tasks of four kinds for a training run: made from a seed, train and held-out prompts disjoint.

Each task is a row as trainers' data sets have them: a prompt as chat messages, the evidence in the columns
:class:`rlar_graph.AgentReward` reads, a ``reference`` text for rewards that know nothing else, and ``task``, the kind,
which no reward looks at. They are easy because GRPO learns nothing from a group that is all wrong.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Task: TypeAlias = dict[str, Any]

THINGS: Mapping[str, Sequence[str]] = {
    "an animal": ("horse", "dog", "cat", "lion", "tiger", "sheep", "duck", "goat", "bear", "rabbit"),
    "a fruit": ("apple", "banana", "pear", "grape", "orange", "cherry", "lemon", "peach", "mango", "plum"),
    "a colour": ("red", "blue", "green", "yellow", "black", "white", "purple", "pink", "brown", "grey"),
    "a piece of furniture": ("table", "chair", "bed", "sofa", "desk", "shelf", "stool", "bench"),
    "a vehicle": ("car", "bus", "train", "truck", "bicycle", "boat", "plane", "tram"),
}
TOPICS: Mapping[str, str] = {
    "a cat": "soft", "a dog": "loyal", "rain": "wet", "snow": "cold", "the sun": "warm", "the moon": "night",
    "a river": "flows", "the sea": "salt", "a tree": "green", "a house": "door", "bread": "baked", "milk": "white",
    "a book": "page", "a school": "learn", "music": "song", "a friend": "kind", "summer": "hot", "winter": "ice",
    "a bird": "sings", "a fish": "swims", "a car": "fast", "a train": "late", "a city": "busy", "a garden": "grow",
    "coffee": "morning", "tea": "cup", "a mountain": "high", "a lake": "calm", "the wind": "blows", "fire": "burns",
    "a horse": "runs", "a bee": "honey", "a farm": "cows", "a kitchen": "cook", "a doctor": "helps", "sleep": "dream",
    "a game": "play", "a bridge": "long", "a forest": "deep", "a clock": "time",
}  # fmt: skip
OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda x, k: x + k,
    "-": lambda x, k: x - k,
    "*": lambda x, k: x * k,
}


def _maths() -> Iterator[Task]:
    """Sums and differences of one-digit numbers."""
    for a in range(10):
        for b in range(10):
            yield {"ask": f"What is {a} + {b}? Answer with a number.", "reference": str(a + b)}
            if a >= b:
                yield {"ask": f"What is {a} - {b}? Answer with a number.", "reference": str(a - b)}


def _instruction() -> Iterator[Task]:
    """One sentence about something, under one instruction of IFEval's naming."""
    for topic, word in TOPICS.items():
        rules: list[tuple[str, str, dict[str, object]]] = [
            ("Use only lower case letters.", "change_case:english_lowercase", {}),
            (f"Use the word {word}.", "keywords:existence", {"keywords": [word]}),
            (
                "Use less than 10 words.",
                "length_constraints:number_words",
                {"relation": "less than", "num_words": 10},
            ),
            ("Do not use any commas.", "punctuation:no_comma", {}),
        ]
        for text, name, parameters in rules:
            yield {
                "ask": f"Write one short sentence about {topic}. {text}",
                "instruction_id_list": [name],
                "kwargs": json.dumps([parameters]),
                "reference": f"i think of {topic} and the word {word}",
            }


def _choice() -> Iterator[Task]:
    """Which of two things is of a kind."""
    for kind, right in THINGS.items():
        wrong = [thing for other, things in THINGS.items() if other != kind for thing in things]
        for place, thing in enumerate(right):
            for step in range(4):
                options = [thing, wrong[(7 * place + 9 * step) % len(wrong)]]
                if (place + step) % 2:
                    options.reverse()
                listed = "\n".join(f"{label}) {option}" for label, option in zip("AB", options, strict=True))
                yield {
                    "ask": f"Which of these is {kind}?\n{listed}\nAnswer with the letter only.",
                    "choices": options,
                    "reference": "AB"[options.index(thing)],
                }


def _code() -> Iterator[Task]:
    """A function of one line, with assert statements."""
    for sign, apply in OPERATIONS.items():
        for k in range(2, 12):
            for name in ("f", "g", "calc", "change", "result"):
                yield {
                    "ask": f"Write a Python function {name}(x) that returns x {sign} {k}. Only code.",
                    "tests": [f"assert {name}({x}) == {apply(x, k)}" for x in (0, 5, 11)],
                    "reference": f"def {name}(x):\n    return x {sign} {k}",
                }


KINDS: Mapping[str, Callable[[], Iterator[Task]]] = {
    "maths": _maths,
    "instruction": _instruction,
    "choice": _choice,
    "code": _code,
}
COLUMNS = ("reference", "tests", "instruction_id_list", "kwargs", "choices")


def make_tasks(held_out: int, seed: int) -> tuple[list[Task], list[Task]]:
    """Return the tasks to train on and the held-out ones, each with every column and every kind.

    Args:
        held_out: Held-out tasks of each kind; the others are trained on, as many of each kind.
        seed: Decides which prompts are held out, and the order.
    """
    chooser = random.Random(seed)  # noqa: S311 - a split, not a secret
    made = {kind: [_row(task, kind) for task in maker()] for kind, maker in KINDS.items()}
    size = min(len(rows) for rows in made.values()) - held_out
    if held_out < 1 or size < 1:
        raise ValueError(f"held_out must be from 1 to {size + held_out - 1}, not {held_out}")
    train, test = [], []
    for rows in made.values():
        chooser.shuffle(rows)
        test += rows[:held_out]
        train += rows[held_out : held_out + size]
    chooser.shuffle(train)
    return train, test


def load_tasks(path: Path, held_out: int, seed: int) -> tuple[list[Task], list[Task]]:
    """Return the user's own prompts in the same form; the kind is the record's ``task``, else its ``data_source``.

    Of records with the same prompt the last one is kept, so that no prompt is both trained on and held out.

    Args:
        path: JSON lines with ``prompt`` (text or chat messages) and evidence columns, each of one type throughout.
        held_out: Records held out, in all.
        seed: Decides which.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    records: list[Task] = [json.loads(line) for line in lines if line.strip()]
    if without := [number for number, record in enumerate(records, 1) if not record.get("prompt")]:
        raise ValueError(f"{path}: record {without[0]} has no prompt")
    names = {name for record in records for name in record}
    rows: dict[str, Task] = {}
    for record in records:
        kind = str(record.get("task") or record.get("data_source") or "data")
        row = dict.fromkeys(names) | record | {"prompt": _messages(record["prompt"]), "task": kind}
        rows[json.dumps(row["prompt"])] = row
    if not 0 < held_out < len(rows):
        raise ValueError(f"{path}: {held_out} of {len(rows)} prompts cannot be held out")
    shuffled = list(rows.values())
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a split, not a secret
    return shuffled[held_out:], shuffled[:held_out]


def _messages(prompt: object) -> object:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _row(task: Task, kind: str) -> Task:
    return {"prompt": _messages(task["ask"]), "task": kind, **{name: task.get(name) for name in COLUMNS}}


def plainly_right(task: Task, completion: str) -> bool | None:
    """Say whether a made task is solved, by a rule of one line that shares no code with the reward tools.

    It reads less than they do, and is here to see that what a run gains is no fault of a tool. None for code, which
    is right if its tests pass and not otherwise.
    """
    if task["task"] == "maths":
        numbers = re.findall(r"\d+", completion)
        return bool(numbers) and numbers[-1] == task["reference"]
    if task["task"] == "choice":
        return re.findall(r"\b[AB]\b", completion)[:1] == [task["reference"]]
    if task["task"] == "instruction":
        return _follows(task, completion)
    return None


def _follows(task: Task, completion: str) -> bool:
    (parameters,) = json.loads(str(task["kwargs"]))
    match task["instruction_id_list"]:
        case ["change_case:english_lowercase"]:
            return completion == completion.lower() != ""
        case ["keywords:existence"]:
            return str(parameters["keywords"][0]) in completion.lower()
        case ["punctuation:no_comma"]:
            return "," not in completion
        case _:
            return len(completion.split()) < int(parameters["num_words"])
