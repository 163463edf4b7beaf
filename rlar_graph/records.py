"""Records and trainers' columns into rollouts: the one place that knows what data sets call their columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import cast

from rlar_graph.errors import InputError
from rlar_graph.types import Message, Rollout

PROMPT = ("prompt", "question", "problem", "query", "instruction", "messages", "text")
COMPLETIONS = ("completions", "responses", "completion", "response")
ALIASES: Mapping[str, tuple[str, ...]] = {
    "reference": (
        "reference",
        "ground_truth",
        "reward_model.ground_truth",
        "final_answer",
        "expected_answer",
        "answer",
        "answerKey",
        "target",
        "gold",
        "solution",
        "canonical_solution",
        "label",
    ),
    "aliases": ("aliases", "answers", "golden_answers", "acceptable_answers"),
    "tests": ("tests", "test", "test_list", "test_cases", "unit_tests", "input_output", "assertions"),
    "entry_point": ("entry_point", "fn_name", "function_name"),
    "schema": ("schema", "json_schema", "response_schema"),
    "instruction_id_list": ("instruction_id_list",),
    "kwargs": ("kwargs",),
    "choices": ("choices", "options"),
    "language": ("language", "target_language", "tgt_lang", "language_pair", "lp"),
    "source": ("source_text", "document", "article", "src"),
    "data_source": ("data_source",),
    "id": ("id", "uid", "task_id"),
}
"""Field of a rollout -> the columns it is read from; the first that holds a value wins."""

EVIDENCE_COLUMNS = frozenset(name.partition(".")[0] for names in ALIASES.values() for name in names)


def _index() -> dict[str, tuple[str, int, str | None]]:
    """Return column name -> (field, rank among its aliases, name inside the column if it is a mapping)."""
    index: dict[str, tuple[str, int, str | None]] = {}
    for field, names in (("prompt", PROMPT), ("completions", COMPLETIONS), *ALIASES.items()):
        for rank, name in enumerate(names):
            outer, _, inner = name.partition(".")
            index[name] = (field, rank, None)
            if inner:
                index[outer] = (field, rank, inner)
    return index


INDEX = _index()


def rollout_from(record: Mapping[str, object]) -> Rollout:
    """Turn one record, in whatever column names its data set uses, into a rollout.

    Args:
        record: A JSON object with a ``prompt`` (or ``question``, ...); evidence as in :data:`ALIASES`.

    Raises:
        InputError: There is no prompt, or nothing can be made of a field's type; the error names it.
    """
    found: dict[str, tuple[int, str, object]] = {}
    for name, value in record.items():
        known = INDEX.get(name)
        if known is None:
            continue
        field, rank, inner = known
        if inner is not None and isinstance(value, Mapping):
            value = value.get(inner)
        if not _is_missing(value) and (field not in found or rank < found[field][0]):
            found[field] = (rank, name, value)
    if "prompt" not in found:
        names = ", ".join(record) or "none"
        raise InputError(f"a record needs a prompt; its fields are: {names}", field="prompt")
    fields = {field: READERS[field](name, value) for field, (_, name, value) in found.items()}
    _settle(fields, record)
    taken = {name for _, name, _ in found.values()}
    fields["metadata"] = {name: value for name, value in record.items() if name not in taken}
    return Rollout(**fields)  # type: ignore[arg-type]


def _is_missing(value: object) -> bool:
    """Say whether a column holds nothing here: None, or the NaN that pandas puts in its place."""
    return value is None or (isinstance(value, float) and value != value)


def rollouts_from_columns(
    prompts: Sequence[object], completions: Sequence[object], columns: Mapping[str, object]
) -> tuple[list[Rollout], list[list[int]]]:
    """Group a trainer's batch into rollouts.

    Args:
        prompts: One prompt per completion, as TRL hands them over.
        completions: One completion per prompt.
        columns: Data set columns, each with one entry per completion. Values that are not lists and name no
            evidence (``trainer_state``, callables) are the trainer's own and are left alone.

    Returns:
        Rollouts, and for each its completions' positions in the batch.

    Raises:
        InputError: Lengths differ, or an evidence column is not a list; the error names the column.
    """
    size = len(completions)
    if len(prompts) != size:
        problem = f"has {len(prompts)} entries for {size} completions; there must be one per completion"
        raise InputError(problem, field="prompts")
    rows = {name: _column(name, value, size) for name, value in columns.items()}
    held = {name: row for name, row in rows.items() if row is not None}
    deciding = [row for name, row in held.items() if name in EVIDENCE_COLUMNS]
    groups: dict[object, list[int]] = {}
    for index in range(size):
        prompt = prompts[index]
        key: object = prompt if type(prompt) is str else repr(prompt)
        if deciding:
            key = (key, *[repr(row[index]) for row in deciding])
        groups.setdefault(key, []).append(index)
    rollouts = []
    for members in groups.values():
        record: dict[str, object] = {name: row[members[0]] for name, row in held.items()}
        record["prompt"] = prompts[members[0]]
        record["completions"] = [completions[index] for index in members]
        rollouts.append(rollout_from(record))
    return rollouts, list(groups.values())


def _column(name: str, value: object, size: int) -> Sequence[object] | None:
    """Return a column as a sequence of batch length, or None for the trainer's own values."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, str) or not isinstance(value, Sequence):
        if name in EVIDENCE_COLUMNS:
            raise InputError(
                f"must be a list with one entry per completion, not {type(value).__name__}", field=name
            )
        return None
    if len(value) != size:
        if name not in EVIDENCE_COLUMNS:
            return None
        raise InputError(f"has {len(value)} entries for {size} completions", field=name)
    return value


def _completions(name: str, value: object) -> list[str | Sequence[Message]]:
    """Read completions: a list of texts or conversations, or a single one of either."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Sequence):
        raise _wrong(name, value, "a list with one entry per completion")
    if value and all(isinstance(part, Mapping) for part in value):
        messages = cast(Sequence[Message], value)
        return [messages] if name in {"completion", "response"} else [[message] for message in messages]
    return list(value)


def _prompt(name: str, value: object) -> object:
    """Pass a prompt on; the rollout itself checks it."""
    return value


def _wrong(name: str, value: object, wanted: str) -> InputError:
    return InputError(f"must be {wanted}, not {type(value).__name__}", field=name)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    return value


def _identifier(name: str, value: object) -> str:
    return str(value) if isinstance(value, int) else _text(name, value)


def _language(name: str, value: object) -> str:
    """Read a language; a pair such as ``lt-en`` names its target, BCP 47 regions are dropped."""
    text = _text(name, value).strip().lower().replace("_", "-")
    if name in {"language_pair", "lp"}:
        return text.rpartition("-")[2]
    return text.partition("-")[0]


def _reference(name: str, value: object) -> object:
    """Read a reference; TriviaQA's ``{"value": ...}`` form is opened."""
    if isinstance(value, Mapping) and isinstance(value.get("value"), str):
        return value["value"]
    if isinstance(value, str | bool | int | float | Mapping | Sequence):
        return value
    raise _wrong(name, value, "text, a number, a boolean, a list or a mapping")


def _texts(name: str, value: object) -> tuple[str, ...]:
    """Read a list of texts; SQuAD's ``{"text": [...]}`` form is opened."""
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(part, str | int | float) for part in value):
        raise _wrong(name, value, "a list of texts")
    return tuple(str(part) for part in value)


def _tests(name: str, value: object) -> object:
    """Read tests; JSON text (APPS keeps its pairs so) is opened."""
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, str | Mapping | Sequence):
        return value
    raise _wrong(name, value, "source text, a list of tests or a mapping of inputs and outputs")


def _schema(name: str, value: object) -> object:
    if isinstance(value, str | bool | Mapping):
        return value
    raise _wrong(name, value, "a JSON Schema: a mapping, a boolean or JSON text")


def _kwargs(name: str, value: object) -> tuple[Mapping[str, object], ...]:
    """Read the parameters of instructions; JSON text is opened, parameters that are null are dropped."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise InputError(f"is text but not JSON: {error}", field=name) from error
    if not isinstance(value, Sequence) or not all(
        part is None or isinstance(part, Mapping) for part in value
    ):
        raise _wrong(name, value, "a list with one mapping per instruction")
    return tuple({key: item for key, item in (part or {}).items() if item is not None} for part in value)


def _choices(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """Read options: a list of texts, a mapping of labels, or ARC's ``{"text": [...], "label": [...]}``."""
    if isinstance(value, Mapping):
        if "text" in value and "label" in value:
            return tuple(zip(_texts(name, value["label"]), _texts(name, value["text"]), strict=True))
        return tuple((str(label), str(text)) for label, text in value.items())
    return tuple(zip(ascii_uppercase, _texts(name, value), strict=False))


READERS: Mapping[str, Callable[[str, object], object]] = {
    "prompt": _prompt,
    "completions": _completions,
    "reference": _reference,
    "aliases": _texts,
    "tests": _tests,
    "entry_point": _text,
    "schema": _schema,
    "instruction_id_list": _texts,
    "kwargs": _kwargs,
    "choices": _choices,
    "language": _language,
    "source": _text,
    "data_source": _text,
    "id": _identifier,
}


def _settle(fields: dict[str, object], record: Mapping[str, object]) -> None:
    """Apply what depends on two fields: TriviaQA's aliases, indices into choices, MBPP's set-up code, lengths."""
    answer = record.get("answer")
    if isinstance(answer, Mapping) and "aliases" in answer and "aliases" not in fields:
        fields["aliases"] = _texts("answer", answer["aliases"])
    choices = cast(tuple[tuple[str, str], ...], fields.get("choices", ()))
    reference = fields.get("reference")
    if choices and type(reference) is int and 0 <= reference < len(choices):
        fields["reference"] = choices[reference][0]
    setup = record.get("test_setup_code") or record.get("test_imports")
    tests = fields.get("tests")
    if setup and isinstance(tests, list):
        lines = [setup] if isinstance(setup, str) else list(_texts("test_imports", setup))
        fields["tests"] = [*lines, *tests]
    ids = cast(tuple[str, ...], fields.get("instruction_id_list", ()))
    kwargs = cast(tuple[Mapping[str, object], ...], fields.get("kwargs", ({},) * len(ids)))
    if ids and len(kwargs) != len(ids):
        problem = f"has {len(kwargs)} entries for {len(ids)} instructions in instruction_id_list"
        raise InputError(problem, field="kwargs")
    fields["kwargs"] = kwargs
