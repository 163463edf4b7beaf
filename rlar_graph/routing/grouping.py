"""Grouping: which prompts of a batch were made from one template.

Shingles (three words in a row) that several prompts share are what a template leaves behind; shingles of one prompt
are what fills its slots, however long. Prompts are compared by the first kind only, so that a short question about a
long story is found, and ordinary prompts, which share next to nothing, stay alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rlar_graph.routing.sketch import Sketch, line_of, sketch, words_of

SMALLEST = 4
"""Prompts in a group, unless told otherwise."""

LOOSE, CLOSE = 0.3, 0.8
"""Shared part of the shingles of two prompts that may be of one template, and of two that are."""

RECURRING = 0.2
"""Share of a loose group that has a shingle of its templates; names and nouns that fill slots recur less."""

LEADERS = 24
"""Most groups that are looked at for one shingle; what more than so many begin with tells nothing apart."""

Shingles = frozenset[tuple[str, ...]]


def group(prompts: Sequence[str], smallest: int = SMALLEST) -> list[list[int]]:
    """Return the indices of prompts, one list per template; prompts of no template are alone.

    Equal prompts are one prompt here, in whichever list it is: repeating it makes no template of it.

    Args:
        prompts: Prompts, of any kind.
        smallest: Least number of different prompts that make a template.
    """
    places: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        places.setdefault(prompt, []).append(index)
    distinct = list(places)
    groups = [members for _, members in templates(distinct, smallest)]
    grouped = {number for members in groups for number in members}
    groups += [[number] for number in range(len(distinct)) if number not in grouped]
    spread = [sorted(place for number in members for place in places[distinct[number]]) for members in groups]
    return sorted(spread)


def templates(prompts: Sequence[str], smallest: int = SMALLEST) -> list[tuple[Sketch, list[int]]]:
    """Return the templates of different prompts and the indices of those made from each, the largest first."""
    words = [words_of(prompt) for prompt in prompts]
    shingles = [frozenset(zip(row, row[1:], row[2:], strict=False)) for row in words]
    lines = [line_of(row) for row in words]
    found: list[tuple[Sketch, list[int]]] = []
    for loose in _alike(shingles, range(len(prompts)), smallest, LOOSE):
        share = max(smallest, round(RECURRING * len(loose)))
        groups = _alike(shingles, loose, share, CLOSE)
        found += [made for close in groups for made in _worded_alike(prompts, lines, close, smallest)]
        left = [index for close in groups if len(close) < smallest for index in close]
        found += _worded_alike(prompts, lines, left, smallest)
    return _claimed(found, lines, smallest)


def _worded_alike(
    prompts: Sequence[str], lines: Sequence[str], members: list[int], smallest: int
) -> list[tuple[Sketch, list[int]]]:
    """Return the sketch of a group, or those of its parts: requests that differ in a phrase may share a long rest."""
    made = sketch([prompts[index] for index in members]) if len(members) >= smallest else None
    if made is None:
        return []
    parts: dict[tuple[str, ...], list[int]] = {}
    for index in members:
        if made.fits(lines[index]):
            parts.setdefault(made.wording(lines[index]), []).append(index)
    if len(parts) < 2:
        return [(made, members)]
    split = [
        (sketch([prompts[index] for index in part]), part) for part in parts.values() if len(part) >= smallest
    ]
    return [(narrower, part) for narrower, part in split if narrower is not None]


def _alike(
    shingles: Sequence[Shingles], members: Iterable[int], smallest: int, least: float
) -> list[list[int]]:
    """Return groups of prompts that share at least this part of their recurring shingles with the first of it."""
    members = list(members)
    counts = Counter(shingle for index in members for shingle in shingles[index])
    recurring = {shingle for shingle, count in counts.items() if count >= smallest}
    leaders: list[Shingles] = []
    led: dict[tuple[str, ...], list[int]] = {}
    groups: list[list[int]] = []
    for index in members:
        own = shingles[index] & recurring
        if not own:
            continue
        best, alike = _nearest(own, leaders, led)
        if alike >= least:
            groups[best].append(index)
            continue
        for shingle in own:
            if len(led.setdefault(shingle, [])) < LEADERS:
                led[shingle].append(len(leaders))
        leaders.append(own)
        groups.append([index])
    return groups


def _nearest(
    own: Shingles, leaders: Sequence[Shingles], led: dict[tuple[str, ...], list[int]]
) -> tuple[int, float]:
    """Return the leader most like a prompt, and how much it is (Jaccard)."""
    shared = Counter(leader for shingle in own for leader in led.get(shingle, ()))
    best, most = -1, 0.0
    for leader, count in shared.most_common(8):
        alike = count / (len(own) + len(leaders[leader]) - count)
        if alike > most:
            best, most = leader, alike
    return best, most


def _claimed(
    found: Sequence[tuple[Sketch, list[int]]], lines: Sequence[str], smallest: int
) -> list[tuple[Sketch, list[int]]]:
    """Return the templates that tell enough prompts apart, each prompt with the first that fits."""
    claimed: list[tuple[Sketch, list[int]]] = []
    taken: set[int] = set()
    for made, members in sorted(found, key=lambda entry: (-len(entry[1]), entry[1])):
        fitting = [index for index in members if index not in taken and made.fits(lines[index])]
        if len(fitting) >= smallest:
            claimed.append((made, fitting))
            taken.update(fitting)
    return claimed
