"""A stand-in for E2B: its control plane and code interpreter over HTTP, a process per context, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4


class StandIn(ThreadingHTTPServer):
    """The server, and what it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contexts: dict[str, subprocess.Popen[str] | None] = {}
        self.created: list[dict[str, Any]] = []
        self.killed: list[str] = []
        self.removed: list[str] = []
        self.is_broken = False
        self.is_gone = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _body(self) -> dict[str, Any]:
        size = int(self.headers.get("Content-Length") or 0)
        found: dict[str, Any] = json.loads(self.rfile.read(size) or b"{}")
        return found

    def _reply(self, code: int, content: object = None) -> None:
        text = b"" if content is None else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("X-API-KEY") == "wrong":
            self._reply(401, {"code": 401, "message": "no such key"})
        elif self.path.startswith("/v2/sandboxes"):
            self.server.created.append(body)
            self.server.is_gone = False
            self._reply(
                201,
                {
                    "sandboxID": "stand-in",
                    "templateID": "base",
                    "clientID": "here",
                    "envdVersion": "0.4.0",
                    "envdAccessToken": "token",
                },
            )
        elif self.server.is_gone:
            self._reply(404, {"message": "the sandbox was not found"})
        elif self.path == "/contexts":
            name = uuid4().hex
            self.server.contexts[name] = None
            self._reply(200, {"id": name, "language": "python", "cwd": "/"})
        elif self.path == "/execute" and not self.server.is_broken:
            self._execute(body)
        else:
            self._reply(500, {"message": "broken"})

    def do_DELETE(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/contexts"):
            process = self.server.contexts.pop(name, None)
            if process is not None:
                process.kill()
            self.server.removed.append(name)
        else:
            self.server.killed.append(name)
        self._reply(204)

    def _execute(self, body: dict[str, Any]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", "import sys; exec(sys.stdin.read())"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.server.contexts[body["context_id"]] = process
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        self._line({"type": "number_of_executions", "execution_count": 1})
        printed, _ = process.communicate(body["code"])
        if printed:
            self._line({"type": "stdout", "text": printed, "timestamp": "0"})
        self._line({"type": "end_of_execution"})
        self.close_connection = True

    def _line(self, content: dict[str, object]) -> None:
        try:
            self.wfile.write(json.dumps(content).encode() + b"\n")
            self.wfile.flush()
        except OSError:
            return  # the client gave up waiting


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Run the stand-in in a thread."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            for process in server.contexts.values():
                if process is not None:
                    process.kill()
                    process.wait()
