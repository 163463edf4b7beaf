r"""Throughput of the maths verifier against math-verify in a plain process pool, and TRL's accuracy reward.

    python benchmarks/maths.py [--pairs 2000] [--rounds 3] [--workers 2] [--json OUT]

All are given the same pairs in the same run; every round has pairs of its own, so that nothing is remembered from the
last, and the median over the rounds is reported. The pairs are generated: 40 % integers, 15 % decimals, 15 % fractions,
10 % radicals, 10 % polynomials, 5 % tuples, 5 % sets; half of the responses are wrong by construction; a response has
about 840 characters; some have no box, or a cut one. Every verdict that differs from the construction, or between the
two, is listed with who is right; a last batch holds notations on which the two are known to part.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

from rlar_graph.rewards.verifiers.maths import MathsVerifier
from rlar_graph.sandbox import Sandbox, open_sandbox
from rlar_graph.types import Rollout

SEED = 20_261_124
FILLER = (
    "We start from what is given and write down what is asked. ",
    "Collecting terms on one side leaves a simpler relation between the quantities. ",
    "Substituting back shows that the intermediate step is consistent. ",
    "The two cases lead to the same place, so only one has to be worked out. ",
    "This simplifies after the common factor is taken out. ",
)
KINDS = {"integer": 40, "decimal": 15, "fraction": 15, "radical": 10, "polynomial": 10, "tuple": 5, "set": 5}
NUMERIC = frozenset({"integer", "decimal", "fraction"})


NOTATIONS = (
    ("3/2", "1 1/2", True), ("1000", "1e3", True),
    (r"\frac{1}{1+i}", r"\frac{1-i}{2}", True), ("i", r"\sqrt{-1}", True),
    (r"(3,\infty)", "x > 3", True), (r"\frac{1}{3}", r"33\frac{1}{3}\%", True), ("12", "twelve", True),
    (r"\cos 60^\circ", "1/2", True), (r"0.\overline{3}", "1/3", True), ("28.5", r"28.5\%", True),
    ("0.0000001", "0.0000002", False), ("0", "0 3 5", False), ("5 cm", r"5\text{ m}", False), ("42", "41 or 42", False),
)  # fmt: skip
"""(reference, answer, same?)"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and a response whose verdict is known by construction."""

    kind: str
    reference: str
    response: str
    right: bool | None
    """None where the response has no box, or a cut one: whoever finds an answer in the prose may be right."""


def make_pairs(count: int, rng: random.Random) -> list[Pair]:
    """Return ``count`` pairs in the mix that the module describes."""
    kinds = rng.choices(list(KINDS), weights=list(KINDS.values()), k=count)
    return [make_pair(kind, rng) for kind in kinds]


def make_pair(kind: str, rng: random.Random) -> Pair:
    """Return one pair of a kind; 8 % of the responses end before or within their box."""
    reference, same, other = ANSWERS[kind](rng)
    right = rng.random() < 0.5
    length = max(80, int(rng.gauss(800, 250)))
    text = ""
    while len(text) < length:
        text += rng.choice(FILLER)
    answer = same if right else other
    fate = rng.random()
    if fate < 0.04:
        return Pair(kind, reference, text.rstrip(), None)
    if fate < 0.08:
        return Pair(kind, reference, f"{text}The final answer is $\\boxed{{{answer[:2]}", None)
    return Pair(kind, reference, f"{text}The final answer is $\\boxed{{{answer}}}$.", right)


def _integer(rng: random.Random) -> tuple[str, str, str]:
    number = rng.randint(-5_000, 100_000)
    same = rng.choice(
        [f"{number}", f"{number:,}", f"{number}.0", f"x = {number}", f"{number} \\text{{ units}}"]
    )
    return str(number), same, str(number + rng.choice([-10, -1, 1, 2, 100]))


def _decimal(rng: random.Random) -> tuple[str, str, str]:
    number = Fraction(rng.randint(1, 99_999), rng.choice([10, 100, 1000]))
    text = f"{float(number):g}"
    same = rng.choice(
        [text, f"{text}0" if "." in text else text, f"\\frac{{{number.numerator}}}{{{number.denominator}}}"]
    )
    return text, same, f"{float(number + Fraction(1, 10)):g}"


def _fraction(rng: random.Random) -> tuple[str, str, str]:
    top, bottom, factor = rng.randint(1, 60), rng.randint(2, 60), rng.randint(2, 5)
    wrong = rng.choice([f"\\frac{{{bottom}}}{{{top + 61}}}", f"\\frac{{{top + 1}}}{{{bottom}}}"])
    same = rng.choice(
        [f"{top * factor}/{bottom * factor}", f"\\dfrac{{{top * factor}}}{{{bottom * factor}}}"]
    )
    return f"\\frac{{{top}}}{{{bottom}}}", same, wrong


def _radical(rng: random.Random) -> tuple[str, str, str]:
    outer, free = rng.randint(2, 12), rng.choice([2, 3, 5, 6, 7, 10, 11, 13])
    same = rng.choice([f"\\sqrt{{{outer * outer * free}}}", f"\\frac{{{outer * free}}}{{\\sqrt{{{free}}}}}"])
    return f"{outer}\\sqrt{{{free}}}", same, f"{outer + 1}\\sqrt{{{free}}}"


def _polynomial(rng: random.Random) -> tuple[str, str, str]:
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    expanded = f"x^2 + {a + b}x + {a * b}"
    return expanded, f"(x + {a})(x + {b})", f"(x + {a})(x + {b + 1})"


def _tuple(rng: random.Random) -> tuple[str, str, str]:
    a, b, c = rng.randint(-20, 20), rng.randint(1, 20), rng.randint(21, 40)
    return (
        f"({a}, \\frac{{{b}}}{{2}}, {c})",
        f"\\left({a},{b / 2:g},{c}\\right)",
        f"({c}, \\frac{{{b}}}{{2}}, {a})",
    )


def _set(rng: random.Random) -> tuple[str, str, str]:
    members = rng.sample(range(-30, 30), 3)
    same = ", ".join(map(str, reversed(members)))
    other = ", ".join(map(str, [*members[:2], members[2] + 61]))
    return f"\\{{{', '.join(map(str, members))}\\}}", f"\\{{{same}\\}}", f"\\{{{other}\\}}"


ANSWERS: dict[str, Callable[[random.Random], tuple[str, str, str]]] = {
    "integer": _integer, "decimal": _decimal, "fraction": _fraction, "radical": _radical,
    "polynomial": _polynomial, "tuple": _tuple, "set": _set,
}  # fmt: skip


def grpo_batch(prompts: int, group: int, rng: random.Random) -> list[list[Pair]]:
    """Return groups of responses to one reference each, of which few are distinct answers, as in a GRPO step."""
    groups = []
    for kind in rng.choices(list(KINDS), weights=list(KINDS.values()), k=prompts):
        reference, same, other = ANSWERS[kind](rng)
        third = ANSWERS[kind](rng)[2]
        row = []
        for answer, right in rng.choices(
            [(same, True), (other, False), (third, None)], weights=[45, 40, 15], k=group
        ):
            text = "".join(rng.choices(FILLER, k=13))
            row.append(Pair(kind, reference, f"{text}The final answer is $\\boxed{{{answer}}}$.", right))
        groups.append(row)
    return groups


def pool_task(pair: tuple[str, str]) -> bool:
    """Judge one pair the way trainers do: parse both, verify. Runs in a pool process, on its main thread."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    reference, response = pair
    return bool(verify(parse(f"${reference}$"), parse(response)))


def time_pool(pool: ProcessPoolExecutor, pairs: Sequence[Pair]) -> tuple[float, list[float | None]]:
    """Return seconds and verdicts of math-verify in the pool, 32 pairs a task."""
    tasks = [(pair.reference, pair.response) for pair in pairs]
    started = time.perf_counter()
    verdicts = list(pool.map(pool_task, tasks, chunksize=32))
    return time.perf_counter() - started, [float(verdict) for verdict in verdicts]


def time_verifier(sandbox: Sandbox, groups: Sequence[Sequence[Pair]]) -> tuple[float, list[float | None]]:
    """Return seconds and verdicts of a fresh verifier, whose memo is empty, on groups that share a prompt."""
    verifier = MathsVerifier(lambda: sandbox)
    started = time.perf_counter()
    rollouts = [
        Rollout(
            prompt="Solve it.",
            completions=tuple(pair.response for pair in group),
            reference=group[0].reference,
        )
        for group in groups
    ]
    rows = verifier.score(rollouts)
    seconds = time.perf_counter() - started
    return seconds, [verdict.value for row in rows for verdict in row]


def time_trl(pairs: Sequence[Pair]) -> tuple[float, list[float | None]] | None:
    """Return seconds and verdicts of TRL's accuracy reward, None where TRL is not installed."""
    try:
        from trl.rewards import accuracy_reward
    except ImportError:
        return None
    completions = [[{"role": "assistant", "content": pair.response}] for pair in pairs]
    started = time.perf_counter()
    rewards = accuracy_reward(completions=completions, solution=[f"${pair.reference}$" for pair in pairs])
    return time.perf_counter() - started, list(rewards)


def disagreements(
    pairs: Sequence[Pair], ours: Sequence[float | None], theirs: Sequence[float | None]
) -> list[str]:
    """Return a line for each pair on which a verdict differs from the other's or from the construction."""
    lines = []
    for pair, mine, other in zip(pairs, ours, theirs, strict=True):
        truth = None if pair.right is None else float(pair.right)
        if mine == other and truth in (None, mine):
            continue
        right = {True: "both wrong"}.get(truth not in (None, mine, other), "nobody by construction")
        if truth is not None and truth in (mine, other):
            right = "ours" if mine == truth else "math-verify"
        tail = pair.response.rpartition(". ")[2]
        lines.append(
            f"{pair.kind}: {pair.reference!r} / {tail!r}: ours {mine}, math-verify {other}; right: {right}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 1 if a verdict of ours contradicts the construction."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2_000, help="how many generated pairs (default 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each path is timed (default 3)")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes, for the pool and the sandbox (default 2)"
    )
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args(arguments)
    with (
        ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool,
        open_sandbox(workers=options.workers) as sandbox,
    ):
        time_pool(pool, make_pairs(64, random.Random(0)))
        time_verifier(sandbox, [[Pair("warm", r"\sin x", r"\boxed{\cos x}", False)]] * 4)
        rounds = [_batches(options.pairs, random.Random(SEED + number)) for number in range(options.rounds)]
        results = [_measure(name, [batches[name] for batches in rounds], pool, sandbox) for name in rounds[0]]
    if time_trl([]) is None:
        print("TRL is not installed: pip install 'rlar-graph[trl]' in an environment with torch adds its row")
    if options.json:
        options.json.write_text(json.dumps(dict(zip(rounds[0], results, strict=True)), indent=2) + "\n")
    return 1 if any(figures["wrong"] for figures in results) else 0


def _batches(pairs: int, rng: random.Random) -> dict[str, list[list[Pair]]]:
    """Return the three batches of one round: the mix, numbers only, and a GRPO step."""
    mixed = make_pairs(pairs, rng)
    numeric = [pair for pair in make_pairs(pairs, rng) if pair.kind in NUMERIC and pair.right is not None]
    return {
        "mixed": [[pair] for pair in mixed],
        "numeric": [[pair] for pair in numeric],
        "GRPO 250 x 8": grpo_batch(250, 8, rng),
        "notations": [
            [Pair("notation", left, f"It is $\\boxed{{{right}}}$.", same)] for left, right, same in NOTATIONS
        ],
    }


def _measure(
    name: str, rounds: Sequence[list[list[Pair]]], pool: ProcessPoolExecutor, sandbox: Sandbox
) -> dict[str, float]:
    """Time each path on one kind of batch, print the medians and every disagreement."""
    ours, theirs, trl, lines, wrong, size = [], [], [], [], 0, 0
    for groups in rounds:
        pairs = [pair for group in groups for pair in group]
        seconds, mine = time_verifier(sandbox, groups)
        ours.append(len(pairs) / seconds)
        seconds, other = time_pool(pool, pairs)
        theirs.append(len(pairs) / seconds)
        rewarded = time_trl(pairs)
        if rewarded is not None:
            trl.append(len(pairs) / rewarded[0])
        lines += disagreements(pairs, mine, other)
        wrong += sum(
            pair.right is not None and value != pair.right for pair, value in zip(pairs, mine, strict=True)
        )
        size += len(pairs)
    rate, pool_rate = statistics.median(ours), statistics.median(theirs)
    figures = {
        "pairs": size,
        "ours_per_s": rate,
        "pool_per_s": pool_rate,
        "ratio": rate / pool_rate,
        "wrong": wrong,
    }
    print(f"{name}: {size} pairs in {len(rounds)} rounds, load average {os.getloadavg()[0]:.1f}")
    print(
        f"  rlar-graph {rate:>12,.0f}/s   math-verify pool {pool_rate:>8,.0f}/s   ratio {rate / pool_rate:.1f}"
    )
    if trl:
        figures["trl_per_s"] = statistics.median(trl)
        print(
            f"  TRL accuracy_reward {figures['trl_per_s']:,.0f}/s   ratio {rate / figures['trl_per_s']:.1f}"
        )
    print(
        f"  verdicts that differ: {len(set(lines))}",
        *(f"    {line}" for line in dict.fromkeys(lines)),
        sep="\n",
    )
    return figures


if __name__ == "__main__":
    sys.exit(main())
