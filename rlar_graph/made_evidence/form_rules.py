"""Rules on the form of a whole completion: case, commas, quotation, JSON, title, language, repeated request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlar_graph.made_evidence.constraint import Constraint, I, Rule, plain

LANGUAGE_CODES = {
    "english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt",
    "dutch": "nl", "russian": "ru", "polish": "pl", "turkish": "tr", "arabic": "ar", "hindi": "hi",
    "bengali": "bn", "urdu": "ur", "persian": "fa", "farsi": "fa", "japanese": "ja", "korean": "ko",
    "chinese": "zh", "vietnamese": "vi", "thai": "th", "swahili": "sw", "tamil": "ta", "telugu": "te",
    "gujarati": "gu", "marathi": "mr", "punjabi": "pa", "kannada": "kn", "malayalam": "ml", "nepali": "ne",
    "greek": "el", "hebrew": "he", "finnish": "fi", "swedish": "sv", "danish": "da", "norwegian": "no",
    "bulgarian": "bg", "czech": "cs", "hungarian": "hu", "romanian": "ro", "ukrainian": "uk", "indonesian": "id",
}  # fmt: skip
"""Languages that can be recognised, by the names that prompts give them."""

_NAMES = "|".join(LANGUAGE_CODES)
_LANGUAGE = re.compile(
    rf"\b(?:entire|whole|complete|full)\s+(?:response|answer|reply|text|output)[^.\n]{{0,40}}?\b(?P<one>{_NAMES})\b"
    rf"|\b(?:respond|reply|answer|write|response)\b[^.\n]{{0,60}}?\b(?:in|using)\s+(?:only\s+|the\s+)?(?P<two>{_NAMES})\b"
    r"(?:\s+language)?[^.\n]{0,30}?\b(?:only|no other language|nothing else)"
    rf"|\b(?:only|just)\s+(?:use\s+|in\s+|using\s+)?(?:the\s+)?(?P<three>{_NAMES})\b"
    rf"|\b(?P<four>{_NAMES})\b(?:\s+language)?[^.\n]{{0,30}}?\bno other language",
    I,
)
_CASE = re.compile(r"\b(?:lower[\s-]?case|upper[\s-]?case|capital|caps)", I)
_REPEAT = re.compile(
    r"[^.!?\n]{0,80}\brepeat\s+(?:the\s+)?(?:exact\s+)?(?:request|prompt|question|sentence|following|line|text)[^\n]{0,400}",
    I,
)
_UNCHANGED = re.compile(r"word for word|word by word|without (?:any )?change|exact|verbatim|as is", I)
_BELOW = re.compile(r"\b(?:below|following)\b|\b(?:do not|don't) (?:say|output|write)[^\n]*\bbefore\b", I)


def language(prompt: str) -> Iterator[Constraint]:
    """Read the language of the whole completion; English by way of a demanded case is that rule's matter."""
    for found in _LANGUAGE.finditer(prompt):
        name = next(filter(None, (found["one"], found["two"], found["three"], found["four"])))
        if name.lower() == "english" and _CASE.search(prompt):
            continue
        kwargs: dict[str, object] = {"language": LANGUAGE_CODES[name.lower()]}
        yield Constraint("language:response_language", kwargs, found.span())


def repeated_request(prompt: str) -> Iterator[Constraint]:
    """Read "first repeat the request": what stands before the demand, or behind it where it says so."""
    demand = _REPEAT.search(prompt)
    if demand is None or not _UNCHANGED.search(prompt, demand.start(), demand.end()):
        return
    before, behind = prompt[: demand.start()].strip(), prompt[demand.end() :].strip()
    request = before if before and not (behind and _BELOW.search(demand[0])) else behind
    if request and not _REPEAT.search(request):
        yield Constraint("combination:repeat_prompt", {"prompt_to_repeat": request}, demand.span())


def three_answers(prompt: str) -> Iterator[Constraint]:
    """Read the choice between the three fixed answers."""
    if all(re.search(rf"my answer is {word}\b", prompt, I) for word in ("yes", "no", "maybe")):
        yield Constraint("detectable_format:constrained_response", {}, _first(prompt, "my answer is"))


def _first(prompt: str, text: str) -> tuple[int, int]:
    start = prompt.lower().find(text)
    return start, start + len(text)


RULES: tuple[Rule, ...] = (
    plain(
        "punctuation:no_comma",
        r"\b(?:do not|don't|don’t|dont|not|never|avoid|without|no|refrain from)\b[^.\n]{0,50}?\bcommas?\b",
        r"separated",
    ),
    plain(
        "change_case:english_lowercase",
        r"\b(?:all|entire|whole|only|every)\b[^.\n]{0,60}?\blower[\s-]?case|\bin lower[\s-]?case"
        r"|\b(?:no|without(?: any)?) (?:capital|upper[\s-]?case)",
        r"\bno lower|without(?: any)? lower|\bwords\b",
    ),
    plain(
        "change_case:english_capital",
        r"\b(?:all|entire|whole|only|every)\b[^.\n]{0,60}?"
        r"\b(?:upper[\s-]?case|capital letters|capitals|caps|capitalized)\b"
        r"|\bin (?:all )?(?:capital letters|capitals|upper[\s-]?case)\b|\b(?:no|without(?: any)?) lower[\s-]?case",
        r"\bwords?\b|\bno (?:capital|upper)|without(?: any)? (?:capital|upper)|\b(?:first|start)",
    ),
    plain(
        "startend:quotation",
        r"\b(?:wrap|enclose|put|surround|place)\w*\b[^.\n]{0,60}?\b(?:response|answer|output|reply|everything|text|it)\b"
        r"[^.\n]{0,40}?(?:double quot|quotation marks)"
        r"|\b(?:double quot\w*|quotation) (?:marks? )?[^.\n]{0,40}?\b(?:around|about) (?:your|the) (?:\w+ )?"
        r"(?:response|answer|output|reply)",
    ),
    plain(
        "detectable_format:json_format",
        r"\b(?:wrap|entire|whole|output|response|answer|reply|format|write|provide|return)\b[^.\n]{0,60}?"
        r"\b(?:in|as|using|contain)\s+(?:valid |a |an )?(?:the )?JSON\b|\bJSON (?:format|block|output|object)\b",
    ),
    plain("detectable_format:title", r"\btitle\b[^.\n]{0,60}?(?:<<|double angular brackets)"),
    plain(
        "combination:two_responses",
        r"\b(?:two|2)\s+(?:\w+\s+){0,2}?(?:responses|answers|versions|replies|options|alternatives)\b"
        r"[\s\S]{0,300}?(?:\*{6}|(?:6|six) asterisk)",
    ),
    three_answers,
    language,
    repeated_request,
)
