"""Adapters: the known ways in which a network says how good a completion is. Each is one small declared class.

Which one reads a model is decided by its ``config.json`` or by the catalogue, never by its README and never by code
that was written for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlar_graph.errors import ToolError
from rlar_graph.hub.card import ModelCard

ENCODERS = frozenset(
    {
        "AlbertForSequenceClassification",
        "BertForSequenceClassification",
        "DebertaForSequenceClassification",
        "DebertaV2ForSequenceClassification",
        "DistilBertForSequenceClassification",
        "ElectraForSequenceClassification",
        "ModernBertForSequenceClassification",
        "RobertaForSequenceClassification",
        "XLMRobertaForSequenceClassification",
    }
)
"""Encoders: prompt and completion are a pair of texts to them."""

DECODERS = frozenset(
    {
        "GPT2ForSequenceClassification",
        "GPTNeoXForSequenceClassification",
        "Gemma2ForSequenceClassification",
        "GemmaForSequenceClassification",
        "LlamaForSequenceClassification",
        "MistralForSequenceClassification",
        "MixtralForSequenceClassification",
        "Phi3ForSequenceClassification",
        "Qwen2ForSequenceClassification",
        "Qwen2MoeForSequenceClassification",
        "Qwen3ForSequenceClassification",
        "Qwen3MoeForSequenceClassification",
    }
)
"""Decoders: the score is read at the last token of the rendered conversation."""

HEADS = ("score.weight", "classifier.weight", "classifier.out_proj.weight")
QUESTION = (
    "Here is a prompt and a response to it.\n\nPrompt:\n{prompt}\n\nResponse:\n{completion}\n\n"
    "Is it a good response? Answer with one word, {yes} or {no}."
)


class Adapter(Protocol):
    """Says which models it can read, and reads the outputs of one row."""

    @property
    def loader(self) -> str:
        """The class of transformers that loads such a model."""
        ...

    @property
    def heads(self) -> tuple[str, ...]:
        """Tensors of which one must be among the weights; none where there is no head of its own."""
        ...

    def refuses(self, card: ModelCard) -> str | None:
        """Return why it cannot read a model, or None."""
        ...

    def outputs(self, labels: Mapping[str, int], words: Mapping[str, int]) -> tuple[int, ...]:
        """Return the outputs it needs: indices of labels, or of words in the vocabulary.

        Raises:
            ToolError: The model has not what the adapter was declared for.
        """
        ...

    def read(self, outputs: Any) -> Any:
        """Return the raw scores of a batch: ``outputs`` is (rows, what :meth:`outputs` named), as 32-bit floats."""
        ...


@dataclass(frozen=True, slots=True)
class ScalarHead:
    """One output: the reward. Most reward models are of this kind."""

    loader: str = "AutoModelForSequenceClassification"
    heads: tuple[str, ...] = HEADS

    def refuses(self, card: ModelCard) -> str | None:
        """Return why it cannot read a model, or None."""
        if card.architecture not in ENCODERS | DECODERS:
            return f"architecture {card.architecture or '(none named)'} is none that is loaded here"
        return None if card.labels == 1 else f"its head has {card.labels} outputs, and a reward is one"

    def outputs(self, labels: Mapping[str, int], words: Mapping[str, int]) -> tuple[int, ...]:
        """Return the only output."""
        return (0,)

    def read(self, outputs: Any) -> Any:
        """Return it as it is."""
        return outputs[:, 0]


@dataclass(frozen=True, slots=True)
class LabelHead:
    """A classifier with a label that means good: the reward is its log odds against all others."""

    label: str
    """The label, as in ``id2label``."""
    loader: str = "AutoModelForSequenceClassification"
    heads: tuple[str, ...] = HEADS

    def refuses(self, card: ModelCard) -> str | None:
        """Return why it cannot read a model, or None."""
        if card.architecture not in ENCODERS | DECODERS:
            return f"architecture {card.architecture or '(none named)'} is none that is loaded here"
        named = card.config.get("id2label")
        labels = [str(label) for label in named.values()] if isinstance(named, Mapping) else []
        return None if self.label in labels and len(labels) > 1 else f"it has no label {self.label!r}"

    def outputs(self, labels: Mapping[str, int], words: Mapping[str, int]) -> tuple[int, ...]:
        """Return all outputs, the good one first."""
        if self.label not in labels:
            raise ToolError(f"the model has no label {self.label!r}")
        rest = (index for label, index in labels.items() if label != self.label)
        return (labels[self.label], *rest)

    def read(self, outputs: Any) -> Any:
        """Return the log odds of the first against the others."""
        return outputs[:, 0] - outputs[:, 1:].logsumexp(dim=1)


@dataclass(frozen=True, slots=True)
class WordChoice:
    """A generative model that is asked: the reward is how much rather it would say one word than another."""

    yes: str = "Yes"
    """The word that means good."""
    no: str = "No"
    """The word that means bad."""
    loader: str = "AutoModelForCausalLM"
    heads: tuple[str, ...] = ()

    def refuses(self, card: ModelCard) -> str | None:
        """Return why it cannot read a model, or None."""
        sibling = card.architecture.replace("ForCausalLM", "ForSequenceClassification")
        if card.architecture.endswith("ForCausalLM") and sibling in DECODERS:
            return None
        return f"architecture {card.architecture or '(none named)'} is no generative one that is loaded here"

    def outputs(self, labels: Mapping[str, int], words: Mapping[str, int]) -> tuple[int, ...]:
        """Return the two words' tokens."""
        missing = [word for word in (self.yes, self.no) if word not in words]
        if missing:
            raise ToolError(f"{missing[0]!r} is not one token of the model's vocabulary")
        return (words[self.yes], words[self.no])

    def read(self, outputs: Any) -> Any:
        """Return the difference of their logits."""
        return outputs[:, 0] - outputs[:, 1]


def adapter_of(name: str) -> ScalarHead | LabelHead | WordChoice:
    """Return the adapter of a declaration: ``scalar``, ``label:NAME`` or ``words:YES/NO``.

    Raises:
        ToolError: There is none of that name.
    """
    kind, _, rest = name.partition(":")
    if kind == "scalar" and not rest:
        return ScalarHead()
    if kind == "label" and rest:
        return LabelHead(rest)
    yes, _, no = rest.partition("/")
    if kind == "words" and yes and no:
        return WordChoice(yes, no)
    raise ToolError(f"there is no adapter {name!r}; there are scalar, label:NAME and words:YES/NO")


def is_encoder(card: ModelCard) -> bool:
    """Say whether a model takes prompt and completion as a pair of texts."""
    return card.architecture in ENCODERS
