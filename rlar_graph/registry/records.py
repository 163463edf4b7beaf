"""The values the registry takes and gives: all frozen, none of them tied to a database row."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Literal, Protocol, Self, TypeAlias, get_args

from rlar_graph.errors import InputError
from rlar_graph.types import ToolKind

ToolState: TypeAlias = Literal["candidate", "active", "retired", "quarantined", "rejected"]
Author: TypeAlias = Literal["builtin", "agent", "user", "hub"]


class Spec(Protocol):
    """What the registry needs to know of a reward tool; a ``ToolSpec`` is one."""

    @property
    def name(self) -> str:
        """Unique in a registry."""
        ...

    @property
    def kind(self) -> ToolKind:
        """Verifier, reward model or judge."""
        ...

    @property
    def summary(self) -> str:
        """One sentence for people."""
        ...

    @property
    def graded(self) -> bool:
        """Whether its values only order completions."""
        ...

    @property
    def content_hash(self) -> str:
        """SHA-256 of everything that decides its scores."""
        ...


class Report(Protocol):
    """What the registry needs to know of an admission report."""

    @property
    def admitted(self) -> bool:
        """Whether the tool passed the gate."""
        ...

    def to_json(self) -> str:
        """Return the whole report as JSON text."""
        ...


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version of a reward tool comes from."""

    author: Author
    """``builtin`` (ships with the library), ``agent`` (written by a model), ``user`` or ``hub`` (reward models)."""
    prompt_hash: str | None = None
    """SHA-256 of the prompt document that a model wrote it from."""
    model: str | None = None
    """The model that wrote it, or that it runs."""
    revision: str | None = None
    """Pinned revision of that model, or of the library for built-in tools."""
    licence: str | None = None
    """Licence of the tool or model, as its source states it."""
    note: str | None = None
    """Anything else worth keeping, e.g. the file it was imported from."""

    def to_json(self) -> str:
        """Return the provenance as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the provenance of a JSON text.

        Raises:
            InputError: It is not an object of the known fields with text (or null) as values.
        """
        read = json.loads(text)
        known = {field.name for field in fields(cls)}
        if not isinstance(read, dict) or not set(read) <= known:
            raise InputError(f"a provenance is an object with the fields {sorted(known)}", field="provenance")
        if any(value is not None and not isinstance(value, str) for value in read.values()):
            raise InputError("provenance values are text or null", field="provenance")
        if read.get("author") not in get_args(Author):
            raise InputError(f"author is one of {', '.join(get_args(Author))}", field="provenance")
        return cls(**read)


@dataclass(frozen=True, slots=True)
class ToolVersion:
    """One version of a reward tool; what decides its scores never changes, only its state does."""

    tool: str
    """Name of the tool."""
    number: int
    """1, 2, 3, ... within the tool."""
    kind: ToolKind
    """Verifier, reward model or judge."""
    state: ToolState
    """``candidate`` (may be promoted), ``active``, ``retired``, ``quarantined`` or ``rejected``."""
    content_hash: str
    """SHA-256 of everything that decides its scores."""
    has_source: bool
    """Whether the registry keeps its source; built-in tools have theirs in the library."""
    summary: str
    """One sentence for people."""
    graded: bool
    """True when its values only order completions."""
    provenance: Provenance
    """Where it comes from."""
    admitted: bool | None
    """Outcome of its latest admission; None when it has not been through the gate here."""
    created_at: datetime
    """When it was registered."""


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """A reward tool with all its versions."""

    name: str
    """Unique in the registry."""
    kind: ToolKind
    """Verifier, reward model or judge."""
    created_at: datetime
    """When its first version was registered."""
    versions: tuple[ToolVersion, ...]
    """Oldest first."""
    bindings: tuple[str, ...]
    """The family and signature keys it serves."""

    @property
    def active(self) -> ToolVersion | None:
        """Return the version that scores now, if any."""
        return next((version for version in self.versions if version.state == "active"), None)


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the registry: what, why, when, by whom."""

    number: int
    """Grows with every change."""
    at: datetime
    """When it happened."""
    tool: str
    """The tool it happened to."""
    version: int | None
    """The version it happened to, if it was one."""
    key: str | None
    """The family or signature key, for bindings."""
    action: str
    """``registered``, ``admitted``, ``rejected``, ``promoted``, ``retired``, ``quarantined``,
    ``bound`` or ``imported``."""
    reason: str
    """Why, in words."""
    who: str
    """Who asked for it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one scored batch asked of one version."""

    tool: str
    """Name of the tool."""
    version: int
    """Its version."""
    completions: int
    """Completions it was asked to score."""
    abstentions: int = 0
    """Completions it did not judge."""
    errors: int = 0
    """Calls in which it broke as a whole."""
    seconds: float = 0.0
    """Wall-clock seconds it took."""
    total: float = 0.0
    """Sum of its values."""
    squares: float = 0.0
    """Sum of the squares of its values."""
    step: int | None = None
    """The trainer's step, where the trainer names it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many completions of one signature came to one outcome with one tool."""

    signature: str
    """Key of the signature."""
    tool: str | None
    """Name of the tool; None where none served the prompts."""
    reason: str | None
    """Kind of abstention; None for completions that were given a value."""
    completions: int
    """How many."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tells one write of counters from every other, so that it can be repeated where it is in doubt."""

    writer: str
    """Who writes: unique among all processes, for ever."""
    number: int
    """Grows with each write of the writer, who begins none before the last one is known to be done."""


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """The sums of one version over one day (UTC)."""

    tool: str
    """Name of the tool."""
    version: int
    """Its version."""
    day: date
    """The day, in UTC."""
    batches: int
    """Batches it served."""
    completions: int
    """Completions it was asked to score."""
    abstentions: int
    """Completions it did not judge."""
    errors: int
    """Calls in which it broke as a whole."""
    seconds: float
    """Wall-clock seconds it took."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One sampled verdict, kept so that people can see what was scored how."""

    signature: str
    """Key of the signature the prompt was given."""
    prompt_hash: str
    """SHA-256 of the prompt."""
    rollout_id: str | None = None
    """The data's own name for the prompt."""
    family: str | None = None
    """Key of the family, if the prompt has one."""
    tool: str | None = None
    """The tool that scored; None when none served the prompt."""
    version: int | None = None
    """Its version."""
    value: float | None = None
    """The score; None when it abstained."""
    abstained: str | None = None
    """Why there is no value."""
    excerpt: str = ""
    """The beginning of the completion; cut, and made storable, by the registry."""


@dataclass(frozen=True, slots=True)
class ImportedTool:
    """What came of one tool of an import file."""

    version: ToolVersion
    """The version as it stands in this registry now."""
    new: bool
    """False when the registry had it already."""
    keys: tuple[str, ...]
    """The keys it served where it comes from; bound here only on a trusted import."""
