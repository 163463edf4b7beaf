"""What the public fakes have in common: a server of our own over real HTTP, which can break off and be closed."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Forget clients that hang up."""


class LocalServer(ABC):
    """A server on 127.0.0.1 in a thread; a context manager. Says what its :meth:`answer` returns."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        """Its address."""
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @abstractmethod
    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Return what is said to a request."""
        ...

    def close(self) -> None:
        """Stop."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server says to a request."""

    status: int = 200
    """HTTP status."""
    body: bytes = b""
    """Its body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers."""
    cut_at: int | None = None
    """Close the connection after this many bytes."""


def json_reply(value: object, status: int = 200, **headers: str) -> Reply:
    """Return a reply whose body is JSON."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def _handler(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet; else each waits 40 ms for an ACK

        def do_GET(self) -> None:
            self.serve()

        def do_HEAD(self) -> None:
            self.serve()

        def do_POST(self) -> None:
            self.serve()

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.answer(self.command, self.path, body, headers)
            if server.closing.is_set():  # a connection that was kept open would outlive the server
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[: reply.cut_at])
            self.close_connection = reply.cut_at is not None

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
