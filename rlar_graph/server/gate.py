"""What stands before the routes: who may ask, how much, how long, and how many at a time.

It is plain ASGI, and reads the body itself: a body that is too long or too slow never reaches a route, and the bytes
of all bodies together are bounded. Without a token only this machine is served, also where another program does the
listening (the LangGraph server); the ``Host`` header is checked too, so that a web page in a browser on this machine
cannot ask under a name of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlar_graph.server.metrics import Metrics
from rlar_graph.server.options import ServerOptions, is_loopback
from rlar_graph.settings import Settings

SCORING = frozenset({"/score", "/get_reward", "/remote_rm"})
GUARDED = SCORING | {"/tools", "/metrics", "/rlar/metrics"}


class Refused(Exception):
    """A request that gets no further.

    Args:
        status: HTTP status.
        problem: What is wrong, for the person who sent it.
        headers: Further headers.
    """

    def __init__(self, status: int, problem: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status, self.problem, self.headers = status, problem, dict(headers or {})


class Gate:
    """ASGI middleware in front of the scoring routes; other paths pass.

    Args:
        app: What comes after.
        options: Token and limits; by default those of the settings.
        metrics: Where requests are counted.
        settings: By default read when the server starts.
    """

    def __init__(
        self, app: ASGIApp, options: ServerOptions | None, metrics: Metrics, settings: Settings | None = None
    ) -> None:
        self._app, self._metrics = app, metrics
        self._options = options or ServerOptions.of(settings or Settings.load())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] not in GUARDED:
            await self._app(scope, receive, send)
            return
        answer = Answer(send)
        started = time.perf_counter()
        try:
            self._admit(scope)
            if scope["path"] in SCORING and scope["method"] == "POST":
                await self._with_body(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Refused as refused:
            await answer.refuse(refused)
        finally:
            self._metrics.answered(scope["path"], answer.status, time.perf_counter() - started)

    def _admit(self, scope: Scope) -> None:
        """Let through who may ask."""
        headers = dict(scope["headers"])
        token = self._options.token
        if token is not None:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), token.encode()):
                raise Refused(401, "a bearer token is needed", {"www-authenticate": "Bearer"})
            return
        client = scope.get("client")
        name = headers.get(b"host", b"localhost").decode("latin-1")
        host = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if client is None or not is_loopback(client[0]) or not is_loopback(host):
            raise Refused(403, "without a token (RLAR_SERVER_TOKEN) only this machine is served")

    async def _with_body(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        """Read the body within the limits, then have it served within the time limit."""
        options, metrics = self._options, self._metrics
        if (
            metrics.pending_requests >= options.pending_requests
            or metrics.pending_bytes >= options.pending_bytes
        ):
            raise Refused(429, "too many requests are in the making", {"retry-after": "1"})
        metrics.pending_requests += 1
        held = 0
        try:
            body = await self._body(scope, receive)
            held = len(body)
            metrics.pending_bytes += held
            async with asyncio.timeout(options.request_seconds):
                await self._app(scope, _replayed(body, receive), answer)
        except TimeoutError as error:
            problem = f"not answered within {options.request_seconds:g} s"
            raise Refused(504, problem, {"retry-after": "1"}) from error
        finally:
            metrics.pending_requests -= 1
            metrics.pending_bytes -= held

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._options.request_bytes
        too_long = Refused(413, f"the request is longer than {limit:,} bytes", {"connection": "close"})
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > limit:
            raise too_long
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._options.upload_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the client went away")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise too_long
                    more = message.get("more_body", False)
        except TimeoutError as error:
            problem = f"the request did not arrive within {self._options.upload_seconds:g} s"
            raise Refused(408, problem, {"connection": "close"}) from error
        return b"".join(parts)


class Answer:
    """A ``send`` that remembers the status, and can refuse as long as nothing was sent.

    Args:
        send: The server's own.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self._begun = False

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status, self._begun = message["status"], True
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer with an error, if nothing was answered yet."""
        if self._begun:
            return
        body = json.dumps({"error": {"message": refused.problem}}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": refused.status, "headers": raw})
        await self({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body in one piece, then whatever comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
