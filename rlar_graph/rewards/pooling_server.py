"""A remote server of reward models: many requests at once, retried, and what fails is one completion's abstention."""

from __future__ import annotations

import http.client
import json
import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from rlar_graph.deadline import Fault
from rlar_graph.errors import SettingsError
from rlar_graph.rewards.chat_template import rendered
from rlar_graph.rewards.pooling_dialects import DIALECTS, RENDERED_HERE, Pair, turns_sent
from rlar_graph.rewards.reading import Reading

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_PAUSE = 30.0
REPLY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ServerTerms:
    """How a server is treated."""

    seconds: float = 60.0
    """Longest wait for one reply."""
    retries: int = 3
    """Further tries after a fault that may pass."""
    pause: float = 0.5
    """Pause before the first retry; each further one is twice as long."""
    threads: int = 16
    """Requests at once."""


class PoolingServer:
    """Reads completions with a model on a server. Safe to share between threads.

    Args:
        url: The server's address, without a route.
        model: The model's name there.
        dialect: What the server speaks; see :data:`~rlar_graph.rewards.pooling_dialects.DIALECTS`.
        key: Key for the server, sent as a bearer token.
        template: Chat template, for dialects that need one.
        terms: How it is treated.

    Raises:
        SettingsError: The address is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        dialect: str,
        key: str | None = None,
        *,
        template: str = "",
        terms: ServerTerms = ServerTerms(),
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError("rm_server_url is the http:// or https:// address of a server")
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._model, self._form, self._terms = model, DIALECTS[dialect], terms
        self._template = template if dialect in RENDERED_HERE else None
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Return one reading per (prompt, completion); what the server does not answer has a reason.

        Raises:
            ToolError: The chat template cannot be rendered.
        """
        texts = self._texts(pairs)
        found = {
            index: Reading(None, "its chat template refuses the conversation")
            for index, text in enumerate(texts)
            if text is None
        }
        groups = list(self._grouped(pairs, [index for index in range(len(pairs)) if index not in found]))
        if not groups:
            return [found[index] for index in range(len(pairs))]

        def ask(group: Sequence[int]) -> list[Reading]:
            some = [texts[index] or "" for index in group]
            return self._answer([pairs[index] for index in group], some, lines)

        workers = min(self._terms.threads, len(groups))
        with _Lines(self._connection) as lines, ThreadPoolExecutor(workers) as threads:
            for group, readings in zip(groups, threads.map(ask, groups), strict=True):
                found.update(zip(group, readings, strict=True))
        return [found[index] for index in range(len(pairs))]

    def models(self) -> tuple[str, ...] | Fault:
        """Return the models that the server says it has, none where it does not say; or why it cannot be asked."""
        with _Lines(self._connection) as lines:
            told, _, _ = self._try(None, lines, "GET", "/v1/models")
        if isinstance(told, str):
            return () if told.startswith("HTTP 404") else Fault(told)
        entries = told.get("data") if isinstance(told, dict) else None
        named = [entry.get("id") for entry in entries or () if isinstance(entry, dict)]
        return tuple(name for name in named if isinstance(name, str))

    def _texts(self, pairs: Sequence[Pair]) -> Sequence[str | None]:
        """Return the texts of pairs where they are rendered here, else empty ones."""
        if self._template is None or not pairs:
            return [""] * len(pairs)
        return rendered(self._template, [turns_sent(pair) for pair in pairs])

    def _grouped(self, pairs: Sequence[Pair], asked: Sequence[int]) -> Iterator[list[int]]:
        """Yield the pairs of each request."""
        together: dict[str, list[int]] = {}
        for index in asked:
            together.setdefault(pairs[index][0] if self._form.one_prompt else "", []).append(index)
        for members in together.values():
            for start in range(0, len(members), self._form.pairs):
                yield members[start : start + self._form.pairs]

    def _answer(self, pairs: Sequence[Pair], texts: Sequence[str], lines: _Lines) -> list[Reading]:
        """Ask for some pairs at once; where their reply is broken, each abstains."""
        body = json.dumps(self._form.body(self._model, pairs, texts)).encode()
        reply = self._persist(body, lines)
        if isinstance(reply, str):
            return [Reading(None, f"the server gave no reward: {reply}")] * len(pairs)
        try:
            values = self._form.values(reply, len(pairs))
        except (KeyError, TypeError, IndexError, AttributeError):
            return [Reading(None, "the server's reply has not the form of its dialect")] * len(pairs)
        return [_reading(value) for value in values]

    def _persist(self, body: bytes, lines: _Lines) -> Any:
        """Return the reply as JSON, or why there is none, after the tries that are allowed."""
        tried = 0
        while True:
            reply, transient, pause = self._try(body, lines)
            if not transient or tried >= self._terms.retries:
                return reply
            tried += 1
            backoff = self._terms.pause * 2.0 ** (tried - 1) * (0.5 + random.random() / 2)  # noqa: S311
            time.sleep(min(LONGEST_PAUSE, backoff if pause is None else pause))

    def _try(
        self, body: bytes | None, lines: _Lines, method: str = "POST", route: str | None = None
    ) -> tuple[Any, bool, float | None]:
        """Return reply or reason, whether another try may help, and how long to wait for it if the server says."""
        late = f"timed out after {self._terms.seconds:g} s"
        if lines.hung:
            return late, False, None
        connection, asked = lines.take(), time.monotonic()
        with _Deadline(connection, self._terms.seconds) as deadline:
            try:
                connection.request(method, self._base + (route or self._form.route), body, self._headers)
                answer = connection.getresponse()
                text = answer.read(REPLY_BYTES)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if deadline.passed or isinstance(error, TimeoutError):
                    lines.note_silence(asked)
                    return late, False, None
                return f"{type(error).__name__}: {str(error)[:200]}", True, None
        if deadline.passed:
            connection.close()
            lines.note_silence(asked)
            return late, False, None
        lines.give_back(connection)
        if answer.status != 200:
            said = " ".join(text[:300].decode("utf-8", "replace").split())
            return f"HTTP {answer.status}: {said}", answer.status in TRANSIENT, _retry_after(answer)
        try:
            return json.loads(text), False, None
        except (ValueError, RecursionError):
            return "its reply is not JSON", True, None

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._terms.seconds)


class _Lines:
    """Connections of one call, used again and again, and closed with it: a server drops those that idle.

    A server that lets a request wait to its deadline, and answers no other meanwhile, hangs: it is asked nothing more.
    """

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._idle: list[http.client.HTTPConnection] = []
        self._heard = 0.0
        self.hung = False

    def note_silence(self, since: float) -> None:
        """Take note that a request got no answer in time, asked at a moment of the monotonic clock."""
        self.hung = self.hung or self._heard < since

    def take(self) -> http.client.HTTPConnection:
        """Return a connection that nobody uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Let others use a connection, on which an answer came."""
        self._heard = time.monotonic()
        self._idle.append(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for connection in self._idle:
            connection.close()


class _Deadline:
    """The end of a request: a socket's own timeout begins anew with every byte, so a reply in drops would never end."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.passed = False

    def _cut(self) -> None:
        self.passed = True
        if self._connection.sock is not None:
            with suppress(OSError):  # it has ended by itself
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._timer.cancel()


def _reading(value: object) -> Reading:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        value = float(value)
    if not isinstance(value, float) or not math.isfinite(value):
        return Reading(None, "the server's reply has no reward for it, or one that is no finite number")
    return Reading(value)


def _retry_after(answer: http.client.HTTPResponse) -> float | None:
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else None
