"""Public fakes: reward models of a few thousand weights, made and trained on the spot. Imports torch when called.

They are real models in the Hub's format, small enough to train in seconds, so that tests of finding, measuring and
serving reward models have something true to find.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} <|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<pad>", "<unk>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def make_model(
    folder: str | Path,
    texts: Iterable[str],
    *,
    kind: str = "llama",
    labels: int = 1,
    width: int = 32,
    layers: int = 1,
    seed: int = 0,
    template: str | None = TEMPLATE,
    pairs: Sequence[tuple[str, str, str]] = (),
    steps: int = 60,
    rate: float = 5e-3,
    length: int = 96,
) -> Path:
    """Make a small model with a tokenizer of whole words, and save it as the Hub has models.

    Args:
        folder: Where to save it.
        texts: Texts whose words it knows.
        kind: ``llama`` (a decoder with a chat template), ``bert`` (an encoder of pairs), ``words`` (a generative one).
        labels: Outputs of its head.
        width: Size of its hidden states.
        layers: Its layers.
        seed: Seed of its weights.
        template: Chat template; None for none.
        pairs: (prompt, better, worse), which it is trained to tell apart; none leaves its weights at random.
        steps: Steps of training.
        rate: Learning rate of it.
        length: Tokens of a text that it sees of it.
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(texts, template if kind != "bert" else None)
    model = _model(kind, len(tokenizer), labels, width, layers)
    if pairs:
        _train(model, tokenizer, pairs, steps, chat=kind != "bert", rate=rate, length=length)
    target = Path(folder)
    model.save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
    return target


def files_of(folder: str | Path) -> dict[str, bytes]:
    """Return the files of a saved model, for a local hub to serve."""
    root = Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def with_config(files: Mapping[str, bytes], **changes: object) -> dict[str, bytes]:
    """Return a model's files with fields of its ``config.json`` changed; None takes one out."""
    config = json.loads(files["config.json"])
    config.update(changes)
    kept = {name: value for name, value in config.items() if value is not None}
    return {**files, "config.json": json.dumps(kept).encode()}


def make_tokenizer(texts: Iterable[str], template: str | None) -> Any:
    """Return a tokenizer of whole words, with the words of some texts and a chat template."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    found: dict[str, None] = dict.fromkeys(SPECIAL)
    for text in texts:
        found.update(dict.fromkeys(word for word, _ in splitter.pre_tokenize_str(text.lower())))
    vocabulary = {word: number for number, word in enumerate(found)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - a token of text
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = splitter
    if template is None:
        core.post_processor = processors.TemplateProcessing(
            single="$A <|end|>",
            pair="$A:0 <|end|>:0 $B:1 <|end|>:1",
            special_tokens=[("<|end|>", vocabulary["<|end|>"])],
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        additional_special_tokens=list(SPECIAL[2:]),
        model_max_length=512,
    )
    if template is not None:
        made.chat_template = template
    return made


def _model(kind: str, words: int, labels: int, width: int, layers: int) -> Any:
    import transformers

    shape: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "num_labels": labels,
    }
    if kind == "bert":
        return transformers.BertForSequenceClassification(transformers.BertConfig(**shape))
    config = transformers.LlamaConfig(
        **shape, num_key_value_heads=2, bos_token_id=None, eos_token_id=5, tie_word_embeddings=False
    )
    if kind == "words":
        return transformers.LlamaForCausalLM(config)
    return transformers.LlamaForSequenceClassification(config)


def _train(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[tuple[str, str, str]],
    steps: int,
    *,
    chat: bool,
    rate: float,
    length: int,
) -> None:
    """Train a model to score the better completion of each pair higher (Bradley-Terry)."""
    import torch

    tokenizer.truncation_side = "left"  # the end is what a decoder is read at
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    chooser = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(steps):
        picked = [pairs[place] for place in torch.randint(len(pairs), (24,), generator=chooser)]
        better, worse = (
            model(**_encoded(tokenizer, [(pair[0], pair[side]) for pair in picked], chat, length)).logits[
                :, 0
            ]
            for side in (1, 2)
        )
        loss = -torch.nn.functional.logsigmoid(better - worse).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokenizer.truncation_side = "right"
    model.eval()


def _encoded(tokenizer: Any, pairs: Sequence[tuple[str, str]], chat: bool, length: int) -> dict[str, Any]:
    how = {"padding": True, "truncation": True, "max_length": length, "return_tensors": "pt"}
    if not chat:
        prompts, texts = (list(side) for side in zip(*pairs, strict=True))
        return dict(tokenizer(prompts, texts, **how))
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}], tokenize=False
        )
        for prompt, text in pairs
    ]
    return dict(tokenizer(rendered, add_special_tokens=False, **how))
