"""The panel: several independent verdicts on the same completions, each with completions whose verdict is known.

Models agree too readily: without a check, a panel of yes-men is unanimous. Among the completions of every sheet stand
*controls*, an empty phrase that answers nothing and, where there is one, the right answer; a member who gets a control
wrong is not counted on that sheet. The order differs between members, for some always pick the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.probe_making.given import digest
from rlar_graph.prompts.loader import load_prompt

ROLE = "probe_maker"
MEMBERS = 3
QUORUM = 2
MARKS_READ = 64
DOCUMENT = "probe_maker_panel"
CONTROL = "The final answer follows from what was said above."


class Mark(BaseModel):
    """One verdict on a sheet."""

    number: int
    """Number of the reply."""
    problem: str
    """What is wrong with it."""
    right: bool
    """Whether it is right."""


class Sheet(BaseModel):
    """The verdicts of one member."""

    requirements: str
    """What a right reply must fulfil."""
    verdicts: list[Mark]
    """One per reply."""


@dataclass(frozen=True, slots=True)
class Case:
    """Completions of one prompt that a panel is to judge."""

    prompt: str
    """The prompt."""
    completions: tuple[str, ...]
    """What is to be judged."""
    right: str | None = None
    """A completion known to be right, as a further control."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a panel says of one completion."""

    right: bool
    """The verdict of every member that was counted."""
    votes: int
    """How many were counted."""
    problem: str = ""
    """What the first of them found wrong."""


def convene(llm: LanguageModel, cases: Sequence[Case]) -> list[dict[str, Opinion] | LLMError]:
    """Return, for each case, the opinions on which all counted members agree, by completion.

    A case whose members all failed has the first error in its place.
    """
    document = load_prompt(DOCUMENT)
    orders = [[_order(case, member) for member in range(MEMBERS)] for case in cases]
    prompts = [
        document.render(task=case.prompt, answers=_numbered(order))
        for case, members in zip(cases, orders, strict=True)
        for order in members
    ]
    sheets = llm.ask_many(ROLE, prompts, Sheet)
    found: list[dict[str, Opinion] | LLMError] = []
    for number, (case, members) in enumerate(zip(cases, orders, strict=True)):
        answers = sheets[number * MEMBERS : (number + 1) * MEMBERS]
        usable = [
            _read(sheet, order)
            for sheet, order in zip(answers, members, strict=True)
            if isinstance(sheet, Sheet)
        ]
        errors = [answer for answer in answers if isinstance(answer, LLMError)]
        found.append(errors[0] if errors and len(usable) < QUORUM else _agreed(case, usable))
    return found


def _order(case: Case, member: int) -> list[str]:
    """Return completions and controls in the order in which a member sees them."""
    shown = dict.fromkeys((*case.completions, CONTROL, *([case.right] if case.right else [])))
    return sorted(shown, key=lambda text: digest(str(member), case.prompt, text))


def _numbered(completions: Sequence[str]) -> str:
    return "\n\n".join(f"Reply {number}:\n{text}" for number, text in enumerate(completions, 1))


def _read(sheet: Sheet, order: Sequence[str]) -> dict[str, Mark]:
    """Return a sheet's verdicts by completion; what it says twice and differently is left out."""
    marks: dict[str, Mark] = {}
    torn: set[str] = set()
    for mark in sheet.verdicts[:MARKS_READ]:
        if 1 <= mark.number <= len(order):
            completion = order[mark.number - 1]
            if completion in marks and marks[completion].right != mark.right:
                torn.add(completion)
            marks[completion] = mark
    return {completion: mark for completion, mark in marks.items() if completion not in torn}


def _agreed(case: Case, sheets: Sequence[Mapping[str, Mark]]) -> dict[str, Opinion]:
    """Return the unanimous opinions of the members who got the controls right."""
    counted = [
        sheet
        for sheet in sheets
        if CONTROL in sheet
        and not sheet[CONTROL].right
        and (case.right is None or (case.right in sheet and sheet[case.right].right))
    ]
    opinions: dict[str, Opinion] = {}
    for completion in case.completions:
        marks = [sheet[completion] for sheet in counted if completion in sheet]
        if len(marks) >= QUORUM and len({mark.right for mark in marks}) == 1:
            opinions[completion] = Opinion(marks[0].right, len(marks), marks[0].problem)
    return opinions
