"""Kinds of reward tool: which to try for prompts that no tool serves, and in which order.

Hard evidence first. A scalar reward model is near chance on instruction following and weak on mathematics, code and
puzzles, so it is never tried there; a judge is not asked where a computation decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlar_graph.routing.signature import Domain, Evidence, Signature
from rlar_graph.types import ToolKind

_COMPUTED = frozenset({Domain.MATH, Domain.STRUCTURED})
_TEXTS: Mapping[Domain, tuple[ToolKind, ...]] = {
    Domain.TRANSLATION: ("reward_model", "judge"),
    Domain.SUMMARIZATION: ("reward_model", "judge"),
    Domain.DIALOGUE: ("reward_model", "judge"),
    Domain.WRITING: ("reward_model", "judge"),
    Domain.SAFETY: ("reward_model", "judge"),
    Domain.FACTUALITY: ("reward_model", "judge"),
    Domain.OPEN: ("reward_model", "judge"),
    Domain.CODE: ("judge",),
    Domain.KNOWLEDGE: ("judge",),
    Domain.REASONING: ("judge",),
    Domain.INSTRUCTION: ("judge",),
}
"""What to try where no program can decide."""

_CHECKABLE = frozenset({Domain.KNOWLEDGE, Domain.REASONING, Domain.INSTRUCTION, Domain.CODE, Domain.OPEN})
"""Domains in which the prompts of one template may be decided by a program that reads the prompt."""


def kinds(signature: Signature, family: str = "") -> tuple[ToolKind, ...]:
    """Return the kinds of tool to try for an uncovered family, the best first; none if nothing may judge it.

    Args:
        signature: What its prompts need.
        family: Its registry key; prompts that share a template or a data source have a structure that a program can
            check, prompts that only share a signature have not.
    """
    has_structure = family.startswith(("family:", "source:"))
    has_evidence = signature.evidence not in {Evidence.NONE, Evidence.SOURCE}
    if signature.domain in _COMPUTED:
        return ("verifier",) if has_structure or has_evidence else ()
    texts = _TEXTS[signature.domain]
    if signature.answer != "text" and has_evidence:
        return ("verifier", "judge")
    if signature.evidence is Evidence.CONSTRAINTS or (has_structure and signature.domain in _CHECKABLE):
        return ("verifier", *texts)
    if has_evidence:  # with a reference to hold it to, a rubric does better than a preference
        return tuple(sorted(texts, key=lambda kind: kind != "judge"))
    return texts
