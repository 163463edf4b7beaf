"""The library of reward tools: looked up by family, then by signature; built-ins are admitted at first need.

A built-in is no exception to the rule that no tool scores before it is measured: the first prompt that needs it
runs its table of cases through the gate on this machine, and the report is stored with it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlar_graph import __version__
from rlar_graph.admission import admit
from rlar_graph.errors import UnknownTool
from rlar_graph.probes import load_table
from rlar_graph.registry.records import Provenance, ToolVersion
from rlar_graph.rewards.base import RewardTool
from rlar_graph.rewards.load import Builtin, builtin_for, builtin_named, load_builtin
from rlar_graph.routing.signature import Evidence, Signature

if TYPE_CHECKING:
    from rlar_graph.resources import Resources


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
        self._loaded: dict[tuple[str, int], Loaded] = {}
        self._tried: set[str] = set()
        self._seen = -1

    def refresh(self) -> None:
        """Forget what was looked up if the registry has changed; called between batches, never inside one."""
        number = self._resources.registry.revision()
        if number != self._seen:
            with self._lock:
                self._found.clear()
                self._seen = number

    def freeze(self) -> None:
        """Serve the versions that are active now, whatever others promote, and admit nothing more."""
        self._resources.registry.freeze()

    def find(self, data_source: str | None, signature: Signature) -> Loaded | str:
        """Return the tool that serves a prompt, or why there is none.

        Args:
            data_source: The trainer's own name of the family, if it gave one.
            signature: What the prompt needs.
        """
        key = (data_source, signature)
        found = self._found.get(key)
        if found is None:
            with self._lock:
                found = self._found.get(key) or self._look_up(data_source, signature)
                self._found[key] = found
        return found

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

    def _look_up(self, data_source: str | None, signature: Signature) -> Loaded | str:
        keys = family_keys(data_source, signature)
        serving = self._resources.registry.resolve(keys)
        version = next((serving[key] for key in keys if key in serving), None)
        builtin = builtin_for(signature) if version is None else builtin_named(version.tool)
        if builtin is not None:
            return self._builtin(builtin, signature)
        return no_tool(signature)

    def _builtin(self, builtin: Builtin, signature: Signature) -> Loaded | str:
        """Return a built-in, admitted first if this registry does not know this version of it yet."""
        tool = self._constructed(builtin)
        registry = self._resources.registry
        version = registry.find(builtin.name, tool.spec.content_hash)
        if version is None or (version.state == "rejected" and builtin.name not in self._tried):
            if registry.frozen:
                return f"the registry is frozen and does not hold an admitted version of {builtin.name}"
            version = self._admit(tool, builtin, version)
        if version.state != "active":
            report = f"`rlar tools show {builtin.name}` says why"
            return f"{builtin.name} v{version.number} is {version.state}: {report}"
        if not registry.frozen:
            registry.bind(signature.key, builtin.name, reason="built in", who="rlar")
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
        why = f"first needed with rlar-graph {__version__}"
        if rejected is not None:
            version = registry.readmit(
                rejected.tool, rejected.number, report, reason="measured again", who="rlar"
            )
            if not report.admitted:
                return version
            return registry.promote(version.tool, version.number, reason="measured again", who="rlar")
        return registry.register(
            tool.spec,
            provenance=Provenance("builtin", revision=__version__),
            report=report,
            activate=True,
            reason=why,
            who="rlar",
        )


def family_keys(data_source: str | None, signature: Signature) -> list[str]:
    """Return the registry keys of a prompt, the narrowest first."""
    return [signature.key] if data_source is None else [f"source:{data_source}", signature.key]


def no_tool(signature: Signature) -> str:
    """Say why nothing serves a signature and what would."""
    if signature.evidence in {Evidence.NONE, Evidence.SOURCE}:
        lack = "it has no reference, tests, constraints or schema to rest a verdict on"
    else:
        lack = f"no built-in verifier reads {signature.answer} answers of {signature.domain} prompts"
    return f"no tool serves {signature}: {lack}"
