"""Text as a tokenizer decodes it, with its special tokens, back into a prompt and a completion.

OpenRLHF and AReaL hand over what the model saw: ``<|im_start|>user ... <|im_end|>`` and the like. Verifiers and the
router read what was asked and what was answered, so the frame is taken off here. Plain text passes unchanged.
"""

from __future__ import annotations

import re

from rlar_graph.types import Message, prompt_text

TURN = re.compile(
    r"<\|im_start\|>(?P<chatml>\w{1,20})\n"
    r"|<\|start_header_id\|>(?P<llama>\w{1,20})<\|end_header_id\|>\n\n"
    r"|<start_of_turn>(?P<gemma>\w{1,20})\n"
    r"|<\|(?P<phi>system|user|assistant)\|>\n?"
    r"|<｜(?P<deepseek>User|Assistant)｜>"
)
"""Where a turn begins, in ChatML (Qwen, SmolLM), Llama 3, Gemma, Phi or Zephyr, and DeepSeek."""
ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end|>",
    "<｜end▁of▁sentence｜>",
    "<|begin_of_text|>",
    "<｜begin▁of▁sentence｜>",
    "<pad>",
    "<|pad|>",
    "<bos>",
    "<eos>",
    "</s>",
    "<s>",
)
FRAME = re.compile(rf"(?:\s|{'|'.join(map(re.escape, ENDS))})*")
FRAME_BACKWARDS = re.compile(rf"(?:\s|{'|'.join(re.escape(end[::-1]) for end in ENDS)})*")
ROLES = {"model": "assistant"}


def plain_prompt(text: str) -> str:
    """Return a prompt without the chat template around it: what the user asked, or the turns if there are several.

    Args:
        text: A prompt as the model saw it; one without known marks is returned as it is.
    """
    marks = list(TURN.finditer(text))
    if not marks:
        return bare(text)
    turns: list[Message] = []
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        content = bare(text[mark.end() : after.start() if after else len(text)])
        role = str(mark[mark.lastgroup or 0]).lower()
        if content:
            turns.append({"role": ROLES.get(role, role), "content": content})
    asked = [turn for turn in turns if turn["role"] != "system"]
    return prompt_text(asked if len(asked) == 1 else turns)


def bare(text: str) -> str:
    """Return a text without special tokens and white space at its two ends; linear in its length."""
    before, after = FRAME.match(text), FRAME_BACKWARDS.match(text[::-1])
    start, cut = before.end() if before else 0, after.end() if after else 0
    return text[start : len(text) - cut] if start < len(text) else ""


def answer_in(query: str, prompt: str) -> str | None:
    """Return the completion in a query, which is a prompt followed by it; None where the two cannot be told apart.

    Args:
        query: Prompt and completion in one text.
        prompt: The prompt; the query may lack its beginning, where the trainer cut it to fit.
    """
    if query.startswith(prompt):
        return bare(query[len(prompt) :])
    start = query[:32]
    place = prompt.find(start) if start else -1
    for _ in range(64):
        if place < 0:
            return None
        if query.startswith(prompt[place:]):
            return bare(query[len(prompt) - place :])
        place = prompt.find(start, place + 1)
    return None
