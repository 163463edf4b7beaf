"""Families of prompts that no built-in tool covers, each with completions labelled by the family's own scorer.

Several answers are right, or no reference is given: a completion must be checked against its prompt. Some families
are reasoning-gym's, labelled by its scorers; the others are format rules of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from random import Random
from typing import Any

from rlar_graph.probes import Probe
from rlar_graph.types import Rollout

GYM = (
    "countdown",
    "n_queens",
    "mini_sudoku",
    "palindrome_generation",
    "string_manipulation",
    "word_sorting",
)
WORDS = """apple amber anchor autumn basket bright button beacon candle copper crimson camera desert dragon dinner
echo ember engine fabric forest falcon garden golden granite hammer harbor hollow island ivory insect jacket jungle
jolly kettle kitten knight ladder lemon lantern marble meadow mirror needle nimble north orange orchid otter paper
pillow puzzle quiet quartz quick rabbit river rocket silver summer shadow tiger timber tunnel umbrella under unity
velvet violet valley window winter walnut xenon yellow yonder yogurt zebra zigzag zinc""".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt with what it takes to label completions of it."""

    prompt: str
    """The prompt."""
    accepts: Callable[[str], bool]
    """The family's own scorer: whether a completion is right, outer whitespace aside."""
    right: str
    """A right completion."""
    wrong: tuple[str, ...] = ()
    """Completions that break one rule each; the scorer has the last word."""


Maker = Callable[[Random], Task]


def labelled(make: Callable[[int], Iterator[Task]], seed: int, each: int) -> list[Probe]:
    """Return ``each`` good and ``each`` bad completions of a family, labelled by its scorer.

    Bad ones break a rule, are a right answer to another prompt, or are a right answer with a character or a line
    changed; what the scorer accepts all the same is left out.
    """
    random = Random(seed)
    good: dict[tuple[str, str], Probe] = {}
    bad: dict[tuple[str, str], Probe] = {}
    other = "I am not sure."
    for task in make(seed):
        if len(good) >= each and len(bad) >= each:
            break
        rollout = Rollout(task.prompt)
        if task.accepts(task.right) and len(good) < each:
            good[task.prompt, task.right] = Probe(rollout, task.right, "good")
        offers = [*task.wrong, other, *(mutated(task.right, random) for _ in range(2))]
        random.shuffle(offers)
        wrong = [text for text in offers if text.strip() and not task.accepts(text.strip())]
        for text in wrong[: 1 + (len(good) > len(bad))]:
            if len(bad) < each:
                bad[task.prompt, text] = Probe(rollout, text, "bad")
        other = task.right
    return [*good.values(), *bad.values()]


def mutated(text: str, random: Random) -> str:
    """Return a right answer with a character dropped, doubled or exchanged, or two of its lines swapped.

    Spaces are left alone: scorers differ on whether they matter.
    """
    lines = text.splitlines()
    if len(lines) > 1 and random.random() < 0.4:
        one, two = random.sample(range(len(lines)), 2)
        lines[one], lines[two] = lines[two], lines[one]
        return "\n".join(lines)
    place = random.choice([place for place, char in enumerate(text) if not char.isspace()])
    char = text[place]
    change = random.choice(("", char * 2, str(random.randrange(10)) if char.isdigit() else "x"))
    return text[:place] + change + text[place + 1 :]


def family(name: str) -> Callable[[int], Iterator[Task]]:
    """Return what makes the tasks of a family from a seed, without end."""
    if name in OWN:
        return lambda seed: _own(OWN[name], seed)
    return lambda seed: _gym(name, seed)


def _own(make: Maker, seed: int) -> Iterator[Task]:
    random = Random(seed)
    while True:
        yield make(random)


def _gym(name: str, seed: int) -> Iterator[Task]:
    """Yield tasks of reasoning-gym.

    Raises:
        SystemExit: The package is not installed.
    """
    try:
        import reasoning_gym
    except ImportError as error:
        raise SystemExit("these families need reasoning-gym: pip install reasoning-gym") from error
    for number in count():
        made: Any = reasoning_gym.create_dataset(name, size=50, seed=seed * 1_000 + number)
        for entry in made:
            if isinstance(entry["answer"], str):
                yield Task(entry["question"], _scorer(made, entry), entry["answer"])


def _scorer(made: Any, entry: Any) -> Callable[[str], bool]:
    def accepts(completion: str) -> bool:
        try:
            return bool(made.score_answer(completion, entry) >= 1.0)
        except (ValueError, TypeError, KeyError, IndexError, SyntaxError, ArithmeticError, AttributeError):
            return False  # a scorer that breaks has not accepted

    return accepts


def _listing(random: Random) -> Task:
    n = random.randint(3, 6)
    thing = random.choice(("colours", "animals", "fruits", "cities", "tools"))
    words = [word.rstrip("s") for word in random.sample(WORDS, n)]

    def accepts(text: str) -> bool:
        parts = text.split(", ")
        return len(parts) == n and all(part.isascii() and part.isalpha() and part.islower() for part in parts)

    right = ", ".join(words)
    wrong = (
        right + ", plum",
        ", ".join(words[1:]),
        right.title(),
        right.replace(", ", "; "),
        f"Sure: {right}.",
    )
    prompt = (
        f"Name exactly {n} {thing}. Write them in lowercase letters, separated by a comma and one space, and write "
        "nothing else. Each must be a single word."
    )
    return Task(prompt, accepts, right, wrong)


def _alliteration(random: Random) -> Task:
    letter = random.choice([c for c in "abcdefghijklmnoprstuvwyz" if sum(w[0] == c for w in WORDS) >= 2])
    n = random.randint(4, 7)
    pool = [word for word in WORDS if word[0] == letter]
    words = [random.choice(pool) for _ in range(n + random.randint(0, 2))]

    def accepts(text: str) -> bool:
        found = [word.strip(".,;:!?'\"()") for word in text.split()]
        found = [word for word in found if word]
        return len(found) >= n and all(word[0].lower() == letter for word in found)

    right = " ".join(words).capitalize() + "."
    wrong = (" ".join(words[: n - 1]), right[:-1] + " xylophone.", "The " + right, right.replace(letter, "x"))
    prompt = f"Write a sentence of at least {n} words in which every word starts with the letter '{letter}'."
    return Task(prompt, accepts, right, wrong)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def _primes(random: Random) -> Task:
    low = random.randint(2, 200)
    high, n = low + random.randint(60, 120), random.randint(3, 5)
    pool = [number for number in range(low, high + 1) if _is_prime(number)]
    chosen = sorted(random.sample(pool, n))

    def accepts(text: str) -> bool:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != n or not all(part.isascii() and part.isdigit() for part in parts):
            return False
        numbers = [int(part) for part in parts]
        return all(low <= x <= high and _is_prime(x) for x in numbers) and numbers == sorted(set(numbers))

    def text(numbers: list[int]) -> str:
        return ", ".join(map(str, numbers))

    odd = next(x for x in range(chosen[-1] + 1, chosen[-1] + 9) if not _is_prime(x))
    wrong = (text(chosen[::-1]), text(chosen[1:]), text([*chosen[:-1], odd]), text([*chosen[1:], chosen[-1]]))
    prompt = (
        f"List exactly {n} different prime numbers between {low} and {high}, in increasing order, separated by "
        "commas. Write nothing else."
    )
    return Task(prompt, accepts, text(chosen), wrong)


def _dates(random: Random) -> Task:
    first = date(2000, 1, 1) + timedelta(days=random.randint(0, 9_000))
    last = first + timedelta(days=random.randint(20, 400))
    chosen = first + timedelta(days=random.randint(1, (last - first).days - 1))

    def accepts(text: str) -> bool:
        if len(text) != 10 or not text.isascii():
            return False
        try:
            return first < date.fromisoformat(text) < last
        except ValueError:
            return False

    year = chosen.isoformat()[:4]
    wrong = (
        chosen.strftime("%d.%m.%Y"), chosen.strftime("%Y/%m/%d"), f"{year}-02-30", f"{year}-13-01",
        (first - timedelta(days=3)).isoformat(), (last + timedelta(days=3)).isoformat(),
        first.isoformat(), f"It is {chosen.isoformat()}",
    )  # fmt: skip
    prompt = (
        f"Give any calendar date after {first.isoformat()} and before {last.isoformat()}. Answer with the date alone, "
        "in the form YYYY-MM-DD."
    )
    return Task(prompt, accepts, chosen.isoformat(), wrong)


def _brackets(random: Random) -> Task:
    depth = random.randint(2, 6)

    def nested(levels: int) -> str:
        inner = "(" * levels + ")" * levels
        for _ in range(random.randint(0, 2)):
            side = "(" * (n := random.randint(1, levels)) + ")" * n
            inner = inner + side if random.random() < 0.5 else side + inner
        return inner

    def accepts(text: str) -> bool:
        level = deepest = 0
        for char in text:
            level += {"(": 1, ")": -1}.get(char, -1_000)
            deepest = max(deepest, level)
            if level < 0:
                return False
        return level == 0 and deepest == depth

    right = nested(depth)
    wrong = (
        nested(depth + 1),
        nested(depth - 1),
        right + ")",
        "(" + right,
        right[::-1],
        right.replace("(", "["),
    )
    prompt = (
        "Write a balanced string of round brackets, '(' and ')', and no other characters, whose nesting depth is "
        f"exactly {depth}."
    )
    return Task(prompt, accepts, right, wrong)


def _divisible(random: Random) -> Task:
    digits, divisor = random.randint(3, 6), random.randint(3, 19)
    low, high = 10 ** (digits - 1), 10**digits - 1
    number = random.randrange(-(-low // divisor), high // divisor + 1) * divisor

    def accepts(text: str) -> bool:
        plain = text.isascii() and text.isdigit() and not text.startswith("0")
        return plain and len(text) == digits and int(text) % divisor == 0

    wrong = (
        str(number + 1),
        str(number)[:-1],
        str(number * 10),
        f"{number}.",
        f"0{str(number)[1:]}",
        f"-{number}",
    )
    prompt = (
        f"Write one positive whole number that has exactly {digits} digits and is divisible by {divisor}. Write only "
        "the digits."
    )
    return Task(prompt, accepts, str(number), wrong)


def _sum(random: Random) -> Task:
    n = random.randint(3, 5)
    numbers = random.sample(range(1, 60), n)
    total = sum(numbers)

    def accepts(text: str) -> bool:
        parts = text.split()
        if len(parts) != n or not all(part.isascii() and part.isdigit() for part in parts):
            return False
        found = [int(part) for part in parts]
        return min(found) > 0 and len(set(found)) == n and sum(found) == total

    def text(values: list[int]) -> str:
        return " ".join(map(str, values))

    twice = [numbers[0], numbers[0], *numbers[2:]]
    wrong = (
        text([*numbers[:-1], numbers[-1] + 1]), text(numbers[1:]), text(twice),
        " + ".join(map(str, numbers)), text([*numbers, 0]), text([total - 1, 1]),
    )  # fmt: skip
    prompt = (
        f"Write {n} different positive integers whose sum is {total}, separated by spaces, and nothing else."
    )
    return Task(prompt, accepts, text(numbers), wrong)


def _acrostic(random: Random) -> Task:
    starts = {word[0] for word in WORDS}
    key = random.choice([word for word in WORDS if len(word) <= 6 and set(word) <= starts])
    words = [random.choice([word for word in WORDS if word[0] == letter]) for letter in key]

    def accepts(text: str) -> bool:
        lines = text.splitlines()
        single = all(line.isascii() and line.isalpha() for line in lines)
        return single and "".join(line[0].lower() for line in lines) == key

    right = "\n".join(words)
    wrong = (
        "\n".join(words[::-1]),
        "\n".join(words[1:]),
        " ".join(words),
        f"{right}\nzebra",
        key,
        f"{right}!",
    )
    prompt = (
        f"Write an acrostic of the word '{key}': one single word per line, where the first letters of the lines spell "
        f"'{key}'. No other text."
    )
    return Task(prompt, accepts, right, wrong)


OWN: dict[str, Maker] = {
    "listing": _listing,
    "alliteration": _alliteration,
    "primes": _primes,
    "dates": _dates,
    "brackets": _brackets,
    "divisible": _divisible,
    "sum": _sum,
    "acrostic": _acrostic,
}
"""Format rules of our own."""

FAMILIES = (*OWN, *GYM)
"""Every family."""
