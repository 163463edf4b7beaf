r"""Wordings: the forms in which one right answer may be given, as far as the prompt allows them.

A verifier that knows a single form calls right answers wrong, so good probes come in several. A prompt that asks for
one form (nothing but the answer, ``\boxed{}``, ``<answer>`` tags, JSON) gets that form and no other.
"""

from __future__ import annotations

import re

ONE_LINE = 120
"""Characters up to which an answer fits into a sentence."""

_BARE_ONLY = re.compile(
    r"\b(?:only|nothing else|nothing but|alone|just (?:the|a|one|your)|no (?:other|explanation|extra|additional)"
    r"|without (?:any|explanation|further)|exactly (?:as|in|the)|(?:respond|reply|answer) with"
    r"|output (?:the|a|one|your)"
    r"|return (?:the|a|one|your|true|false)|in the (?:following|form|format)|must (?:start|begin|end|be)"
    r"|format(?:ted)?"
    r"|(?:output|answer|response|reply|completion) (?:should|must|has to) be|as (?:a|an|the) (?:\w+-)?(?:separated|list"
    r"|string|sequence|matrix|grid|number)|comma-separated)\b",
    re.IGNORECASE,
)
# A question has an answer that can be stated; what is to be written, sorted or transformed is itself the completion.
_QUESTION = re.compile(
    r"\?|\b(?:calculate|compute|evaluate|simplify|solve|determine|find the|what|which|how (?:many|much))\b",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\+boxed|\\+fbox|\b(?:in|inside|within) (?:a|the) box\b", re.IGNORECASE)
_TAGS = re.compile(r"<answer>|\banswer tags\b", re.IGNORECASE)
_HASHES = re.compile(r"####")
_JSON = re.compile(r"\bJSON\b")

REASONING = "I went through the conditions one by one and checked the result against each of them."


def wordings(prompt: str, answer: str, *, product: bool = False) -> dict[str, str]:
    """Return completions that give an answer, by the name of their form; every form is one that the prompt allows.

    Args:
        prompt: The prompt.
        answer: The answer.
        product: The prompt asks for something to be made, of which several versions are right; a sentence about it
            is none.
    """
    boxed = f"{REASONING}\n\nThe final answer is $\\boxed{{{answer}}}$."
    tagged = f"{REASONING}\n<answer>{answer}</answer>"
    if _TAGS.search(prompt):
        return {"tags": f"<answer>{answer}</answer>", "reasoning, then tags": tagged}
    if _BOXED.search(prompt):
        return {"box": f"$\\boxed{{{answer}}}$", "reasoning, then box": boxed}
    if _HASHES.search(prompt):
        return {"hashes": f"#### {answer}", "reasoning, then hashes": f"{REASONING}\n#### {answer}"}
    if product or not is_free(prompt) or "\n" in answer or len(answer) > ONE_LINE:
        return {"bare": answer}
    return {
        "bare": answer,
        "sentence": f"The answer is {answer}.",
        "reasoning, then sentence": f"{REASONING} So the answer is {answer}.",
        "box": boxed,
    }


def is_free(prompt: str) -> bool:
    """Say whether a prompt leaves open in which form the answer is given."""
    return _QUESTION.search(prompt) is not None and not any(
        asked.search(prompt) for asked in (_BARE_ONLY, _BOXED, _TAGS, _HASHES, _JSON)
    )
