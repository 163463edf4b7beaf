"""The verifier of structured output: one JSON document, valid against a JSON Schema.

Which text counts as the document is decided in :mod:`~rlar_graph.rewards.verifiers.json_text`. Schemas are
read here, once each; documents are validated in the sandbox, in some fifty microseconds, because a document
chosen by a policy can make validation endless.
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
from rlar_graph.rewards.verifiers.json_conformance import CONFORMS, UNDECIDED, UNRESOLVED
from rlar_graph.rewards.verifiers.json_text import NotJson, document_in
from rlar_graph.rewards.verifiers.response import response_of, withdraws
from rlar_graph.sandbox.base import Limits, Outcome, Sandbox
from rlar_graph.types import RIGHT, Rollout, Verdict, abstain

MAX_CHARACTERS = 1_000_000
LIMITS = Limits(seconds=5.0, memory_mb=512)

DRAFTS = ("202012", "201909", "7", "6", "4", "3")
"""Drafts from the newest. A schema that names none belongs to the newest in which it is valid, except the last:
draft 3 takes any word for a type."""

REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
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


_ECHO = Verdict(0.0, detail={"broken": "the schema itself, not a document that conforms to it"})


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema ready for use."""

    text: str
    """Its JSON text."""
    draft: str
    """Name of its validator class in ``jsonschema``."""


class JsonSchemaVerifier(AnswerVerifier):
    """Checks completions against the rollout's schema, or its reference where that is one.

    Args:
        sandbox: Returns the open sandbox.
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
        response = response_of(completion)
        try:
            document = document_in(response)
        except NotJson as error:
            return Verdict(0.0, detail={"broken": str(error)})
        _, found, afterthought = response.rpartition(document)
        if found and withdraws(afterthought):
            return Verdict(0.0, detail={"broken": "the document is taken back"})
        return _ECHO if _is_schema(document, schema.text) else document

    def key(self, rollout: Rollout, answer: str) -> Hashable:
        """Return the schema and the document."""
        return (_given(rollout), answer)

    def compare(self, questions: Sequence[tuple[Rollout, str]]) -> list[Verdict]:
        """Validate documents in one sandbox batch."""
        pairs = [(_schema_of(rollout), document) for rollout, document in questions]
        calls = [
            {"schema": schema.text, "document": document, "draft": schema.draft}
            for schema, document in pairs
            if isinstance(schema, Schema)
        ]
        try:
            outcomes = iter(self._sandbox().call_batch(_source(), "conforms", calls, LIMITS))
        except SandboxError as error:
            return [abstain(f"no sandbox to validate in: {error}")] * len(questions)
        return [
            _judged(next(outcomes), schema) if isinstance(schema, Schema) else schema for schema, _ in pairs
        ]


def _is_schema(document: str, schema: str) -> bool:
    """Return whether a document is the schema that was asked to be met: most schemas conform to themselves."""
    wanted = _value(schema)
    if not isinstance(wanted, dict) or not wanted or any(f'"{key}"' not in document for key in wanted):
        return False
    return bool(json.loads(document) == wanted)


@lru_cache(maxsize=4096)
def _value(schema: str) -> object:
    """Return the value of a schema's text."""
    return json.loads(schema)


def _judged(outcome: Outcome, schema: Schema) -> Verdict:
    """Return the verdict of a sandboxed check; only one that ended says anything."""
    import jsonschema

    if outcome.status != "ok" or outcome.value is None:
        return abstain(f"validation did not end: {outcome.status}", outcome=outcome.detail)
    if outcome.value == CONFORMS:
        return RIGHT
    if outcome.value == UNRESOLVED:
        return abstain("the schema refers to something that is not in it")
    if outcome.value == UNDECIDED:
        return abstain("the schema and the document are too deep or too large to compare")
    keywords = ("false", "false", *sorted(getattr(jsonschema, schema.draft).VALIDATORS))
    return Verdict(0.0, detail={"broken": keywords[int(outcome.value)]})


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
    if foreign := next(_foreign(list(_members(schema))), None):
        return abstain(f"the schema refers to {foreign:.200}, which is not in it")
    return Schema(text, draft)


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
    valid = (name for name in names[:-1] if _is_valid(schema, name))
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


@lru_cache(maxsize=1)
def _source() -> str:
    return resources.files("rlar_graph.rewards.verifiers").joinpath("json_conformance.py").read_text("utf-8")
