"""Degenerate completions: those that say nothing, and are known to be accepted by judges all the same.

"Master keys" (a blank, one punctuation mark, "Solution:", "Let's solve this step by step") made published judges
accept up to 87 % of such answers, and an RL run collapsed into emitting them. None of them reaches our model.
"""

from __future__ import annotations

import re

from rlar_graph.rewards.verifiers.response import plain, response_of, says_nothing, visible

LONGEST = 400
"""Characters above which what is left of a completion is no mere opener."""

_TAG = re.compile(
    r"<[^<>\n]{0,60}>|\$?\\(?:boxed|fbox|text)\b(?:\s{0,9}\{\s{0,9}\}\$?)?|```\w{0,20}|`{1,2}|#{2,6}"
)
_WORDS = re.compile(r"\w+(?:['’]\w+)*")
_CUT_SHORT = re.compile(r"[:：…]|\.\.\.")

_NOUN = r"(?:question|problem|task|prompt|exercise|riddle|puzzle)"
_NAME = r"(?:solution|answer|response|reasoning|explanation|thought|thoughts|thinking|analysis|result|proof)"
_WE = r"(?:let\ us|let's|let’s|lets|let\ me|we\ (?:will|can|need\ to)|i\ (?:will|need\ to|can|am\ going\ to)|i'll|i’ll)"
_DO = r"(?:solve|answer|think|start|begin|work|analy[sz]e|break|tackle|approach|consider)"
_HOW = (
    r"(?:this|the|that|it|about|down|through|out|on|by|with|at|now|carefully|step|first"
    rf"|analy[sz]ing|solving|thinking|considering|{_NOUN})"
)
_OPENERS = re.compile(
    rf"""(?:
    (?:here\ (?:is|comes)\ )?(?:the\ |my\ |a\ )?(?:final\ |full\ |detailed\ |correct\ |step\ by\ step\ )?
        {_NAME}(?:\ process)?(?:\ (?:is|follows|to\ (?:this|the)\ {_NOUN}))?(?:\ as\ follows|\ below|\ above)?
    | {_WE}\ (?:now\ |first\ |carefully\ )*{_DO}(?:\ {_HOW})*
    | (?:the|this|your)\ {_NOUN}(?:\ (?:is|asks|reads|was))?(?:\ as\ follows)?
    | step\ by\ step | step\ (?:1|one) | first(?:ly)? | to\ (?:solve|answer)\ (?:this|the)\ {_NOUN}
    | okay | ok | sure | certainly | of\ course | alright | all\ right | hmm+ | well | so
    | solución | respuesta | vamos\ a\ resolver(?:\ este\ problema)?(?:\ paso\ a\ paso)?
    | réponse | lösung | antwort
    | 解 | 解答 | 答案 | 思考过程 | かいとう | 回答 | 解説
    | 让我们一步一步地?(?:解决|思考)(?:这个|这道)?(?:问题|题)?
    | ответ | решение | давайте\ решим\ (?:эту\ задачу\ )?(?:шаг\ за\ шагом|по\ шагам)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_KEY = re.compile(
    r"(?:solution|answer|response|reasoning|explanation|solución|respuesta|解|解答|答案|解説)", re.IGNORECASE
)


def degeneracy(prompt: str, completion: str, reference: str = "") -> str | None:
    """Return what makes a completion say nothing, or None where it says something.

    Args:
        prompt: The prompt it answers.
        completion: The completion.
        reference: The right answer where there is one: what equals it is never degenerate.
    """
    said = visible(plain(response_of(completion))).strip()
    if said and said == reference.strip():
        return None
    if not said:
        return "nothing is said" if completion.strip() else "empty"
    if says_nothing(said):
        return "only punctuation"
    bare = _TAG.sub(" ", said)
    if says_nothing(bare):
        return "only tags"
    words = _worded(bare) if len(bare) <= LONGEST else ""
    if words and _is_opener(words) and (" " in words or _KEY.fullmatch(words) or _CUT_SHORT.search(bare)):
        return "only an opener"
    return "the prompt, repeated" if _is_echo(prompt, bare) else None


def _worded(text: str) -> str:
    """Return the words of a text, one blank between them."""
    return " ".join(_WORDS.findall(text))


def _is_opener(words: str) -> bool:
    """Say whether words are nothing but phrases that announce an answer."""
    while words:
        opener = _OPENERS.match(words)
        if opener is None or words[opener.end() : opener.end() + 1] not in ("", " "):
            return False
        words = words[opener.end() :].strip()
    return True


def _is_echo(prompt: str, text: str) -> bool:
    """Say whether a text is the prompt, with nothing but openers around it."""
    asked, said = (_worded(_TAG.sub(" ", part)).casefold() for part in (prompt, text))
    if not asked or asked not in said:
        return False
    rest = " ".join(said.replace(asked, " ").split())
    return len(rest) <= LONGEST and _is_opener(rest)
