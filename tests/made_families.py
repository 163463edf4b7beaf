"""A small family that no built-in tool covers, with labelled probes and verifiers of every sort, for several tests."""

from __future__ import annotations

from random import Random

from rlar_graph.probes import Probe, hostile_set
from rlar_graph.types import Rollout

FAMILY = "source:multiples"
SIGNATURE = "open/text/none/und"

HEAD = "def score(prompt, completion, reference, **evidence):\n"
RIGHT = (
    "import re\n\n" + HEAD + "    digits, divisor = map(int, re.findall(r'[0-9]+', prompt)[:2])\n"
    "    text = completion.strip()\n"
    "    if not re.fullmatch('[1-9][0-9]*', text) or len(text) != digits:\n        return 0.0\n"
    "    return float(int(text) % divisor == 0)\n"
)
HALF = (
    "import re\n\n" + HEAD + "    divisor = int(re.findall(r'[0-9]+', prompt)[1])\n"
    "    text = completion.strip()\n    return float(text.isdigit() and int(text) % divisor == 0)\n"
)
ALWAYS = HEAD + "    return 1.0\n"
NEVER = HEAD + "    return 0.0\n"


def answer(source: str) -> str:
    """Return a source as a model would give it."""
    return f"Here is the check:\n\n```python\n{source}\n```\n\nIt follows the plan."


def probes(each: int = 60, seed: int = 1, *, visible: int | None = None) -> list[Probe]:
    """Return good, bad and hostile probes; of each of the first two a third is visible unless told otherwise."""
    random = Random(seed)  # noqa: S311 - test data, not secrets
    found: list[Probe] = []
    seen = each // 3 if visible is None else visible
    for number in range(each):
        digits, divisor = random.randint(3, 5), random.randint(3, 19)
        low = -(-(10 ** (digits - 1)) // divisor)
        right = random.randrange(low + 1, (10**digits - 1) // divisor - 1) * divisor
        prompt = f"Write one whole number of exactly {digits} digits that is divisible by {divisor}. Only the digits."
        rollout = Rollout(prompt)
        wrong = (str(right + 1), str(right * 10), f"{right} is it")[number % 3]
        found.append(Probe(rollout, str(right), "good", visible=number < seen))
        found.append(Probe(rollout, wrong, "bad", "breaks a rule", visible=number < seen))
    return [*found, *hostile_set(found[0].rollout.prompt, good_completion=found[0].completion)]


def records(count: int = 6) -> list[dict[str, object]]:
    """Return a few prompts of the family as records."""
    return [{"prompt": probe.rollout.prompt} for probe in probes(count)[:count]]
