"""A prompt and its completion as the conversation that a chat template renders.

Completions are hostile: one that writes a template's own marks could end its turn and speak as somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Turn = dict[str, str]

_SPEAKER = re.compile(r"(?:\A|\n\n)(User|Assistant): ")
_MARK = re.compile(
    r"<(?=[|｜][\w▁ -]{1,40}[|｜]>|/?s>|(?:bos|eos|pad|unk|sep|cls|mask|(?:start|end)_of_turn)>)|\[(?=/?INST\])"
)


def conversation(prompt: str, completion: str) -> list[Turn]:
    """Return the turns of a prompt, and the completion as the last one.

    A prompt of several turns is text of the form ``User: ...``, ``Assistant: ...``, as rollouts keep it; it is taken
    apart only where the turns alternate and the user has the last word, else it is one turn.
    """
    return [*turns_of(prompt), {"role": "assistant", "content": completion}]


def turns_of(prompt: str) -> list[Turn]:
    """Return the turns of a prompt."""
    found = list(_SPEAKER.finditer(prompt))
    roles = [match[1].lower() for match in found]
    wanted = [("user", "assistant")[number % 2] for number in range(len(roles))]
    if len(roles) < 3 or roles != wanted or len(roles) % 2 == 0:
        return [{"role": "user", "content": prompt}]
    turns = [{"role": "system", "content": head}] if (head := prompt[: found[0].start()].strip()) else []
    ends = [match.start() for match in found[1:]] + [len(prompt)]
    for match, end in zip(found, ends, strict=True):
        turns.append({"role": match[1].lower(), "content": prompt[match.end() : end]})
    return turns


def neutral(text: str, marks: Iterable[str] | None = None) -> str:
    """Return a text without a template's marks: a blank takes each of them apart.

    Args:
        text: The text.
        marks: The special tokens of the tokenizer; None for whatever has the form of one.
    """
    if marks is None:
        return _MARK.sub(lambda mark: f"{mark[0]} ", text) if "<" in text or "[" in text else text
    for mark in marks:
        if len(mark) > 1 and mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text
