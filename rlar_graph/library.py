"""The library of reward tools: looked up by family, then by signature; built-ins are admitted at first need.

A built-in is no exception to the rule that no tool scores before it is measured: the first prompt that needs it
runs its table of cases through the gate on this machine, and the report is stored with it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlar_graph import __version__
from rlar_graph.admission import admit
from rlar_graph.errors import RegistryError, ToolError, UnknownTool
from rlar_graph.probes import load_table
from rlar_graph.registry.records import Provenance, ToolVersion
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.load import Builtin, builtin_for, builtin_named, load_builtin, load_registered
from rlar_graph.routing.family import FamilyIndex, source_key
from rlar_graph.routing.signature import Evidence, Signature
from rlar_graph.types import Rollout, ToolKind

if TYPE_CHECKING:
    from rlar_graph.resources import Resources

log = logging.getLogger(__name__)

AWAY_SECONDS = 3.0
"""How long a registry that gave no answer is left alone: each try may wait seconds for a machine that is gone."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A reward tool ready to score, at one version."""

    tool: RewardTool
    """The tool."""
    name: str
    """Its name in the registry."""
    version: int
    """Its version there."""

    @property
    def label(self) -> str:
        """Return name and version for people, e.g. ``maths v1``."""
        return f"{self.name} v{self.version}"


class Library:
    """Finds the reward tool for a prompt. Safe to share between threads.

    Args:
        resources: Registry and sandbox.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._lock = threading.RLock()
        self._found: dict[tuple[str | None, Signature], Loaded | str] = {}
        self._families: FamilyIndex | None = None
        self._loaded: dict[tuple[str, int], Loaded] = {}
        self._tried: set[str] = set()
        self._seen = -1
        self._was_read = False
        self._away = ""
        self._asked_again = 0.0

    def refresh(self) -> None:
        """Forget what was looked up if the registry has changed; called between batches, never inside one.

        What was looked up goes on serving while a registry that was read before gives no answer.

        Raises:
            RegistryError: The registry cannot be opened, or was never read.
        """
        if self._away and time.monotonic() < self._asked_again:
            return
        try:
            number = self._resources.registry.revision()
            if number != self._seen:
                with self._lock:
                    families = self._served_families()
                    self._found.clear()
                    self._families, self._seen = families, number
            self._was_read, self._away = True, ""
        except RegistryError as error:
            if not self._was_read:
                raise
            self._leave_alone(error)

    def _leave_alone(self, error: RegistryError) -> None:
        """Note that the registry gives no answer, and ask it nothing for a while."""
        if not self._away:
            log.warning("scoring goes on with the tools that were looked up: %s", error)
        self._away = str(error)
        self._asked_again = time.monotonic() + AWAY_SECONDS

    def _served_families(self) -> FamilyIndex | None:
        """Return the families that a tool serves; None where there are none, and prompts need no matching."""
        registry = self._resources.registry
        records = registry.families()
        served = registry.resolve([record.key for record in records]) if records else {}
        if not served:
            return None

        return FamilyIndex([record for record in records if record.key in served])

    def forget(self) -> None:
        """Forget what was looked up, for changes that the registry's revision does not show: attempts in vain."""
        self._seen = -1

    def freeze(self) -> None:
        """Serve the versions that are active now, whatever others promote, and admit nothing more."""
        self._resources.registry.freeze()

    def find(self, rollout: Rollout, signature: Signature) -> Loaded | str:
        """Return the tool that serves a rollout, or why there is none.

        Args:
            rollout: The rollout; its ``data_source``, else the template of its prompt, names its family.
            signature: What its prompt needs.
        """
        key = (self.family_of(rollout, signature), signature)
        found = self._found.get(key)
        if found is None:
            with self._lock:
                found = self._found.get(key)
                if found is None:
                    found = self._asked(*key)
        return found

    def _asked(self, family: str | None, signature: Signature) -> Loaded | str:
        """Look up a tool and remember it; while the registry gives no answer, that is why there is none."""
        if not self._away:
            try:
                return self._found.setdefault((family, signature), self._look_up(family, signature))
            except RegistryError as error:
                self._leave_alone(error)
        return f"no tool could be looked up: {self._away}"

    def family_of(self, rollout: Rollout, signature: Signature) -> str | None:
        """Return the registry key of a rollout's family, or None where it belongs to none that a tool serves."""
        if rollout.data_source is not None:
            return source_key(rollout.data_source)
        families = self._families
        return None if families is None else families.match(rollout.prompt, signature)

    def load(self, name: str) -> RewardTool:
        """Return a built-in by name, whether or not it serves anything.

        Raises:
            UnknownTool: There is no built-in of that name.
        """
        builtin = builtin_named(name)
        if builtin is None:
            raise UnknownTool(f"no built-in tool is called {name!r}")
        return self._constructed(builtin)

    def _constructed(self, builtin: Builtin) -> RewardTool:
        resources = self._resources
        partial = resources.settings.partial_credit
        return load_builtin(builtin, resources.sandbox, resources.code_limits, partial)

    def has_loaded(self, kind: ToolKind) -> bool:
        """Say whether a tool of a kind was loaded from the registry."""
        return any(loaded.tool.spec.kind == kind for loaded in self._loaded.values())

    def _look_up(self, family: str | None, signature: Signature) -> Loaded | str:
        registry = self._resources.registry
        keys = [signature.key] if family is None else [family, signature.key]
        serving = registry.resolve(keys)
        version = next((serving[key] for key in keys if key in serving), None)
        if version is not None and version.has_source:
            return self._registered(version)
        builtin = builtin_for(signature) if version is None else builtin_named(version.tool)
        if builtin is not None:
            found = self._builtin(builtin)
            if version is None and isinstance(found, Loaded) and not registry.frozen:
                registry.bind(signature.key, builtin.name, reason="built in", who="rlar")
            return found
        return self._missing(keys, signature)

    def _registered(self, version: ToolVersion) -> Loaded | str:
        """Return a tool whose source the registry keeps."""
        known = self._loaded.get((version.tool, version.number))
        if known is not None:
            return known
        source = self._resources.registry.source(version.tool, version.number)
        spec = ToolSpec(version.tool, version.kind, version.summary, version.graded, version.content_hash)
        try:
            tool = load_registered(spec, source or "", self._resources)
        except ToolError as error:
            return f"{version.tool} v{version.number} cannot be loaded: {error}"
        loaded = Loaded(tool, version.tool, version.number)
        return self._loaded.setdefault((version.tool, version.number), loaded)

    def _missing(self, keys: list[str], signature: Signature) -> str:
        """Say why nothing serves a prompt: a tool that waits or is quarantined, a failed attempt, or no evidence."""
        registry = self._resources.registry
        for version in registry.awaiting(keys).values():
            return f"{version.tool} v{version.number} waits for `rlar tools approve {version.tool}`"
        for tool in registry.tools():
            if tool.active is None and not set(keys).isdisjoint(tool.bindings):
                latest = tool.versions[-1]
                return f"{tool.name} v{latest.number} is {latest.state}: `rlar tools history {tool.name}` says why"
        for key in keys:
            for attempt in registry.attempts(key)[-1:]:
                return f"no tool serves {signature}; the last try for {key} was {attempt.outcome}: {attempt.reason}"
        return no_tool(signature)

    def _builtin(self, builtin: Builtin) -> Loaded | str:
        """Return a built-in, admitted first if this registry does not know this version of it yet.

        It is the version with this process's settings, whichever is the active one: processes with other settings
        score by theirs, on the same registry.
        """
        tool = self._constructed(builtin)
        registry = self._resources.registry
        version = registry.find(builtin.name, tool.spec.content_hash)
        if version is None or (version.state == "rejected" and builtin.name not in self._tried):
            if registry.frozen:
                return f"the registry is frozen and does not hold an admitted version of {builtin.name}"
            version = self._admit(tool, builtin, version)
        if not registry.may_score(version):
            report = f"`rlar tools show {builtin.name}` says why"
            return f"{builtin.name} v{version.number} is {version.state}: {report}"
        return self._loaded.setdefault(
            (version.tool, version.number), Loaded(tool, version.tool, version.number)
        )

    def _admit(self, tool: RewardTool, builtin: Builtin, rejected: ToolVersion | None) -> ToolVersion:
        """Run a built-in's table of cases through the gate and register the outcome, whichever it is.

        A version that was rejected is measured again once in every process: what failed may have been the
        machine, at a bad moment, and not the verifier.
        """
        self._tried.add(builtin.name)
        report = admit(tool, load_table(builtin.name), again=self._constructed(builtin))
        registry = self._resources.registry
        why = f"first needed with rlar-graph {__version__}: {report.summary}"
        if rejected is not None:
            return registry.readmit(
                rejected.tool, rejected.number, report, activate=True, reason="measured again", who="rlar"
            )
        return registry.register(
            tool.spec,
            provenance=Provenance("builtin", revision=__version__),
            report=report,
            activate=True,
            reason=why,
            who="rlar",
        )


def no_tool(signature: Signature) -> str:
    """Say why nothing serves a signature and what would."""
    if signature.evidence in {Evidence.NONE, Evidence.SOURCE}:
        lack = "it has no reference, tests, constraints or schema to rest a verdict on"
    else:
        lack = f"no built-in verifier reads {signature.answer} answers of {signature.domain} prompts"
    return f"no tool serves {signature}: {lack}"
