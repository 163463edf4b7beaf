"""Public fakes: a hub over real HTTP, with repositories of your own.

The real client runs against it (``huggingface_hub`` through ``Settings.hub_endpoint``), and it can misbehave in the
ways of the real one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rlar_graph.testing.http import LocalServer, Reply, json_reply


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


class LocalHub(LocalServer):
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
            return json_reply({"error": "not now"}, self.status)
        parts = urlsplit(path)
        steps = [unquote(step) for step in parts.path.strip("/").split("/")]
        if steps[:2] == ["api", "models"]:
            return self._api(steps[2:], {name: values[0] for name, values in parse_qs(parts.query).items()})
        if len(steps) > 4 and steps[2] == "resolve":
            return self._file(f"{steps[0]}/{steps[1]}", steps[3], "/".join(steps[4:]))
        return json_reply({"error": "not here"}, 404)

    def _api(self, steps: list[str], query: Mapping[str, str]) -> Reply:
        if not steps or steps == [""]:
            return json_reply(
                [self._told(name, repo) for name, repo in self.repos.items() if _fits(name, repo, query)]
            )
        name = "/".join(steps[:2])
        repo = self.repos.get(name)
        if repo is None:
            return json_reply({"error": "Repository not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        rest = steps[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        files = repo.at(revision)
        if files is None:
            return json_reply({"error": "Revision not found"}, 404, **{"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            return json_reply([self._entry(repo, path, content) for path, content in files.items()])
        return json_reply(self._told(name, repo, files))

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
            return json_reply({"error": "not found"}, 404, **{"X-Error-Code": "RepoNotFound"})
        if path not in files:
            return json_reply(
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
