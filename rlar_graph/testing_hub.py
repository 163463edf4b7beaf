"""Public fakes over real HTTP: a hub with repositories of your own, and a server of reward models.

The real clients run against them (``huggingface_hub`` through ``Settings.hub_endpoint``, ours through
``Settings.rm_server_url``), and both can misbehave in the ways of real ones.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class HubRepo:
    """A repository of a local hub, with its newest commit."""

    files: dict[str, bytes]
    """Content by path."""
    licence: str | None = "apache-2.0"
    """What its card names."""
    tags: tuple[str, ...] = ("reward-model", "text-classification")
    """Its tags."""
    downloads: int = 10
    """Downloads of late."""
    gated: bool = False
    """Whether terms must be accepted first."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that its metadata claims, where they are not those of the files."""
    digests: dict[str, str] = field(default_factory=dict)
    """Digests that its metadata claims, where they are not those of the files."""
    older: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Files of earlier commits."""

    @property
    def sha(self) -> str:
        """Return the newest commit."""
        return commit_of(self.files)

    def move(self, files: Mapping[str, bytes]) -> None:
        """Make a new commit on the branch; the older one can still be asked for."""
        self.older[self.sha] = self.files
        self.files = dict(files)

    def at(self, revision: str) -> dict[str, bytes] | None:
        """Return the files of a branch or commit."""
        if revision in ("main", "HEAD", self.sha):
            return self.files
        return self.older.get(revision)


def commit_of(files: Mapping[str, bytes]) -> str:
    """Return the commit that a set of files makes."""
    digest = hashlib.sha1(usedforsecurity=False)
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    return digest.hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Forget clients that hang up."""


class _Local:
    """A server on 127.0.0.1 in a thread; a context manager."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        """Its address."""
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Return what is said to a request."""
        raise NotImplementedError

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


def _json(value: object, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def _handler(server: _Local) -> type[BaseHTTPRequestHandler]:
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


class LocalHub(_Local):
    """A hub with the repositories it is given.

    Args:
        repos: Repositories by ``owner/name``.
    """

    def __init__(self, repos: Mapping[str, HubRepo] | None = None) -> None:
        self.repos = dict(repos or {})
        """Its repositories; may be changed while it runs."""
        self.requests: list[str] = []
        """Method and path of every request up to now."""
        self.headers: list[Mapping[str, str]] = []
        """Their headers."""
        self.status: int | None = None
        """Status to answer everything with, such as 429 or 503; None behaves well."""
        self.delay = 0.0
        """Seconds before every answer."""
        self.cut: dict[str, int] = {}
        """Bytes after which a file's download breaks off, by name of the file."""
        super().__init__()

    @property
    def downloads(self) -> list[str]:
        """Paths of files that were fetched."""
        return [
            line.split(" ", 1)[1].split("/resolve/", 1)[1].split("/", 1)[1]
            for line in self.requests
            if line.startswith("GET") and "/resolve/" in line
        ]

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Answer as the Hub does."""
        self.requests.append(f"{method} {path}")
        self.headers.append(headers)
        self.closing.wait(self.delay)
        if self.status is not None:
            return _json({"error": "not now"}, self.status)
        parts = urlsplit(path)
        steps = [unquote(step) for step in parts.path.strip("/").split("/")]
        if steps[:2] == ["api", "models"]:
            return self._api(steps[2:], {name: values[0] for name, values in parse_qs(parts.query).items()})
        if len(steps) > 4 and steps[2] == "resolve":
            return self._file(f"{steps[0]}/{steps[1]}", steps[3], "/".join(steps[4:]))
        return _json({"error": "not here"}, 404)

    def _api(self, steps: list[str], query: Mapping[str, str]) -> Reply:
        if not steps or steps == [""]:
            return _json(
                [self._told(name, repo) for name, repo in self.repos.items() if _fits(name, repo, query)]
            )
        name = "/".join(steps[:2])
        repo = self.repos.get(name)
        if repo is None:
            return _json({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        rest = steps[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        files = repo.at(revision)
        if files is None:
            return _json({"error": "Revision not found"}, 404, **{"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            return _json([self._entry(repo, path, content) for path, content in files.items()])
        return _json(self._told(name, repo, files))

    def _told(self, name: str, repo: HubRepo, files: Mapping[str, bytes] | None = None) -> dict[str, Any]:
        held = repo.files if files is None else files
        tags = [*repo.tags, *([f"license:{repo.licence}"] if repo.licence else [])]
        return {
            "_id": commit_of({"name": name.encode()})[:24],
            "id": name,
            "modelId": name,
            "sha": commit_of(held),
            "private": False,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": repo.downloads,
            "likes": 1,
            "tags": tags,
            "pipeline_tag": "text-classification",
            "library_name": "transformers",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-01T00:00:00.000Z",
            "cardData": {"license": repo.licence} if repo.licence else {},
            "siblings": [self._sibling(repo, path, content) for path, content in held.items()],
        }

    def _sibling(self, repo: HubRepo, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": path, "size": repo.sizes.get(path, len(content))}
        if path.endswith((".safetensors", ".bin")):
            digest = repo.digests.get(path, hashlib.sha256(content).hexdigest())
            entry["lfs"] = {"sha256": digest, "size": entry["size"], "pointerSize": 134}
        return entry

    def _entry(self, repo: HubRepo, path: str, content: bytes) -> dict[str, Any]:
        size = repo.sizes.get(path, len(content))
        return {"type": "file", "path": path, "size": size, "oid": commit_of({path: content})}

    def _file(self, name: str, revision: str, path: str) -> Reply:
        repo = self.repos.get(name)
        files = None if repo is None else repo.at(revision)
        if repo is None or files is None:
            return _json({"error": "not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        if path not in files:
            return _json(
                {"error": "Entry not found"},
                404,
                **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit_of(files)},
            )
        content = files[path]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return Reply(200, content, {"ETag": etag, "X-Repo-Commit": commit_of(files)}, self.cut.get(path))


def _fits(name: str, repo: HubRepo, query: Mapping[str, str]) -> bool:
    """Say whether a repository belongs in a list."""
    words, tag = query.get("search", "").lower(), query.get("filter", "")
    return words in name.lower() and (not tag or tag in repo.tags)


class PoolingStandIn(_Local):
    """A server of reward models that speaks the routes of vLLM, SGLang and rerankers.

    Args:
        reward: Reward of a text; for a conversation of its last turn.
        model: The model's name.
    """

    def __init__(self, reward: Callable[[str], float], model: str = "served") -> None:
        self._reward, self.model = reward, model
        self.bodies: list[tuple[str, Mapping[str, Any]]] = []
        """Route and body of every request up to now."""
        self.headers: list[Mapping[str, str]] = []
        """Their headers."""
        self.faults: list[Reply] = []
        """Answers to give first, one a request."""
        self.spoilt: Callable[[str], bool] = lambda text: False
        """Says which texts are answered with status 500, however often they are asked."""
        self.delay = 0.0
        """Seconds before every answer."""
        self._guard = threading.Lock()
        super().__init__()

    def answer(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Answer as the server of the route does."""
        asked = json.loads(body)
        with self._guard:
            self.bodies.append((path, asked))
            self.headers.append(headers)
            fault = self.faults.pop(0) if self.faults else None
        self.closing.wait(self.delay)
        if fault is not None:
            return fault
        texts = _texts_of(path, asked)
        if texts is None or method != "POST":
            return _json({"detail": "Not Found"}, 404)
        if asked.get("model") != self.model:
            return _json({"error": {"message": f"The model {asked.get('model')!r} does not exist."}}, 404)
        if any(self.spoilt(text) for text in texts):
            return _json({"error": {"message": "EngineDeadError"}}, 500)
        return _json(_shaped(path, asked, [self._reward(text) for text in texts]))


def _texts_of(path: str, asked: Mapping[str, Any]) -> list[str] | None:
    """Return the texts of a request, or None where there is no such route or body."""
    if path == "/pooling" and isinstance(asked.get("messages"), list):
        return [asked["messages"][-1]["content"]]
    named = {
        "/pooling": "input",
        "/classify": "text" if "text" in asked else "input",
        "/v1/rerank": "documents",
    }
    found = asked.get(named.get(path, ""))
    if isinstance(found, str):
        return [found]
    return found if isinstance(found, list) else None


def _shaped(path: str, asked: Mapping[str, Any], values: Sequence[float]) -> object:
    """Return rewards in the form of a route."""
    if path == "/classify" and "text" in asked:
        return [{"embedding": [value], "meta_info": {"id": "0", "prompt_tokens": 5}} for value in values]
    head: dict[str, Any] = {"id": "pool-0", "model": asked.get("model"), "created": int(time.time())}
    if path == "/v1/rerank":
        order = sorted(range(len(values)), key=lambda place: -values[place])
        return head | {"results": [{"index": place, "relevance_score": values[place]} for place in order]}
    if path == "/classify":
        entries = [
            {"index": place, "label": "LABEL_0", "probs": [value], "num_classes": 1}
            for place, value in enumerate(values)
        ]
        return head | {"object": "list", "data": entries}
    entries = [{"index": place, "object": "pooling", "data": [value]} for place, value in enumerate(values)]
    return head | {"object": "list", "data": entries}
