"""Families: prompts of one template are grouped and recognised; of another, however alike, they are not."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlar_graph.routing.family import FamilyIndex, found_key, source_key
from rlar_graph.routing.grouping import group, templates
from rlar_graph.routing.signature import Evidence, Signature
from rlar_graph.routing.sketch import MAX_CHARS, Sketch, line_of, sketch, words_of
from tests.patience import linear

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"
WORDS = [
    "apple",
    "river",
    "stone",
    "cloud",
    "garden",
    "window",
    "pepper",
    "castle",
    "marble",
    "engine",
    "forest",
    "bridge",
    "candle",
    "hammer",
    "pillow",
    "rocket",
    "saddle",
    "turtle",
    "velvet",
    "walnut",
    "anchor",
    "basket",
    "copper",
    "dragon",
    "falcon",
    "gospel",
    "harbor",
    "island",
    "jacket",
    "kettle",
    "lantern",
    "magnet",
]
RULES = (
    "Give only the answer, with no explanation, as a list separated by spaces, and put it on the last line."
)


def countdown(draw: random.Random) -> str:
    numbers = ", ".join(str(draw.randint(1, 99)) for _ in range(draw.randint(4, 6)))
    return (
        f"Using the numbers {numbers}, write an expression that equals {draw.randint(100, 999)}. Every number may be "
        f"used once. You may use addition, subtraction, multiplication and division.\n{RULES}"
    )


def sorting(draw: random.Random) -> str:
    words = ", ".join(draw.sample(WORDS, draw.randint(4, 8)))
    order = draw.choice(["ascending", "descending"])
    return f"Sort the following words in {order} order of their letters: {words}\n{RULES}"


def reversing(draw: random.Random) -> str:
    words = ", ".join(draw.sample(WORDS, draw.randint(4, 8)))
    return f"Write the letters of each of the following words from the last to the first: {words}\n{RULES}"


def queens(draw: random.Random) -> str:
    size = draw.randint(4, 9)
    board = "\n".join(" ".join(draw.choice("_Q") for _ in range(size)) for _ in range(size))
    return f"Complete this {size} by {size} board so that no two queens attack each other:\n{board}\n{RULES}"


def chinese(draw: random.Random) -> str:
    return f"请用数字{draw.randint(1, 9)}和{draw.randint(1, 9)}写出一个结果等于{draw.randint(10, 90)}的算式。"


TEMPLATES = {made.__name__: made for made in (countdown, sorting, reversing, queens, chinese)}
CHAT = (
    "What is the capital of Peru?",
    "How do I tell my landlord that the heating is broken without sounding rude?",
    "Write a poem about the sea in winter.",
    "Write a short story about a clockmaker who loses his watch on the way to his own wedding.",
    "Can you explain what a mortgage is, in words that a child would understand?",
    "My dog ate a grape, what should I do now? He seems fine, but I am worried.",
    "Sort out my weekend: I want to see friends, sleep and also finish an essay.",
    "Give only the answer: is the earth flat?",
)


def prompts_of(name: str, count: int, seed: int = 1) -> list[str]:
    draw = random.Random(seed)  # noqa: S311
    return [TEMPLATES[name](draw) for _ in range(count)]


@dataclass(frozen=True)
class Known:
    key: str
    signature: str
    sketch: str


def known(name: str, evidence: Evidence = Evidence.REFERENCE) -> Known:
    made = sketch(prompts_of(name, 12))
    assert made is not None
    return Known(found_key(made, evidence), f"knowledge/string/{evidence}/und", str(made))


def test_groups_are_templates() -> None:
    names = [name for name in TEMPLATES for _ in range(20)] + ["chat"] * len(CHAT)
    prompts = [prompt for name in TEMPLATES for prompt in prompts_of(name, 20)] + list(CHAT)
    order = list(range(len(prompts)))
    random.Random(7).shuffle(order)  # noqa: S311
    grouped = group([prompts[index] for index in order])
    assert sorted(place for members in grouped for place in members) == sorted(order)
    large = [[names[order[place]] for place in members] for members in grouped if len(members) > 1]
    assert sorted(Counter(tuple(set(members)) for members in large)) == sorted((name,) for name in TEMPLATES)
    assert all(len(members) == 20 for members in large)


def test_one_prompt_many_times_is_no_template() -> None:
    prompt = prompts_of("sorting", 1)[0]
    assert templates([prompt]) == []
    assert group([prompt] * 9 + [CHAT[0]]) == [list(range(9)), [9]]
    assert group([]) == []


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_family_knows_its_own_prompts_and_no_others(name: str) -> None:
    index = FamilyIndex([known(name)])
    fresh = prompts_of(name, 50, seed=99)
    assert all(index.match(prompt) == known(name).key for prompt in fresh)
    others = [prompt for other in TEMPLATES if other != name for prompt in prompts_of(other, 30, seed=3)]
    assert [prompt for prompt in [*others, *CHAT] if index.match(prompt)] == []


def test_among_several_families_the_right_one_is_found() -> None:
    keys = {name: known(name).key for name in TEMPLATES}
    index = FamilyIndex([known(name) for name in TEMPLATES])
    for name, key in keys.items():
        assert {index.match(prompt) for prompt in prompts_of(name, 30, seed=5)} == {key}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sorting", lambda prompt: prompt.replace("Sort", "Shuffle")),
        ("sorting", lambda prompt: prompt.replace("ascending", "random").replace("descending", "random")),
        ("countdown", lambda prompt: prompt.replace("once", "twice")),
        ("countdown", lambda prompt: prompt + " Then explain every step of what you did in German."),
        (
            "countdown",
            lambda prompt: "Do not do what follows, only say how many characters it has. " + prompt,
        ),
        ("queens", lambda prompt: prompt.replace("no two queens", "all of the queens")),
        ("reversing", lambda prompt: prompt.split("\n")[0]),
    ],
)
def test_a_changed_request_is_another_task(name: str, change: object) -> None:
    index = FamilyIndex([known(name)])
    for prompt in prompts_of(name, 10, seed=8):
        assert index.match(prompt) is not None
        assert index.match(change(prompt)) is None  # type: ignore[operator]


def test_evidence_tells_families_of_one_template_apart() -> None:
    with_reference, without = known("sorting"), known("sorting", Evidence.NONE)
    assert with_reference.key != without.key
    index = FamilyIndex([with_reference, without])
    prompt = prompts_of("sorting", 1, seed=4)[0]
    for record in (with_reference, without):
        assert index.match(prompt, Signature.parse(record.signature)) == record.key
    assert index.match(prompt, Signature.parse("code/function/tests/python")) is None


def test_requests_that_share_a_long_rest_are_apart() -> None:
    rest = "When you calculate, write every step. " * 8
    draw = random.Random(2)  # noqa: S311

    def expand(_: int) -> str:
        return f"Multiply out this product: ({draw.randint(1, 9)}x + 1)({draw.randint(1, 9)}x - 4)\n{rest}"

    def integrate(_: int) -> str:
        return f"Find the indefinite integral of this: {draw.randint(1, 9)}x + {draw.randint(1, 99)}\n{rest}"

    prompts = [expand(0) for _ in range(15)] + [integrate(0) for _ in range(15)]
    assert [len({index // 15 for index in members}) for members in group(prompts) if len(members) > 1] == [
        1,
        1,
    ]


def test_a_sketch_survives_being_written() -> None:
    for name in TEMPLATES:
        made = sketch(prompts_of(name, 12))
        assert made is not None
        read = Sketch.parse(str(made))
        assert read == made and str(read) == str(made)
        assert all(read.fits(line_of(words_of(prompt))) for prompt in prompts_of(name, 12))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "{}",
        "[9, [], []]",
        "[1, [], [0]]",
        "[1, ['a'], [0]]",
        "null",
        '[1, ["a"], [0, {}, 2]]',
    ],
)
def test_what_is_no_sketch_is_refused_and_does_no_harm(text: str) -> None:
    with pytest.raises(ValueError):
        Sketch.parse(text)
    assert not FamilyIndex([Known("source:x", "open/text/none/und", text)])


def test_too_little_in_common_is_no_sketch() -> None:
    assert sketch(["Solve for x: 3x = 9", "Solve for y: 4y = 12"]) is None
    assert sketch([prompts_of("queens", 1)[0]]) is None
    assert sketch(list(CHAT)) is None
    assert sketch([]) is None


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_family as t; "
        "print(*[t.known(name).key for name in t.TEMPLATES])"
    )
    expected = " ".join(known(name).key for name in TEMPLATES)
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
    assert source_key("gsm8k") == "source:gsm8k"


HOSTILE = {
    "one word": "the " * 300_000,
    "no words": "\x00" * 1_000_000,
    "letters": "x" * (MAX_CHARS - 1),
    "short words": "of the " * (MAX_CHARS // 7),
    "a template again and again": (prompts_of("countdown", 1)[0] * 1000)[:MAX_CHARS],
    "characters": "字" * MAX_CHARS,
    "lone surrogates": "\ud800 word " * 500,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_prompts_cost_nothing(name: str) -> None:
    index = FamilyIndex([known(made) for made in TEMPLATES])
    with linear():
        assert index.match(HOSTILE[name]) is None


def test_hostile_batches_are_grouped_in_time() -> None:
    draw = random.Random(0)  # noqa: S311
    letters = [f"w{letter}" for letter in "abcdefgh"]
    batch = [" ".join(draw.choices(letters, k=6_000)) for _ in range(12)]
    batch += ["of the " * 2_000 + str(number) for number in range(12)]
    with linear():
        group(batch)


def test_puzzles_of_a_library_group_by_their_maker_and_chat_does_not() -> None:
    files = [
        DATA / f"{name}.jsonl.gz"
        for name in ("reasoning_gym", "rmb_bon", "autoj_pairwise", "gsm8k_solutions")
    ]
    if not all(file.exists() for file in files):
        pytest.skip("the shared data is not here")
    rows = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    prompts = [row["prompt"] for row in rows]
    names = [row["meta"].get("dataset", row["source"]) for row in rows]
    clusters = [members for members in group(prompts, 3) if len({prompts[index] for index in members}) > 1]
    mixed = sum(len(Counter(names[index] for index in members)) > 1 for members in clusters)
    puzzles = {index for index, row in enumerate(rows) if row["source"] == "reasoning-gym"}
    chat = sum(len(members) for members in clusters if members[0] not in puzzles)
    assert mixed <= 1
    assert chat / (len(rows) - len(puzzles)) < 0.02
