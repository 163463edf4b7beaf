"""Verifiable constraints read out of prompts by rule: which of the 25 checkers, with which parameters.

A rule fires only on wording that leaves little doubt about the parameters: a constraint that is read wrongly punishes
right completions, one that is overlooked only goes unchecked.
"""

from __future__ import annotations

import re

from rlar_graph.made_evidence import form_rules, keyword_rules, part_rules
from rlar_graph.made_evidence.constraint import Constraint

READ_CHARS = 20_000
"""How much of a prompt is read; what is demanded stands at its beginning or its end."""

RULES = (*form_rules.RULES, *part_rules.RULES, *keyword_rules.RULES)
# Patterns take quadratic time in a run of blanks.
_BLANKS = re.compile(r"[^\S\n]{20,}")
_CASES = {"change_case:english_lowercase", "change_case:english_capital"}


def read_part(prompt: str) -> str:
    """Return what rules read of a prompt; the spans of constraints refer to it."""
    text = (
        prompt if len(prompt) <= READ_CHARS else f"{prompt[: READ_CHARS // 2]}\n{prompt[-READ_CHARS // 2 :]}"
    )
    return _BLANKS.sub(" " * 4, text)


def constraints_in(prompt: str) -> list[Constraint]:
    """Return the constraints that rules read out of a prompt, by the name of their checker; no two alike.

    Where two contradict each other, a rule has misread one of them, and neither is returned.
    """
    text = read_part(prompt)
    found: dict[str, Constraint] = {}
    for rule in RULES:
        for constraint in rule(text):
            found.setdefault(constraint.key, constraint)
    names = {constraint.instruction_id for constraint in found.values()}
    kept = [
        constraint
        for constraint in found.values()
        if not (names >= _CASES and constraint.instruction_id in _CASES)
    ]
    return sorted(kept, key=lambda constraint: constraint.key)
