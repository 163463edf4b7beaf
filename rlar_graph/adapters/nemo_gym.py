"""NeMo-Gym (and NeMo-RL through it): a resources server whose ``verify`` scores the model's last message.

An abstention is ``mask_sample`` with ``failure_kind`` and ``failure_reason``; the reward beside it is 0.0 only because
the field is required, and NeMo-RL gives a masked sample no weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rlar_graph.adapters.evidence import rollout_of
from rlar_graph.adapters.shared import ascore_items
from rlar_graph.types import Message


class Body(Protocol):
    """What is used of NeMo-Gym's request."""

    def model_dump(self) -> dict[str, object]:
        """Return its fields."""
        ...


async def verify(fields: Mapping[str, object]) -> dict[str, object]:
    """Answer a verify request.

    Args:
        fields: ``responses_create_params``, ``response``, and the data set's own fields (``expected_answer``, ...).

    Returns:
        The request's fields with ``reward``, and the mask where nothing could judge it.

    Raises:
        InputError: A field cannot be read.
        RegistryError: The registry cannot be opened or read.
        EngineError: No engine could be had.
    """
    asked = _mapping(fields.get("responses_create_params")).get("input")
    row = {
        name: value for name, value in fields.items() if name not in {"responses_create_params", "response"}
    }
    rollout = rollout_of(_prompt(asked), output_text(_mapping(fields.get("response"))), None, row)
    ((score,),) = await ascore_items([rollout])
    answer: dict[str, object] = {**fields, "reward": 0.0 if score.value is None else score.value}
    if score.value is None:
        answer |= {
            "mask_sample": True,
            "failure_kind": "verifier_abstained",
            "failure_reason": score.abstained,
        }
    return answer


def output_text(response: Mapping[str, object]) -> str:
    """Return the text of the last message in a Responses object; reasoning and tool calls are no answer."""
    output = response.get("output")
    for item in reversed(output if isinstance(output, list) else []):
        if isinstance(item, Mapping) and item.get("type") == "message":
            parts = item.get("content")
            texts = (
                [part.get("text") for part in parts if isinstance(part, Mapping)]
                if isinstance(parts, list)
                else []
            )
            return "".join(text for text in texts if isinstance(text, str))
    return ""


def resources_server() -> type:
    """Return the resources server's class, for NeMo-Gym to run."""
    from nemo_gym.base_resources_server import (  # type: ignore[import-not-found, unused-ignore]
        BaseVerifyRequest,
        BaseVerifyResponse,
        SimpleResourcesServer,
    )
    from pydantic import ConfigDict

    class Request(BaseVerifyRequest):  # type: ignore[misc, unused-ignore]
        model_config = ConfigDict(extra="allow")

    class Response(BaseVerifyResponse):  # type: ignore[misc, unused-ignore]
        model_config = ConfigDict(extra="allow")

    class RlarResourcesServer(SimpleResourcesServer):  # type: ignore[misc, unused-ignore]
        async def verify(self, body: Body) -> BaseVerifyResponse:
            return Response.model_validate(await verify(body.model_dump()))

    RlarResourcesServer.verify.__annotations__["body"] = Request
    return RlarResourcesServer


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _prompt(asked: object) -> str | Sequence[Message]:
    """Return what was asked: text, or the messages among the input's items."""
    if isinstance(asked, str):
        return asked
    items = asked if isinstance(asked, list) else []
    return [item for item in items if isinstance(item, Mapping) and "role" in item]
