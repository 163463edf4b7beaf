"""What goes over the wire: requests into rollouts, scores into answers, and their schemas for OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlar_graph.adapters.chat_text import bare, plain_prompt
from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.openrlhf import rollout_from_query
from rlar_graph.errors import InputError
from rlar_graph.records import rollout_from
from rlar_graph.registry import ToolRecord
from rlar_graph.types import Rollout, Score


@dataclass(frozen=True, slots=True)
class Queries:
    """A request of OpenRLHF."""

    prompts: tuple[str, ...]
    """The prompts; equal ones are one group."""
    rollouts: tuple[Rollout | str, ...]
    """A rollout with one completion for each; or why there is none, for OpenRLHF ends over one bad label."""


def read_json(body: bytes) -> Mapping[str, object]:
    """Return a request's JSON object.

    Raises:
        InputError: It is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request is not JSON: {type(error).__name__}: {error}") from error
    if not isinstance(value, Mapping):
        raise InputError(f"the request must be a JSON object, not {type(value).__name__}")
    return value


def read_rollouts(body: bytes) -> list[Rollout]:
    """Read a request of ``/score``.

    Raises:
        InputError: A rollout cannot be read; the error says which.
    """
    records = _listed(read_json(body), "rollouts")
    rollouts = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise InputError(f"rollout {number} must be an object", field="rollouts")
        try:
            rollout = rollout_from(record)
        except InputError as error:
            raise InputError(f"rollout {number}: {error.problem}", field=error.field) from error
        if not rollout.completions:
            raise InputError(f"rollout {number} has no completions to score", field="completions")
        rollouts.append(rollout)
    return rollouts


def read_queries(body: bytes) -> Queries:
    """Read a request of ``/get_reward``: ``query``, ``prompts`` and ``labels``, lists of one length.

    Raises:
        InputError: They are not.
    """
    fields = read_json(body)
    queries, prompts = _texts(fields, "query"), _texts(fields, "prompts")
    labels = _listed(fields, "labels") if fields.get("labels") is not None else [None] * len(queries)
    if not len(queries) == len(prompts) == len(labels):
        sizes = f"{len(queries)}, {len(prompts)} and {len(labels)}"
        raise InputError(f"query, prompts and labels must have one length, not {sizes}", field="query")
    samples = zip(queries, prompts, labels, strict=True)
    return Queries(tuple(prompts), tuple(_query(*sample) for sample in samples))


def _query(query: str, prompt: str, label: object) -> Rollout | str:
    try:
        return rollout_from_query(query, prompt, label)
    except InputError as error:
        return f"InputError: {error}"


def read_sample(body: bytes) -> Rollout:
    """Read a request of ``/remote_rm``: ``prompt``, ``response`` and ``label``.

    Raises:
        InputError: The response is not text, or the label cannot be read.
    """
    fields = read_json(body)
    response, prompt = fields.get("response"), fields.get("prompt")
    if not isinstance(response, str):
        raise InputError("must be text", field="response")
    asked = plain_prompt(prompt) if isinstance(prompt, str) else prompt
    return rollout_of(asked, bare(response), fields.get("label"))


def scores_body(rows: Sequence[Sequence[Score]]) -> bytes:
    """Return the answer of ``/score``."""
    scores = [[_described(score) for score in row] for row in rows]
    return json.dumps({"scores": scores}, default=str, separators=(",", ":")).encode()


def _described(score: Score) -> dict[str, object]:
    return {
        "value": score.value,
        "raw": score.raw,
        "abstained": score.abstained,
        "tool": score.tool,
        "version": score.version,
        "seconds": score.seconds,
        "detail": dict(score.detail),
    }


def tools_body(tools: Sequence[ToolRecord]) -> bytes:
    """Return the answer of ``/tools``."""
    listed = [
        {
            "tool": version.tool,
            "version": version.number,
            "kind": version.kind,
            "state": version.state,
            "graded": version.graded,
            "summary": version.summary,
            "content_hash": version.content_hash,
            "serves": list(tool.bindings),
        }
        for tool in tools
        for version in tool.versions
    ]
    return json.dumps(listed).encode()


def _listed(fields: Mapping[str, object], name: str) -> list[object]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise InputError("must be a list", field=name)
    return value


def _texts(fields: Mapping[str, object], name: str) -> list[str]:
    texts = _listed(fields, name)
    if not all(isinstance(text, str) for text in texts):
        raise InputError("must be a list of texts", field=name)
    return [str(text) for text in texts]


def documented(schema: Mapping[str, object], example: object) -> dict[str, object]:
    """Return what OpenAPI says of a request's body."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_TEXTS = {"type": "array", "items": {"type": "string"}}
SCORE_REQUEST = documented(
    {
        "type": "object",
        "required": ["rollouts"],
        "properties": {
            "rollouts": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["prompt", "completions"],
                    "properties": {"prompt": {}, "completions": {"type": "array"}, "reference": {}},
                    "additionalProperties": True,
                },
            }
        },
    },
    {"rollouts": [{"prompt": "What is 6 * 7?", "completions": ["42", "41"], "reference": "42"}]},
)
QUERIES_REQUEST = documented(
    {
        "type": "object",
        "required": ["query", "prompts"],
        "properties": {"query": _TEXTS, "prompts": _TEXTS, "labels": {"type": "array"}},
    },
    {"query": ["What is 6 * 7? 42"], "prompts": ["What is 6 * 7? "], "labels": ["42"]},
)
SAMPLE_REQUEST = documented(
    {
        "type": "object",
        "required": ["prompt", "response"],
        "properties": {"prompt": {}, "response": {"type": "string"}, "label": {}},
    },
    {"prompt": "What is 6 * 7?", "response": "42", "label": "42"},
)
