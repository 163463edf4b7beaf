"""What a verifier remembers stays within its bytes, and what it says does not depend on it."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

from rlar_graph.engine import Engine
from rlar_graph.rewards.base import AnswerVerifier
from rlar_graph.rewards.memo import LARGEST_BYTES, MEMO_BYTES, Memo
from rlar_graph.types import RIGHT, WRONG, Rollout, abstain


def test_the_newest_are_kept_within_the_limit_and_it_is_kept_in_truth() -> None:
    limit = 1 << 20
    memo = Memo(limit)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            memo.keep({(f"'{number}'", (), f"answer {number}"): RIGHT})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert memo.bytes <= limit and 0 < len(memo) < 20_000
    assert taken < 1.5 * limit
    assert memo.get(("'19999'", (), "answer 19999")) is RIGHT
    assert memo.get(("'0'", (), "answer 0")) is None


def test_what_is_large_or_abstains_pushes_nothing_out() -> None:
    memo = Memo(4 * LARGEST_BYTES)
    memo.keep(
        {("r", (), "a"): WRONG, ("r", ("alias " * LARGEST_BYTES,), "b"): RIGHT, ("r", (), "c"): abstain("no")}
    )
    memo.keep({("r", (), "x" * LARGEST_BYTES): RIGHT})
    assert len(memo) == 1 and memo.get(("r", (), "a")) is WRONG


def test_threads_keep_the_count_of_bytes_right() -> None:
    memo = Memo(50_000)

    def fill(lane: int) -> None:
        for number in range(500):
            memo.keep({("r", (), f"{lane % 4} {number}"): RIGHT})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fill, range(8)))
    sizes = [size for _, size in memo._verdicts.values()]
    assert memo.bytes == sum(sizes) <= 50_000


def test_a_verifier_of_unrepeated_prompts_stays_within_its_bytes(engine: Engine) -> None:
    tool = engine.library.load("choice")
    assert isinstance(tool, AnswerVerifier)
    tool._memo = Memo(MEMO_BYTES // 100)
    for number in range(400):
        rollout = Rollout(
            f"Which is {number}?\nA. {number}\nB. {number + 1}\nAnswer with the letter.",
            ("The answer is A.", "The answer is B."),
            reference="A",
            choices=(("A", f"{number}"), ("B", f"{number + 1}")),
        )
        (row,) = tool.score([rollout])
        assert [verdict.value for verdict in row] == [1.0, 0.0]
        assert tool._memo.bytes <= MEMO_BYTES // 100
    assert 0 < len(tool._memo) < 800
