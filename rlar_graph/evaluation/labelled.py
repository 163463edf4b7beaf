"""How well the reward function agrees with labels: pairs, best-of-n, and right or wrong, abstentions apart.

A record is ``{"id", "prompt", "reference", "chosen": [...], "rejected": [...], "meta": {...}}``. It is routed on
prompt, reference and the evidence in ``meta`` only; which side a completion is on is not looked at before it is
scored.

Every figure comes twice: over what was scored, and *strict*, where an abstention counts as wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from rlar_graph.engine import Engine
from rlar_graph.errors import InputError
from rlar_graph.jsonl import read_records
from rlar_graph.library import Loaded
from rlar_graph.records import rollout_from
from rlar_graph.scoring import Planned
from rlar_graph.types import Rollout, Score

BATCH_ITEMS = 128
RIGHT_FROM = 0.5
"""A value from here on says that the completion is right."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled record."""

    rollout: Rollout
    """Prompt, evidence, and all completions: chosen first."""
    chosen: int
    """How many of the completions are chosen."""


@dataclass
class Rate:
    """A share, over what was scored and strict."""

    right: float = 0.0
    """Sum of what was right."""
    scored: int = 0
    """How many were scored."""
    asked: int = 0
    """How many there were."""

    def add(self, right: float | None) -> None:
        """Count one case; None is an abstention."""
        self.asked += 1
        if right is not None:
            self.scored += 1
            self.right += right

    @property
    def rate(self) -> float | None:
        """Return the share over what was scored; None for nothing."""
        return self.right / self.scored if self.scored else None

    @property
    def strict(self) -> float | None:
        """Return the share with abstentions counted as wrong; None for nothing."""
        return self.right / self.asked if self.asked else None


@dataclass
class FileResult:
    """What one file came to."""

    file: str
    """The file."""
    items: int = 0
    """Records."""
    completions: int = 0
    """Completions."""
    abstained: int = 0
    """Completions without a value."""
    seconds: float = 0.0
    """Wall-clock seconds, tools only."""
    pairs: Rate = field(default_factory=Rate)
    """Chosen above rejected, over all pairs of a record; a tie counts half."""
    best_of_n: Rate = field(default_factory=Rate)
    """First chosen strictly above every rejected."""
    positives: Rate = field(default_factory=Rate)
    """Chosen completions called right."""
    negatives: Rate = field(default_factory=Rate)
    """Rejected completions called wrong."""
    tools: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each tool the completions it had and those it abstained on; ``none`` where no tool served."""
    signatures: dict[str, int] = field(default_factory=dict)
    """Records by signature."""

    def add(self, item: Item, planned: Planned, row: Sequence[Score]) -> None:
        """Count the scores of one record."""
        self.items += 1
        self.completions += len(row)
        key = planned.route.signature.key
        self.signatures[key] = self.signatures.get(key, 0) + 1
        loaded = planned.tool if isinstance(planned.tool, Loaded) else None
        tool = self.tools.setdefault(loaded.label if loaded else "none", {"completions": 0, "abstained": 0})
        missing = sum(score.value is None for score in row)
        tool["completions"] += len(row)
        tool["abstained"] += missing
        self.abstained += missing
        self.seconds += sum(score.seconds for score in row)
        values = [score.value for score in row]
        self._add_pairs(values[: item.chosen], values[item.chosen :])
        if loaded is None or not loaded.tool.spec.graded:
            for value in values[: item.chosen]:
                self.positives.add(None if value is None else float(value >= RIGHT_FROM))
            for value in values[item.chosen :]:
                self.negatives.add(None if value is None else float(value < RIGHT_FROM))

    def _add_pairs(self, chosen: Sequence[float | None], rejected: Sequence[float | None]) -> None:
        for better in chosen:
            for worse in rejected:
                self.pairs.add(None if better is None or worse is None else _order(better, worse))
        if chosen and rejected:
            known = [value for value in rejected if value is not None]
            best = chosen[0]
            unknown = best is None or len(known) < len(rejected)
            self.best_of_n.add(None if best is None or unknown else float(best > max(known)))

    def to_dict(self) -> dict[str, object]:
        """Return the figures under their published names."""
        right = Rate(
            self.positives.right + self.negatives.right,
            self.positives.scored + self.negatives.scored,
            self.positives.asked + self.negatives.asked,
        )
        rates = {
            "pair_accuracy": self.pairs,
            "bon_accuracy": self.best_of_n,
            "pointwise_accuracy": right,
            "tpr": self.positives,
            "tnr": self.negatives,
        }
        figures: dict[str, object] = {"file": self.file, "items": self.items, "completions": self.completions}
        figures |= {name: rate.rate for name, rate in rates.items()}
        figures |= {f"{name}_strict": rate.strict for name, rate in rates.items()}
        figures |= {"abstained": self.abstained, "seconds": round(self.seconds, 6)}
        return figures | {"tools": self.tools, "signatures": self.signatures}


def _order(better: float, worse: float) -> float:
    """Return 1 for the right order, a half for a tie, 0 for the wrong order."""
    return 0.5 if better == worse else float(better > worse)


def evaluate_file(engine: Engine, file: str, progress: Callable[[int, int], None]) -> FileResult:
    """Score every completion of a labelled file and compare with the labels.

    Args:
        engine: What plans and scores.
        file: ``.jsonl`` or ``.jsonl.gz``.
        progress: Called after each batch with the records and completions done in it.

    Raises:
        InputError: A line cannot be read; the error names file, line and field.
    """
    result = FileResult(file)
    for batch in _batched(read_items(file)):
        plan = engine.plan([item.rollout for item in batch])
        rows = engine.score(plan)
        for item, planned, row in zip(batch, plan, rows, strict=True):
            result.add(item, planned, row)
        progress(len(batch), sum(map(len, rows)))
    return result


def read_items(file: str) -> Iterator[Item]:
    """Yield the labelled records of a file that have at least one completion."""
    for line, record in read_records(file):
        chosen, rejected = (_texts(record, side, file, line) for side in ("chosen", "rejected"))
        meta = record.get("meta") or {}
        if not isinstance(meta, Mapping):
            raise InputError("must be a JSON object", file=file, line=line, field="meta")
        if record.get("prompt") is None or ("chosen" not in record and "rejected" not in record):
            lacking = "prompt" if record.get("prompt") is None else "chosen"
            names = ", ".join(record) or "none"
            problem = (
                f"a labelled record needs a prompt, and texts in chosen or rejected; its fields are: {names}"
            )
            raise InputError(problem, file=file, line=line, field=lacking)
        evidence = {
            **meta,
            "prompt": record.get("prompt"),
            "reference": record.get("reference"),
            "completions": [*chosen, *rejected],
        }
        try:
            rollout = rollout_from(evidence)
        except InputError as error:
            raise InputError(error.problem, file=file, line=line, field=error.field) from error
        if rollout.completions:
            yield Item(rollout, len(chosen))


def _texts(record: Mapping[str, object], side: str, file: str, line: int) -> list[str]:
    value = record.get(side)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError("must be a list of texts", file=file, line=line, field=side)
    return cast(list[str], value)


def _batched(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) >= BATCH_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch
