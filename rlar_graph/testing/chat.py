"""Public fakes: a scripted chat server that speaks real HTTP, and a language model connected to it.

Tests of anything that asks a language model run the real client against this server; it can also misbehave in
the ways real servers do.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

from pydantic import BaseModel

from rlar_graph.llm import LanguageModel
from rlar_graph.types import message_text


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request as it arrived."""

    body: Mapping[str, Any]
    """Its JSON."""
    headers: Mapping[str, str]
    """Its headers, by lower-case name."""

    @property
    def role(self) -> str:
        """Who asked, e.g. ``planner``."""
        return self.headers.get("x-rlar-role", "")

    @property
    def text(self) -> str:
        """All messages as one text."""
        return "\n\n".join(message_text(message) for message in self.body.get("messages", []))

    @property
    def format(self) -> str:
        """``json_schema``, ``json_object``, ``json_object_schema`` (that with a schema in it) or ``text``."""
        asked = self.body.get("response_format") or {"type": "text"}
        return f"{asked['type']}_schema" if "schema" in asked else str(asked["type"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server does with one request; the text alone is a well-behaved answer."""

    text: str | None = None
    """The message's content."""
    status: int = 200
    """HTTP status; one that is not 200 carries the text as its error message."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further response headers, such as ``Retry-After``."""
    finish: str = "stop"
    """Finish reason; ``length`` is a reply cut off at the token limit."""
    refusal: str | None = None
    """The message's refusal."""
    usage: tuple[int, int] | None = (10, 5)
    """Prompt and completion tokens reported; None reports nothing."""
    raw: bytes | None = None
    """A body to send instead of a chat completion."""
    delay: float = 0.0
    """Seconds before the first byte."""
    trickle: float = 0.0
    """Seconds between two bytes of the body."""
    cut_at: int | None = None
    """Close the connection after this many bytes of the body."""


def fenced(text: str) -> Answer:
    """Answer in a code fence, with talk around it, as weak models do."""
    return Answer(f"Sure! Here is the JSON you asked for:\n\n```json\n{text}\n```\nLet me know if it helps.")


def thinking(text: str, thoughts: str = 'Perhaps {"answer": "no"}? Hmm.') -> Answer:
    """Think aloud before the answer."""
    return Answer(f"<think>\n{thoughts}\n</think>\n\n{text}")


def truncated(text: str) -> Answer:
    """Hit the token limit after ``text``."""
    return Answer(text, finish="length")


def refusing(reason: str = "I cannot help with that.") -> Answer:
    """Refuse, in the field that is there for it."""
    return Answer(refusal=reason)


def failing(status: int, message: str = "something went wrong", retry_after: float | None = None) -> Answer:
    """Answer with an error status, and perhaps the wish to be left alone for a while."""
    return Answer(message, status, {} if retry_after is None else {"Retry-After": f"{retry_after:g}"})


def cut_off() -> Answer:
    """Close the connection in the middle of the answer."""
    return Answer("never seen in full", cut_at=20)


def malformed(body: str = '{"choices": [') -> Answer:
    """Send a 200 whose body is no chat completion."""
    return Answer(raw=body.encode())


Line: TypeAlias = str | BaseModel | Answer
"""One line of a script; a model is answered as its JSON."""

Lines: TypeAlias = Line | Sequence[Line] | Callable[[ChatRequest], Line]
"""One line for every request, a sequence of lines used up in order, or a function of the request."""

Script: TypeAlias = Lines | Mapping[str, Lines]
"""Lines, or lines by the role that asks or a regular expression found in the text; the first key that fits counts."""


class ScriptedChatServer:
    """A chat server on 127.0.0.1 that says what its script says; a context manager.

    A request that the script has no line for is answered with 404 and kept in :attr:`unscripted`.

    Args:
        script: What to answer.
        formats: ``response_format`` types it accepts; others are rejected with 400.
        rejects: Options (``temperature``, ``seed``, ...) that it rejects with 400.
    """

    def __init__(
        self,
        script: Script,
        *,
        formats: Sequence[str] = ("json_schema", "json_object_schema", "json_object"),
        rejects: Sequence[str] = (),
    ) -> None:
        parts = script if isinstance(script, Mapping) else {"": script}
        self._parts = [(key, _in_order(lines)) for key, lines in parts.items()]
        self._formats, self._rejects = formats, rejects
        self._lock = threading.Lock()
        self.requests: list[ChatRequest] = []
        """Every chat request up to now, rejected ones included."""
        self.unscripted: list[ChatRequest] = []
        """Those that the script had no line for."""
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        """Address for a client."""
        self.closing = threading.Event()
        """Set when it is to stop, so that slow answers end."""
        # The poll is how long close() takes.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, request: ChatRequest) -> Answer:
        """Return what the server does with a request, and keep the request."""
        with self._lock:
            self.requests.append(request)
            if request.format not in (*self._formats, "text"):
                return failing(400, f"response_format {request.format} is not supported")
            rejected = next((name for name in self._rejects if name in request.body), None)
            if rejected:
                return failing(400, f"Unsupported parameter: '{rejected}' is not supported with this model.")
            fits = (play for key, play in self._parts if key == request.role or re.search(key, request.text))
            line = next(fits, lambda: None)()
            if line is None:
                self.unscripted.append(request)
                return failing(404, f"the script has no line for the {request.role}: {request.text[:200]}")
        if callable(line):
            line = line(request)
        if isinstance(line, Answer):
            return line
        return Answer(line if isinstance(line, str) else line.model_dump_json())

    def close(self) -> None:
        """Stop; answers under way end at once."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class ScriptedModel(LanguageModel):
    """A language model with a scripted server of its own, closed together."""

    server: ScriptedChatServer

    def close(self) -> None:
        """Close the connections and the server."""
        super().close()
        self.server.close()


def scripted_model(
    script: Script,
    *,
    formats: Sequence[str] = ("json_schema", "json_object_schema", "json_object"),
    rejects: Sequence[str] = (),
    **options: Any,
) -> ScriptedModel:
    """Return a language model that says what the script says, through the real client over real HTTP.

    Args:
        script: What to answer; see :data:`Script`.
        formats: Formats its server accepts.
        rejects: Options its server rejects.
        **options: As for :class:`~rlar_graph.llm.LanguageModel`; pauses between retries are short unless given.
    """
    server = ScriptedChatServer(script, formats=formats, rejects=rejects)
    settled = {"backoff_seconds": 0.01, "timeout_seconds": 10.0} | options
    try:
        model = ScriptedModel(server.base_url, "scripted", **settled)
    except BaseException:
        server.close()
        raise
    model.server = server
    return model


class _Server(ThreadingHTTPServer):
    """A server that forgets clients who hang up; what a script raises is printed."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print a traceback, unless the client has given up, which is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: ScriptedChatServer) -> type[BaseHTTPRequestHandler]:
    """Return a request handler that asks ``server``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the body is a packet of its own and would wait 40 ms for an ACK

        def do_GET(self) -> None:
            self.send(Answer(raw=json.dumps({"object": "list", "data": [{"id": "scripted"}]}).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send(server.answer(ChatRequest(body, headers)))

        def send(self, answer: Answer) -> None:
            server.closing.wait(answer.delay)
            body = _body(answer)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.close_connection = answer.cut_at is not None
            body = body[: answer.cut_at]
            size = 1 if answer.trickle else max(1, len(body))
            for place in range(0, len(body), size):
                self.wfile.write(body[place : place + size])
                server.closing.wait(answer.trickle)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _body(answer: Answer) -> bytes:
    """Return an answer's body on the wire."""
    if answer.raw is not None:
        return answer.raw
    if answer.status != 200:
        return json.dumps({"error": {"message": answer.text, "type": "error"}}).encode()
    message = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
    choice = {"index": 0, "finish_reason": answer.finish, "message": message}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "scripted"}
    reply: dict[str, Any] = head | {"choices": [choice]}
    if answer.usage is not None:
        usage = zip(("prompt_tokens", "completion_tokens"), answer.usage, strict=True)
        reply["usage"] = {"total_tokens": sum(answer.usage), **dict(usage)}
    return json.dumps(reply).encode()


def _in_order(lines: Lines) -> Callable[[], Line | Callable[[ChatRequest], Line] | None]:
    """Return a function that gives the next line, or None when they are used up."""
    if callable(lines) or isinstance(lines, str | BaseModel | Answer):
        return lambda: lines
    remaining = iter(lines)
    return lambda: next(remaining, None)
