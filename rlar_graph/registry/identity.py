"""What a tool is known by in the registry: a printable name and the SHA-256 of what decides its scores."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import get_args

from rlar_graph.errors import InputError
from rlar_graph.registry.records import Spec
from rlar_graph.types import ToolKind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}", re.ASCII)
SUMMARY_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A spec that has been checked, with the source that the registry is to keep; it is a ``Spec`` itself."""

    name: str
    """Unique in a registry."""
    kind: ToolKind
    """Verifier, reward model or judge."""
    summary: str
    """One sentence for people."""
    graded: bool
    """Whether its values only order completions."""
    content_hash: str
    """SHA-256 of the source, or what a built-in tool says of itself."""
    source: bytes | None
    """UTF-8 of the source; None for a built-in tool."""


def identify(spec: Spec, source: str | None) -> Identity:
    """Check a spec and settle its content hash.

    A tool with a source has its SHA-256 as content hash, whatever it says: a file or a model cannot claim
    another tool's hash and so take its place.

    Raises:
        InputError: The spec's name, kind, summary, hash or source cannot be kept.
    """
    if not NAME.fullmatch(spec.name):
        raise InputError(
            f"a tool's name is up to 200 letters, digits and ._:/@- , not {spec.name!r}", field="name"
        )
    if spec.kind not in get_args(ToolKind):
        raise InputError(f"a tool's kind is one of {', '.join(get_args(ToolKind))}", field="kind")
    if len(spec.summary) > SUMMARY_CHARS:
        raise InputError(f"a tool's summary has at most {SUMMARY_CHARS} characters", field="summary")
    content_hash, content = _content(spec.content_hash, source)
    return Identity(spec.name, spec.kind, spec.summary, spec.graded, content_hash, content)


def _content(claimed: str, source: str | None) -> tuple[str, bytes | None]:
    if source is None:
        if not claimed:
            raise InputError("a tool without a source needs a content hash", field="content_hash")
        return claimed, None
    try:
        content = source.encode()
    except UnicodeEncodeError as error:
        raise InputError("a source is text without lone surrogates", field="source") from error
    found = hashlib.sha256(content).hexdigest()
    if claimed not in ("", found):
        raise InputError("the content hash is not the SHA-256 of the source", field="content_hash")
    return found, content
