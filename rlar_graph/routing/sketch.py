"""The sketch of a family: the template its prompts were made from, told from the prompts alone.

Only words count; numbers, punctuation, single letters and thereby grids and formulas are left out. What every prompt
has in the same order is the template's *segments*; what stands between them fills its *slots*. A slot in which few
values recur (``ascending``, ``descending``) is part of what the task is, so it accepts only those; one whose values
keep changing (names, sentences) accepts any text of about that length.
"""

from __future__ import annotations

import itertools
import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

MAX_CHARS = 20_000
"""Longer prompts have no sketch and fit none: looking at one costs no more than this, whoever wrote it."""

MIN_WORDS = 9
"""A template of fewer constant words than this, marks of the ends included, fits too much."""

MIN_SHARE, ENOUGH_WORDS = 0.3, 24
"""Least share of constant words in a prompt, unless there are enough. Prompts that do not begin alike need enough:
they may share no more than how they end."""

MIN_RUN = 3
"""Words in a row that make a segment; two recur by chance in what fills a slot."""

MAX_SEGMENTS = 64
"""Segments of a sketch, the longest."""

MAX_VALUE_WORDS = 6
"""A slot is open if it was filled with more words than this."""

UNSEEN_FROM = 0.3
"""A slot is open if this share of its values came once: by Good and Turing's estimate, the chance of a new one."""

SAMPLE, FILLING = 24, 400
"""Prompts of a family from which its segments are told, and what fills its slots."""

MOSTLY = 0.8
"""Share of a family's prompts that must have its segments; the others are not of it."""

ItemT = TypeVar("ItemT")

_LETTERS = "".join(chr(code).lower() if chr(code).isalpha() else " " for code in range(128))
_WORD = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff]{2,}|[\u3040-\u30ff\u3400-\u9fff]")
_FIRST, _LAST = "<", ">"
VERSION = 1


def words_of(prompt: str) -> list[str]:
    """Return the words of a prompt between two marks of its ends; none at all if it is too long.

    In scripts without spaces between words each character is one.
    """
    if len(prompt) > MAX_CHARS:
        return []
    if prompt.isascii():
        words = [word for word in prompt.translate(_LETTERS).split() if len(word) > 1]
    else:
        words = _WORD.findall(prompt.lower())
    return [_FIRST, *words, _LAST]


def line_of(words: Sequence[str]) -> str:
    """Return words as one text in which every word has a space on either side."""
    return f" {' '.join(words)} " if words else ""


@dataclass(frozen=True, slots=True)
class Slot:
    """What may stand between two segments."""

    values: frozenset[str] | None
    """The only texts it accepts; None for any."""
    most: int
    """Most words it accepts."""

    @property
    def holds_phrases(self) -> bool:
        """Say whether it accepts one of a few phrases: those of a request, where single words are parameters of it."""
        return self.values is not None and sum(" " in value for value in self.values) > len(self.values) / 2

    def accepts(self, text: str) -> bool:
        """Say whether a text may stand here."""
        if self.values is not None:
            return text in self.values
        return text.count(" ") < self.most


@dataclass(frozen=True, slots=True)
class Sketch:
    """The template of a family."""

    segments: tuple[str, ...]
    """What every prompt has, in order, each with a space on either side."""
    slots: tuple[Slot, ...]
    """What stands before, between and after them; one more than segments."""
    _order: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", _placing_order(self.segments))

    @property
    def words(self) -> int:
        """Return how many words the template has."""
        return sum(segment.count(" ") - 1 for segment in self.segments)

    def fits(self, line: str) -> bool:
        """Say whether a prompt, as :func:`line_of` returns it, was made from this template."""
        gaps = _gaps(self.segments, self._order, line)
        if gaps is None:
            return False
        return all(slot.accepts(gap) for slot, gap in zip(self.slots, gaps, strict=True))

    def wording(self, line: str) -> tuple[str, ...]:
        """Return what a prompt that fits has in the slots whose few values are phrases: how its request is worded."""
        gaps = _gaps(self.segments, self._order, line) or []
        return tuple(gap for slot, gap in zip(self.slots, gaps, strict=False) if slot.holds_phrases)

    def __str__(self) -> str:
        slots = [slot.most if slot.values is None else sorted(slot.values) for slot in self.slots]
        return json.dumps(
            [VERSION, [segment.strip() for segment in self.segments], slots], ensure_ascii=False
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the sketch that ``str`` wrote.

        Raises:
            ValueError: It is none, or of another version.
        """
        try:
            version, segments, slots = json.loads(text)
            if version != VERSION or len(slots) != len(segments) + 1 or not segments:
                raise ValueError("it is of another version or shape")
            read = [Slot(None, slot) if isinstance(slot, int) else _closed(slot) for slot in slots]
            return cls(tuple(f" {segment} " for segment in segments), tuple(read))
        except (TypeError, AttributeError) as error:
            raise ValueError("a sketch is a version, segments and slots") from error


def sketch(prompts: Sequence[str]) -> Sketch | None:
    """Return what a family's prompts have in common; None if that is too little to tell it from others."""
    rows = [words for prompt in _spread(prompts, FILLING) if (words := words_of(prompt))]
    if len(rows) < 2:
        return None
    sample = _spread(rows, SAMPLE)
    segments = _common(min(sample, key=len), sample)
    for words in sample:
        segments = _present(segments, line_of(words))
    segments = tuple(segment for segment in segments if segment.count(" ") > MIN_RUN)
    order = _placing_order(segments)
    fillings = [gaps for words in rows if (gaps := _gaps(segments, order, line_of(words))) is not None]
    if not segments or len(fillings) < MOSTLY * len(rows):
        return None
    found = Sketch(segments, tuple(_slot(column) for column in zip(*fillings, strict=True)))
    average = sum(map(len, rows)) / len(rows)
    begins_alike = found.slots[0].values is not None
    needed = max(MIN_WORDS, min(ENOUGH_WORDS, MIN_SHARE * average)) if begins_alike else ENOUGH_WORDS
    return found if found.words >= needed else None


def _spread(items: Sequence[ItemT], most: int) -> Sequence[ItemT]:
    """Return at most so many items from all over a sequence."""
    return items[:: -(-len(items) // most)] if len(items) > most else items


def _common(template: Sequence[str], sample: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the longest runs of a prompt of which every pair of neighbours is in all prompts."""
    shared = set(itertools.pairwise(template))
    for words in sample:
        shared.intersection_update(itertools.pairwise(words))
    runs: list[list[str]] = []
    joined = False
    for left, right in itertools.pairwise(template):
        if (left, right) not in shared:
            joined = False
            continue
        if not joined:
            runs.append([left])
        runs[-1].append(right)
        joined = True
    longest = sorted(range(len(runs)), key=lambda number: -len(runs[number]))[:MAX_SEGMENTS]
    return tuple(line_of(runs[number]) for number in sorted(longest))


def _present(segments: tuple[str, ...], line: str) -> tuple[str, ...]:
    """Return what a prompt has of the segments, in their order; long ones are placed first and bound the others."""
    kept: dict[int, list[tuple[str, int]]] = {}
    for number in sorted(range(len(segments)), key=lambda number: (-len(segments[number]), number)):
        before = max((_end(parts[-1]) for other, parts in kept.items() if other < number), default=0)
        after = min((parts[0][1] for other, parts in kept.items() if other > number), default=len(line) - 1)
        parts = _parts(segments[number], line, before, after + 1)
        if parts:
            kept[number] = parts
    return tuple(part for number in sorted(kept) for part, _ in kept[number])[:MAX_SEGMENTS]


def _parts(segment: str, line: str, before: int, after: int) -> list[tuple[str, int]]:
    """Return the runs of a segment that a stretch of a prompt has, one after the other, with their places."""
    words = segment.split()
    parts: list[tuple[str, int]] = []
    start = 0
    while start < len(words) - 1:
        size = bisect_left(
            range(2, len(words) - start + 1),
            True,
            key=lambda size: line.find(line_of(words[start : start + size]), before, after) < 0,
        )
        if size:
            part = line_of(words[start : start + size + 1])
            parts.append((part, line.find(part, before, after)))
            before = _end(parts[-1])
        start += size + 1
    return parts


def _end(part: tuple[str, int]) -> int:
    """Return where a placed run ends: at its last space, which may be the first of the next."""
    return part[1] + len(part[0]) - 1


def _placing_order(segments: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """Return segments, longest first, each with its nearest neighbours among those before it (-1 for none)."""
    order: list[tuple[int, int, int]] = []
    placed: list[int] = []
    for number in sorted(range(len(segments)), key=lambda number: (-len(segments[number]), number)):
        left = max((other for other in placed if other < number), default=-1)
        right = min((other for other in placed if other > number), default=-1)
        order.append((number, left, right))
        placed.append(number)
    return tuple(order)


def _gaps(segments: Sequence[str], order: Sequence[tuple[int, int, int]], line: str) -> list[str] | None:
    """Return what a prompt has before, between and after the segments; None if one of them is missing."""
    starts, ends = [0] * len(segments), [0] * len(segments)
    for number, left, right in order:
        before = ends[left] if left >= 0 else 0
        after = starts[right] + 1 if right >= 0 else len(line)
        place = line.find(segments[number], before, after)
        if place < 0:
            return None
        starts[number], ends[number] = place, place + len(segments[number]) - 1
    bounds = zip([0, *ends], [*starts, len(line) - 1], strict=True)
    return [line[end + 1 : start] for end, start in bounds]


def _slot(values: Sequence[str]) -> Slot:
    """Return the slot in which these values were seen."""
    counts = Counter(values)
    once = sum(count == 1 for count in counts.values())
    most = max(_length(value) for value in values)
    if once / len(values) >= UNSEEN_FROM or most > MAX_VALUE_WORDS:
        return Slot(None, most + most // 2 + 2)
    return _closed(values)


def _closed(values: Sequence[str]) -> Slot:
    return Slot(frozenset(values), max(_length(value) for value in values))


def _length(value: str) -> int:
    return value.count(" ") + 1 if value else 0
