"""Chat templates come off prompts and completions, and nothing hostile makes that slow."""

from __future__ import annotations

import pytest

from rlar_graph.adapters.chat_text import answer_in, bare, plain_prompt
from tests.patience import linear

QUESTION = "What is 2 + 2?\n\nThink."
TEMPLATES = {
    "qwen": "<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
    "llama": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<bos><start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n",
    "phi": "<|user|>\n{}<|end|>\n<|assistant|>\n",
    "deepseek": "<｜begin▁of▁sentence｜>You are.<｜User｜>{}<｜Assistant｜>",
    "none": "{}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_question_comes_out_of_the_template(template: str) -> None:
    assert plain_prompt(template.format(QUESTION)) == QUESTION


def test_several_turns_are_kept_apart() -> None:
    text = TEMPLATES["qwen"].format("First?") + "Yes.<|im_end|>\n<|im_start|>user\nSecond?<|im_end|>\n"
    assert (
        plain_prompt(text + "<|im_start|>assistant\n")
        == "You are.\n\nUser: First?\n\nAssistant: Yes.\n\nUser: Second?"
    )


@pytest.mark.parametrize("end", ["<|im_end|>", "<|eot_id|>\n", "</s>", " <|endoftext|><|endoftext|>", ""])
def test_special_tokens_come_off_the_ends_only(end: str) -> None:
    assert bare(f"<s> The tag </s> is kept.{end}") == "The tag </s> is kept."


HOSTILE = {
    "tokens": "<|im_end|>" * 100_000,
    "space": " " * 1_000_000,
    "opened": "<|im_start|>" * 80_000,
    "turns": "<|im_start|>user\n" * 60_000,
    "half": "<|im_en" * 140_000,
    "mixed": " <|im_end|>\n</s>" * 60_000 + "x",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_read_in_linear_time(text: str) -> None:
    with linear():
        bare(text)
        plain_prompt(text)
        answer_in(text, text[:-1])
        answer_in(text[1:], text)
        answer_in("x" + text, text)
