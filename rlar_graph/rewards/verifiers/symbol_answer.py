"""Whether a completion answers with a string of symbols: brackets, moves, grids, token sequences, several lines.

Such answers are compared whole. Prose around them is understood only by its markers: a box, answer tags, a fenced
block, or a line that calls what follows the answer, result, output and the like.
"""

from __future__ import annotations

import json
import re

from rlar_graph.rewards.verifiers.assertion import has_doubt, has_hedge
from rlar_graph.rewards.verifiers.boxed_answer import boxes
from rlar_graph.rewards.verifiers.code_block import fenced_blocks
from rlar_graph.rewards.verifiers.final_answer import final_answer
from rlar_graph.rewards.verifiers.word_form import LONGEST, symbols

_MARKER = re.compile(
    r"\b(?:answer|result|output|solution|state|grid|matrix|sequence|string|words?|path|list|order|moves?|completion|expression)"
    r"[*_]{0,2}(?:\s(?:is|are|becomes|would be|will be)\b(?: as follows| the following)?|\s?[*_]{0,2}[:=])"
    r"[*_]{0,2}[:\s]{0,4}",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:original|initial|input|given|unsorted|example|starting|expected|reference)\b", re.I
)
_LINK = re.compile(r":\s|\b(?:is|are|be|was|becomes|gives)\s", re.IGNORECASE)
_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_DOUBT = re.compile(r"\b(?:wait|actually|scratch that|correction|sorry|mistake|or)\b", re.IGNORECASE)


def gives_symbols(said: str, reference: str) -> bool:
    """Tell whether what was said is, or is marked as, the reference."""
    target = _form(reference)
    if not target:
        return False
    if _form(said) == target or _form(bare(said)) == target:
        return True
    return any(_form(text) == target for text in marked_texts(said))


def _form(text: str) -> str:
    """Return the form in which a text is compared; JSON in one spelling of its own."""
    text = text.strip()
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]") and len(text) <= LONGEST:
        try:
            return "JSON " + json.dumps(json.loads(text), sort_keys=True)
        except (ValueError, RecursionError):  # brackets of some other kind
            pass
    return symbols(text)


def marked_texts(said: str) -> list[str]:
    """Return the ways to read the last marked answer: all after the marker, its first paragraph, its first line."""
    tags = list(_TAG.finditer(said))
    if tags:
        if (later := _committed(said, tags[-1].end())) is not None:
            return [later]
        opening = tags[-2] if len(tags) > 1 and tags[-1][0].startswith("</") else tags[-1]
        return [bare(said[opening.end() : tags[-1].start() if opening is not tags[-1] else None])]
    blocks, tail = fenced_blocks(said), said.rpartition("```")[2]
    if (
        blocks
        and _committed(said, len(said) - len(tail)) is None
        and _MARKER.search(tail) is None
        and not has_doubt(tail)
    ):
        # Two blocks may be the working and the answer; three are a list of candidates.
        return [blocks[-1].source] if len({block.source for block in blocks}) <= 2 else []
    answer = final_answer(said)
    if answer is not None and answer.form == "boxed":
        return [answer.text]
    markers = [
        marker
        for marker in _MARKER.finditer(said)
        if not _OTHER.search(said, max(0, marker.start() - 12), marker.start())
    ]
    if (later := _committed(said, markers[-1].end() if markers else 0)) is not None:
        return [later]
    if not markers:
        return _stated(said) if _MARKER.search(said) is None else []
    # Three answers one after the other are a list of candidates.
    answers = {
        said[mark.end() : mark.end() + 80].partition("\n")[0]
        for mark in markers
        if mark[0][:6].lower() == "answer"
    }
    if len(answers) > 2:
        return []
    rest = said[markers[-1].end() :].strip()
    line, _, after_line = rest.partition("\n")
    paragraph, _, after_paragraph = rest.partition("\n\n")
    found = [rest]
    found += [line] if not _DOUBT.search(after_line) else []
    found += [paragraph] if not _DOUBT.search(after_paragraph) else []
    return [form for text in found for form in (text, bare(text))]


def _committed(said: str, start: int) -> str | None:
    """Return the final answer if it is marked as such after a position: what comes last is meant."""
    boxed = boxes(said[start:]) if "boxed" in said[start:] else None
    if boxed:  # a box of brackets is an answer here, though not for others
        return boxed[-1][0]
    answer = final_answer(said)
    if answer is None or answer.form in ("sentence", "display", "bare") or answer.span[0] < start:
        return None
    return answer.text


def _stated(said: str) -> list[str]:
    """Return what the last paragraph says that something is."""
    paragraph = said.rpartition("\n\n")[2]
    link = _LINK.search(paragraph)
    if link is None or len(paragraph) > 2_000 or _is_other(paragraph[: link.end()]):
        return []
    return [bare(paragraph[link.end() :])]


def _is_other(lead: str) -> bool:
    """Tell whether the words before a link speak of something else than the answer, or leave it open."""
    return has_hedge(lead) or _OTHER.search(lead) is not None


def bare(text: str) -> str:
    """Return a text without the code ticks, dollars, emphasis or full stop around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return "\n".join(block.source for block in fenced_blocks(text))
    if len(text) > 1 and text.endswith("."):
        text = text[:-1].rstrip()
    for mark in ("**", "`", "$", '"', "'"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    return text
