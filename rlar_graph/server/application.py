"""The routes, and what lives as long as the server: one reward function with the line in front of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias, TypeVar

from fastapi import FastAPI, Request, Response

from rlar_graph import __version__
from rlar_graph.adapters.abstention import settle, settle_groups
from rlar_graph.adapters.openrlhf import answer_with
from rlar_graph.adapters.shared import SharedReward
from rlar_graph.errors import InputError, RlarError
from rlar_graph.process_engine import lend, take_back
from rlar_graph.reward import AgentReward
from rlar_graph.server import shapes
from rlar_graph.server.gate import Gate
from rlar_graph.server.metrics import Metrics
from rlar_graph.server.options import ServerOptions
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score

log = logging.getLogger(__name__)
T = TypeVar("T")
Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[None]]

LARGE = 64 * 1024
"""Bodies longer than this are read in a thread, so that they do not hold up the others."""


class Scoring:
    """What the routes share.

    Args:
        settings: Settings of the reward function; None reads them when the server starts.
    """

    def __init__(self, settings: Settings | None) -> None:
        self.metrics = Metrics()
        self.settings = settings
        self._shared: SharedReward | None = None

    @property
    def shared(self) -> SharedReward:
        """The reward function.

        Raises:
            RlarError: The server has not started, or is at its end.
        """
        if self._shared is None:
            raise RlarError("the server is not running")
        return self._shared

    @property
    def neutral(self) -> float:
        """What stands in for an abstention where no other of its group does."""
        return self.shared.reward.settings.neutral_reward

    def open(self) -> None:
        """Make the reward function; its registry and sandbox open at the first request.

        Requests of many clients share a batch, so tools are sought in the background unless the settings say how:
        nobody waits for a language model that somebody else's prompt needs. A graph in this process uses its engine.
        """
        settings = self.settings or Settings.load()
        if "acquire" not in settings.model_fields_set:
            settings = settings.model_copy(update={"acquire": "background"})
        self._shared = SharedReward(AgentReward(settings))
        lend(self._shared.reward.engine)

    def close(self) -> None:
        """Score what is in line and end every process."""
        shared, self._shared = self._shared, None
        if shared is not None:
            take_back(shared.reward.engine)
            shared.close()

    async def score(self, rollouts: Sequence[Rollout]) -> list[list[Score]]:
        """Score rollouts together with those of other requests, and count them."""
        rows = await self.shared.line.ascore(rollouts)
        for row in rows:
            self.metrics.scored(row)
        return rows


def create_app(settings: Settings | None = None, options: ServerOptions | None = None) -> FastAPI:
    """Return the server's application.

    Args:
        settings: Settings of the reward function; by default read when the server starts.
        options: Token and limits; by default those of the settings.
    """
    scoring = Scoring(settings)
    app = FastAPI(
        title="rlar-graph",
        version=__version__,
        description="Rewards for RL on language models. An abstention is not a zero: its value is null.",
        lifespan=_lifespan(scoring),
    )
    app.add_middleware(Gate, options=options, metrics=scoring.metrics, settings=settings)
    app.add_exception_handler(RlarError, _explained)
    _add_scoring(app, scoring)
    _add_looking(app, scoring)
    return app


def _lifespan(scoring: Scoring) -> Lifespan:
    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        scoring.open()
        try:
            yield
        finally:
            await asyncio.to_thread(scoring.close)

    return alive


def _add_scoring(app: FastAPI, scoring: Scoring) -> None:
    """Add the routes that score."""

    @app.post("/score", openapi_extra=shapes.SCORE_REQUEST, tags=["score"])
    async def score(request: Request) -> Response:
        """Score rollouts: records with a prompt, its completions and evidence, in any data set's column names."""
        rows = await scoring.score(await _read(request, shapes.read_rollouts))
        return _json(shapes.scores_body(rows))

    @app.post("/get_reward", openapi_extra=shapes.QUERIES_REQUEST, tags=["trainers"])
    async def get_reward(request: Request) -> Response:
        """Score as OpenRLHF asks; `extra_logs.rlar_abstain` is 1 where the reward is not a judgement."""
        queries = await _read(request, shapes.read_queries)
        rows = iter(await scoring.score([each for each in queries.rollouts if isinstance(each, Rollout)]))
        scores = [
            next(rows)[0] if isinstance(each, Rollout) else Score(None, abstained=each)
            for each in queries.rollouts
        ]
        for score in scores:
            if score.tool is None:
                log.warning("a query was not scored: %s", score.abstained)
        settled = settle_groups(queries.prompts, scores, scoring.neutral)
        return _json(json.dumps(answer_with(settled)).encode())

    @app.post("/remote_rm", openapi_extra=shapes.SAMPLE_REQUEST, tags=["trainers"])
    async def remote_rm(request: Request, form: str = "number") -> Response:
        """Score as slime and miles ask: the body is the reward; with `?form=dict`, `score` and `rlar_abstain`."""
        if form not in ("number", "dict"):
            raise InputError(f"must be number or dict, not {form[:40]!r}", field="form")
        ((found,),) = await scoring.score([await _read(request, shapes.read_sample)])
        (settled,) = settle([found], scoring.neutral)
        flag = {"score": settled.value, "rlar_abstain": float(settled.abstained)}
        response = _json(json.dumps(flag if form == "dict" else settled.value).encode())
        if settled.abstained:
            response.headers["x-rlar-abstained"] = "1"
        return response


def _add_looking(app: FastAPI, scoring: Scoring) -> None:
    """Add the routes that tell."""

    @app.get("/tools", tags=["look"])
    def tools() -> Response:
        """List the reward tools, their versions and what they serve."""
        return _json(shapes.tools_body(scoring.shared.reward.tools()))

    @app.get("/healthz", tags=["look"])
    async def healthz() -> dict[str, object]:
        """Say that the server is up, and how much it has to do."""
        return {"status": "ok", "version": __version__, "pending": scoring.metrics.pending_requests}

    @app.get("/rlar/metrics", include_in_schema=False)
    @app.get("/metrics", tags=["look"])
    async def metrics() -> Response:
        """Return the counters in Prometheus' text format; the LangGraph server has a /metrics of its own."""
        return Response(scoring.metrics.render(), media_type="text/plain; version=0.0.4")


async def _read(request: Request, reader: Callable[[bytes], T]) -> T:
    body = await request.body()
    return reader(body) if len(body) <= LARGE else await asyncio.to_thread(reader, body)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


async def _explained(_: Request, error: Exception) -> Response:
    """Answer with what went wrong: 422 where the request is at fault, 503 where the engine is."""
    at_fault = isinstance(error, InputError)
    said = {"type": type(error).__name__, "message": str(error)}
    body = json.dumps({"error": said | ({"field": error.field} if isinstance(error, InputError) else {})})
    headers = {} if at_fault else {"retry-after": "1"}
    return Response(body, 422 if at_fault else 503, headers, media_type="application/json")


app = create_app()
