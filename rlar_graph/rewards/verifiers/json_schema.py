"""The verifier of structured output: one JSON document, valid against a JSON Schema.

Which text counts as the document is decided in :mod:`~rlar_graph.rewards.verifiers.json_text`. Schemas
whose work is bounded by their size and the document's are checked here, in some ten microseconds; the
others (regular expressions, references, slow formats) and long documents are checked in the sandbox, where
endless work is killed and abstains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from urllib.parse import urldefrag, urljoin

from rlar_graph.errors import SandboxError
from rlar_graph.rewards.base import AnswerVerifier, ToolSpec
from rlar_graph.rewards.verifiers import json_conformance as conformance
from rlar_graph.rewards.verifiers.json_text import NotJson, document_in
from rlar_graph.rewards.verifiers.response import response_of
from rlar_graph.sandbox.base import Limits, Outcome, Sandbox
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain

MAX_CHARACTERS = 1_000_000
SHORT_DOCUMENT = 20_000
LIMITS = Limits(seconds=5.0, memory_mb=512)

DRAFTS = ("202012", "201909", "7", "6", "4", "3")
"""Drafts from the newest: a schema that names none belongs to the newest in which it is valid."""

REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
UNBOUNDED = (
    REFERENCES
    | {"pattern", "patternProperties", "uniqueItems", "extends"}
    | {
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
SLOW_FORMATS = frozenset({"iri", "iri-reference", "idn-hostname", "uri-template", "regex"})
TELLTALES = (
    "$schema",
    "$ref",
    "$defs",
    "definitions",
    "properties",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
)
TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema ready for use."""

    text: str
    """Its JSON text."""
    draft: str
    """Name of its validator class in ``jsonschema``."""
    bounded: bool
    """Whether checking a document takes no more than schema size times document size."""


class JsonSchemaVerifier(AnswerVerifier):
    """Checks completions against the rollout's schema, or its reference where that is one.

    Args:
        sandbox: Returns the open sandbox; asked for only when a check could run on.
    """

    def __init__(self, sandbox: Callable[[], Sandbox]) -> None:
        super().__init__()
        self._sandbox = sandbox
        self.spec = ToolSpec(
            name="json_schema",
            kind="verifier",
            summary="Checks that a completion is one JSON document valid against a JSON Schema, formats included.",
        )

    def extract(self, rollout: Rollout, completion: str) -> str | Verdict:
        """Return the text of the completion's document; value 0 where it commits itself to none."""
        schema = _schema_of(rollout)
        if isinstance(schema, Verdict):
            return schema
        if len(completion) > MAX_CHARACTERS:
            return abstain(f"the completion is longer than {MAX_CHARACTERS} characters")
        try:
            return document_in(response_of(completion))
        except NotJson as error:
            return Verdict(0.0, detail={"broken": str(error)})

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return the schema and the document."""
        return (_given(rollout), answer)

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Validate documents; those that need the sandbox go there in one batch."""
        verdicts: dict[int, Verdict] = {}
        hard: dict[int, tuple[Schema, str]] = {}
        for number, (rollout, document) in enumerate(questions):
            schema = _schema_of(rollout)
            if isinstance(schema, Verdict):
                verdicts[number] = schema
            elif schema.bounded and len(document) <= SHORT_DOCUMENT:
                verdicts[number] = _verdict(conformance.conforms(schema.text, document, schema.draft), schema)
            else:
                hard[number] = (schema, document)
        verdicts.update(zip(hard, self._compare_in_sandbox(list(hard.values())), strict=True))
        return [verdicts[number] for number in range(len(questions))]

    def _compare_in_sandbox(self, pairs: Sequence[tuple[Schema, str]]) -> list[Verdict]:
        if not pairs:
            return []
        calls = [{"schema": schema.text, "document": text, "draft": schema.draft} for schema, text in pairs]
        try:
            outcomes = self._sandbox().call_batch(_source(), "conforms", calls, LIMITS)
        except SandboxError as error:
            return [abstain(f"no sandbox to validate in: {error}")] * len(pairs)
        return [_judged(outcome, schema) for outcome, (schema, _) in zip(outcomes, pairs, strict=True)]


def _judged(outcome: Outcome, schema: Schema) -> Verdict:
    """Return the verdict of a sandboxed check; only one that ended says anything."""
    if outcome.status == "ok" and outcome.value is not None:
        return _verdict(outcome.value, schema)
    return abstain(f"validation did not end: {outcome.status}", outcome=outcome.detail)


def _verdict(answer: float, schema: Schema) -> Verdict:
    import jsonschema

    if answer == conformance.CONFORMS:
        return RIGHT
    if answer == conformance.UNRESOLVED:
        return abstain("the schema refers to something that is not in it")
    if answer == conformance.UNDECIDED:
        return abstain("the schema and the document are too deep or too large to compare")
    keywords = ("false", "false", *sorted(getattr(jsonschema, schema.draft).VALIDATORS))
    return Verdict(0.0, detail={"broken": keywords[int(answer)]})


def _schema_of(rollout: Rollout) -> Schema | Verdict:
    """Return the rollout's schema, or the abstention where it has none that can be used."""
    return _prepared(*_given(rollout))


def _given(rollout: Rollout) -> tuple[str, bool]:
    """Return the text that is to be the schema, and whether it was given as one or is the reference."""
    is_declared = rollout.schema is not None
    given = rollout.schema if is_declared else rollout.reference
    return given if isinstance(given, str) else json.dumps(given, default=repr), is_declared


@lru_cache(maxsize=4096)
def _prepared(text: str, is_declared: bool) -> Schema | Verdict:
    """Read a schema, find its draft, and make sure that it can be used offline."""
    import jsonschema

    try:
        schema = json.loads(text)
    except ValueError as error:
        return abstain(f"the schema is not JSON: {error}" if is_declared else "there is no schema")
    if not isinstance(schema, bool | dict) or not (is_declared or _looks_like_schema(schema)):
        return abstain("a schema is an object or a boolean" if is_declared else "there is no schema")
    draft = _draft_of(schema)
    try:
        getattr(jsonschema, draft).check_schema(schema)
    except jsonschema.SchemaError as error:
        return abstain(f"invalid schema at {error.json_path}: {error.message:.200}")
    except RecursionError:
        return abstain("the schema nests too deep")
    members = list(_members(schema))
    if foreign := next(_foreign(members), None):
        return abstain(f"the schema refers to {foreign:.200}, which is not in it")
    return Schema(text, draft, not any(_is_unbounded(*member) for member in members))


def _looks_like_schema(value: object) -> bool:
    """Return whether a reference is a schema and not an example: any object would do as a schema."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    return any(name in value for name in TELLTALES) or (isinstance(kind, str) and kind in TYPES)


def _draft_of(schema: bool | dict[str, object]) -> str:
    """Return the validator class of the draft a schema names, else of the newest in which it is valid."""
    import jsonschema
    from jsonschema.validators import validator_for

    names = [f"Draft{draft}Validator" for draft in DRAFTS]
    if isinstance(schema, dict) and isinstance(schema.get("$schema"), str):
        named: str = validator_for(schema, default=jsonschema.Draft202012Validator).__name__
        return named if named in names else names[0]
    valid = (name for name in names if _is_valid(schema, name))
    return next(valid, names[0])


def _is_valid(schema: bool | dict[str, object], draft: str) -> bool:
    import jsonschema

    try:
        getattr(jsonschema, draft).check_schema(schema)
    except (jsonschema.SchemaError, RecursionError):
        return False
    return True


def _members(schema: object) -> Iterator[tuple[str, object]]:
    """Yield every member of every object in a schema, names of properties included."""
    todo = [schema]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            yield from value.items()
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)


def _foreign(members: Sequence[tuple[str, object]]) -> Iterator[str]:
    """Yield the addresses referred to that neither the schema nor the specifications hold."""
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped, unused-ignore]

    names = {urldefrag(name).url for key, name in members if key in {"$id", "id"} and isinstance(name, str)}
    for key, reference in members:
        if key in REFERENCES and isinstance(reference, str):
            address = urldefrag(reference).url
            reachable = {address, *(urljoin(name, address) for name in names)}
            if address and not reachable & names and not {address, f"{address}#"} & set(REGISTRY):
                yield reference


def _is_unbounded(keyword: str, value: object) -> bool:
    if keyword == "format":
        return isinstance(value, str) and value in SLOW_FORMATS
    return keyword in UNBOUNDED


@lru_cache(maxsize=1)
def _source() -> str:
    return resources.files("rlar_graph.rewards.verifiers").joinpath("json_conformance.py").read_text("utf-8")
