"""A network in memory: weights, tokenizer, and the way from texts to raw rewards. Imports torch; lives in the worker.

A reward must not depend on what else is in the batch. Sequences are padded at the end, and with a token that no
sequence of the batch ends in: decoders look for the last token that is no padding, and would find another one. A
decoder's tokens see nothing behind them, so padding at the end needs no mask, and attention runs as it does without.

What stays is rounding. Libraries choose the order of additions by the shape of a batch; 32-bit floats hide that, 16-bit
floats do not. Where a reward must be the model's own to the last bit, each sequence is read alone (*exact*).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from rlar_graph.rewards.conversation import conversation, neutral
from rlar_graph.rewards.model_adapters import QUESTION, LabelHead, WordChoice, adapter_of
from rlar_graph.rewards.model_batches import ROWS, planned, shortened

TOKENS_CPU, TOKENS_GPU = 512, 32_768
"""Tokens of a batch. A CPU is fastest while a batch fits into its caches: at 4096 tokens it is half as fast."""
_FULL = ("out of memory", "can't allocate memory", "cannot allocate memory")


class Network:
    """Loads a model and reads completions with it.

    Args:
        order: Folder, adapter, form, limits and device, as the parent sends them.

    Raises:
        OSError: The folder holds no such model.
        ValueError: Weights are missing, so that some would be made up; or there is no chat template.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._adapter = adapter_of(order["adapter"])
        self._device = _device(order["device"])
        if self._device.type == "cuda":
            _cap(self._device, order["memory_bytes"])
        folder, form = order["folder"], order["form"]
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        self._model = self._load(folder, _dtype(order["dtype"], self._device))
        self._form = form
        self._rows = 1 if self._is_exact(order.get("exact")) else ROWS
        self._blind = form == "chat" and getattr(self._model.config.get_text_config(), "is_causal", True)
        if form == "chat" and not self._tokenizer.chat_template:
            raise ValueError("its tokenizer has no chat template")
        self._longest = self._length(order["max_length"])
        self._budget = order.get("tokens") or (TOKENS_GPU if self._device.type == "cuda" else TOKENS_CPU)
        self._outputs = self._named_outputs()
        self._marks = sorted({*self._tokenizer.all_special_tokens, *_added(self._tokenizer)}, key=len)
        self._halved = 0

    @property
    def told(self) -> dict[str, object]:
        """Return what the parent is told of it."""
        return {
            "device": str(self._device),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "max_length": self._longest,
            "exact": self._rows == 1 or self._model.dtype == torch.float32,
            "library": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "bytes": sum(weight.numel() * weight.element_size() for weight in self._model.parameters()),
        }

    def read(self, pairs: Sequence[tuple[str, str]]) -> dict[str, object]:
        """Return raw rewards, reasons where there is none, and tokens left out, one of each per pair."""
        rows, dropped = [], []
        for tokens, over in self._tokenized(pairs):
            rows.append(tokens)
            dropped.append(over)
        raws: list[float | None] = [None] * len(rows)
        whys: list[str | None] = [None] * len(rows)
        waiting = planned([len(row) for row in rows], self._budget, self._rows)
        batches = 0
        while waiting:
            batch = waiting.pop(0)
            values = self._tried([rows[index] for index in batch])
            batches += 1
            if values is not None:
                for index, value in zip(batch, values, strict=True):
                    raws[index] = value if math.isfinite(value) else None
                    whys[index] = None if math.isfinite(value) else "its reward is not a finite number"
            elif len(batch) == 1:
                whys[batch[0]] = f"out of memory at {len(rows[batch[0]])} tokens"
            else:
                waiting = self._halve(batch, waiting, rows)
        return {"raw": raws, "why": whys, "dropped": dropped, "batches": batches, "halved": self._halved}

    def _halve(
        self, batch: list[int], waiting: list[list[int]], rows: Sequence[Sequence[int]]
    ) -> list[list[int]]:
        """Plan what is left anew with half the tokens; the smaller budget stays for later calls."""
        self._budget = max(1, len(rows[batch[0]]) * len(batch) // 2)
        self._halved += 1
        left = [*batch, *(index for some in waiting for index in some)]
        plan = planned([len(rows[index]) for index in left], self._budget, self._rows)
        return [[left[place] for place in places] for places in plan]

    def _tried(self, rows: Sequence[Sequence[int]]) -> list[float] | None:
        """Return the rewards of one batch, or None where memory does not allow it."""
        try:
            with torch.inference_mode():
                values: list[float] = self._forward(rows).tolist()
            return values
        except (RuntimeError, MemoryError) as error:
            # torch raises its own kinds of it on a GPU and on a CPU.
            if not isinstance(error, MemoryError) and not any(word in str(error).lower() for word in _FULL):
                raise
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _forward(self, rows: Sequence[Sequence[int]]) -> Any:
        """Return the raw rewards of one batch."""
        lengths = [len(row) for row in rows]
        padding = self._padding(rows)
        tokens = torch.full((len(rows), max(lengths)), padding, dtype=torch.long)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        inputs: dict[str, Any] = {"input_ids": tokens.to(self._device)}
        if not self._blind:
            places = torch.arange(tokens.shape[1]).unsqueeze(0)
            mask = (places < torch.tensor(lengths).unsqueeze(1)).to(torch.long)
            inputs["attention_mask"] = mask.to(self._device)
        if isinstance(self._adapter, WordChoice):
            hidden = self._model.base_model(**inputs, use_cache=False)[0]
            last = torch.tensor(lengths, device=self._device) - 1
            ends = hidden[torch.arange(len(rows), device=self._device), last]
            logits = self._model.get_output_embeddings()(ends)
        else:
            logits = self._model(**inputs, **self._options).logits
        return self._adapter.read(logits[:, list(self._outputs)].float())

    def _is_exact(self, asked: bool | None) -> bool:
        """Say whether sequences are read alone: 16-bit floats on a CPU, where that costs least, or on demand."""
        narrow = self._model.dtype != torch.float32
        return narrow and (self._device.type == "cpu" if asked is None else asked)

    def _padding(self, rows: Sequence[Sequence[int]]) -> int:
        """Return the token to pad with, and tell a decoder of it."""
        if self._form == "pair":
            return int(self._tokenizer.pad_token_id or 0)
        ends = {row[-1] for row in rows}
        known = self._model.config.get_text_config().pad_token_id
        padding = known if known is not None and known not in ends else 0
        while padding in ends:
            padding += 1
        self._model.config.get_text_config().pad_token_id = padding
        self._model.config.pad_token_id = padding
        return int(padding)

    def _tokenized(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
        """Return the tokens of each pair, and how many were left out."""
        cleaned = [(neutral(prompt, self._marks), neutral(text, self._marks)) for prompt, text in pairs]
        if self._form == "pair":
            return [self._pair(prompt, text) for prompt, text in cleaned]
        texts = [
            self._tokenizer.apply_chat_template(
                self._turns(prompt, text),
                tokenize=False,
                add_generation_prompt=isinstance(self._adapter, WordChoice),
            )
            for prompt, text in cleaned
        ]
        rows = self._tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return [(shortened(row, self._longest), max(0, len(row) - self._longest)) for row in rows]

    def _turns(self, prompt: str, text: str) -> list[dict[str, str]]:
        if isinstance(self._adapter, WordChoice):
            asked = QUESTION.format(
                prompt=prompt, completion=text, yes=self._adapter.yes, no=self._adapter.no
            )
            return [{"role": "user", "content": asked}]
        return conversation(prompt, text)

    def _pair(self, prompt: str, text: str) -> tuple[list[int], int]:
        """Return the tokens of two texts; what is too long loses of the prompt's beginning first."""
        marks = self._tokenizer.num_special_tokens_to_add(pair=True)
        asked = self._tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        said = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        over = len(asked["input_ids"]) + len(said["input_ids"]) + marks - self._longest
        if over > 0:
            room = self._longest - marks - 8  # cutting a text can make its tokens a few more
            kept = min(len(said["input_ids"]), room - min(len(asked["input_ids"]), room // 4))
            text = _ending(text, said, kept)
            prompt = _ending(prompt, asked, room - kept)
        row = self._tokenizer(prompt, text, truncation="longest_first", max_length=self._longest)["input_ids"]
        return list(row), max(0, over)

    def _load(self, folder: str, dtype: Any) -> Any:
        loader = getattr(transformers, self._adapter.loader)
        model, told = loader.from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        missing = sorted(told["missing_keys"])
        if missing or told.get("mismatched_keys"):
            raise ValueError(f"weights are missing and would be made up: {', '.join(map(str, missing[:3]))}")
        self._options = {} if model.config.model_type in _NO_CACHE else {"use_cache": False}
        return model.to(self._device).eval()

    def _length(self, asked: int) -> int:
        """Return the most tokens a sequence may have."""
        places = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or asked
        if "roberta" in self._model.config.model_type:
            places -= 2  # its positions begin after the padding's
        return int(min(asked, places, self._tokenizer.model_max_length))

    def _named_outputs(self) -> tuple[int, ...]:
        labels, words = {}, {}
        if isinstance(self._adapter, LabelHead):
            labels = {str(name): int(index) for index, name in self._model.config.id2label.items()}
        if isinstance(self._adapter, WordChoice):
            for word in (self._adapter.yes, self._adapter.no):
                found = self._tokenizer.encode(word, add_special_tokens=False)
                words.update({word: found[0]} if len(found) == 1 else {})
        return self._adapter.outputs(labels, words)


_NO_CACHE = frozenset(
    {
        "albert",
        "bert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "modernbert",
        "roberta",
        "xlm-roberta",
    }
)


def _ending(text: str, encoded: Any, tokens: int) -> str:
    """Return the end of a text that its last ``tokens`` tokens cover."""
    offsets = encoded["offset_mapping"]
    if tokens >= len(offsets):
        return text
    return text[offsets[-tokens][0] :] if tokens > 0 else ""


def _added(tokenizer: Any) -> set[str]:
    """Return the special tokens that were added to a vocabulary."""
    decoder = getattr(tokenizer, "added_tokens_decoder", {})
    return {token.content for token in decoder.values() if token.special}


def _device(asked: str) -> torch.device:
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(asked)


def _dtype(asked: str, device: torch.device) -> torch.dtype:
    """Return 16-bit floats on a GPU, 32-bit ones elsewhere, unless told otherwise."""
    if asked == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}[asked]


def _cap(device: torch.device, limit: int) -> None:
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
