"""A candidate: the code in a model's reply, put in order, and what it gets wrong on probes that its writer may see."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rlar_graph.admission.report import excerpt
from rlar_graph.probes import Probe
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.generated import (
    ALLOWED_IMPORTS,
    FUNCTION,
    TRIAL_LIMITS,
    GeneratedVerifier,
    check_source,
)
from rlar_graph.sandbox.base import Sandbox
from rlar_graph.types import Rollout, ToolKind, Verdict

MISTAKES_SHOWN = 6
PROMPT_CHARS, COMPLETION_CHARS = 600, 300

_FENCE = re.compile(r"```[^\n`]{0,60}\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_CODE_START = re.compile(r"^(?:from|import|def)\s", re.MULTILINE)
_KEPT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A verifier's source and what came of it on visible probes."""

    source: str
    """The code."""
    mistakes: tuple[str, ...]
    """What it gets wrong, in words for its writer; empty when nothing."""
    merit: float
    """Mean of the shares of good and of bad visible probes it judges rightly; -1 for code that cannot be used."""

    @property
    def rank(self) -> tuple[float, int, int]:
        """Return what orders candidates, the best last: merit, then few mistakes, then short source."""
        return (self.merit, -len(self.mistakes), -len(self.source))


def code_of(reply: str) -> str:
    """Return the code in a reply, whatever it is wrapped in; the reply itself where there is no sign of any.

    Taken is the last fenced block that defines ``score``, else the longest block, else a ``code`` field of a JSON
    object, else everything from the first line that looks like Python on.
    """
    blocks: list[str] = _FENCE.findall(reply)
    scoring = [block for block in blocks if f"def {FUNCTION}" in block]
    if scoring or blocks:
        return scoring[-1] if scoring else max(blocks, key=len)
    text = reply.strip()
    if text.startswith("{"):
        try:
            read = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            read = None
        fields = read if isinstance(read, dict) else {}
        found = next((fields[name] for name in ("code", "source", FUNCTION) if name in fields), None)
        if isinstance(found, str):
            return code_of(found)
    start = _CODE_START.search(text)
    return text[start.start() :] if start else text


def tidied(source: str) -> str:
    """Return a source in the form a verifier has, forgiving what weak models get wrong besides the check itself.

    Prints, calls, tests and a ``__main__`` part go; a module of the standard library that is used but not imported is
    imported; a ``score`` without ``**evidence`` gets it. What does not parse is returned as it is; the static check
    says what is wrong with it.
    """
    try:
        tree = ast.parse(source)
        tree.body = [node for node in tree.body if isinstance(node, _KEPT) and not _tries(node)]
        _Silent().visit(tree)
        tree.body = [*_missing_imports(tree), *tree.body]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == FUNCTION and node.args.kwarg is None:
                node.args.kwarg = ast.arg("evidence")
        return ast.unparse(ast.fix_missing_locations(tree)).strip()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source.strip()


class _Silent(ast.NodeTransformer):
    """Takes prints out."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        match node.value:
            case ast.Call(func=ast.Name(id="print")):
                return ast.copy_location(ast.Pass(), node)
        return node


def _tries(node: ast.stmt) -> bool:
    """Say whether a statement of the module tries the function out."""
    return isinstance(node, ast.Assign | ast.AnnAssign) and any(
        isinstance(inner, ast.Name) and inner.id == FUNCTION for inner in ast.walk(node)
    )


def _missing_imports(tree: ast.Module) -> list[ast.stmt]:
    """Return an import for each allowed module that is used by name and bound nowhere."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        (node.asname or node.name).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.alias)
    }
    wanted = {node.id for node in names} & ALLOWED_IMPORTS - bound
    return [ast.Import([ast.alias(name)]) for name in sorted(wanted)]


def tool_name(kind: ToolKind, family: str) -> str:
    """Return the registry name of the tool that is made for a family, e.g. ``verifier-countdown-1a2b3c4d``."""
    words = re.sub(r"[^a-z0-9]+", "-", family.partition(":")[2].lower()).strip("-")[:40].strip("-")
    digest = hashlib.sha256(family.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kind}-{words or 'family'}-{digest}"


def tried(source: str, visible: Sequence[Probe], sandbox: Callable[[], Sandbox]) -> Candidate:
    """Run a source on the visible probes and return it with its mistakes.

    Raises:
        SandboxError: The sandbox could not do its work.
    """
    problems = check_source(source)
    if problems:
        return Candidate(source, tuple(problems[:MISTAKES_SHOWN]), -1.0)
    verdicts = judged(
        GeneratedVerifier(ToolSpec("draft", "verifier", ""), source, sandbox, TRIAL_LIMITS), visible
    )
    wrong = [
        (probe, verdict)
        for probe, verdict in zip(visible, verdicts, strict=True)
        if not holds(probe, verdict)
    ]
    shares = []
    for expects in (("good",), ("bad", "hostile")):
        members = [probe for probe in visible if probe.expect in expects]
        failed = sum(probe.expect in expects for probe, _ in wrong)
        shares.append(1 - failed / len(members) if members else 0.0)
    return Candidate(source, tuple(mistake(*pair) for pair in wrong), sum(shares) / 2)


def judged(tool: RewardTool, probes: Sequence[Probe]) -> list[Verdict]:
    """Return a tool's verdict on each probe."""
    members: dict[str, list[int]] = {}
    rollouts: dict[str, Rollout] = {}
    for number, probe in enumerate(probes):
        key = repr(probe.rollout)
        members.setdefault(key, []).append(number)
        rollouts[key] = probe.rollout
    batch = [
        replace(rollouts[key], completions=tuple(probes[number].completion for number in numbers))
        for key, numbers in members.items()
    ]
    verdicts: dict[int, Verdict] = {}
    for numbers, row in zip(members.values(), tool.score(batch), strict=True):
        verdicts.update(zip(numbers, row, strict=True))
    return [verdicts[number] for number in range(len(probes))]


def holds(probe: Probe, verdict: Verdict) -> bool:
    """Say whether a verdict is what the probe asks for."""
    if probe.expect == "abstain":
        return verdict.value is None
    accepted = verdict.value is not None and verdict.value >= 0.5
    return accepted == (probe.expect == "good")


def mistake(probe: Probe, verdict: Verdict) -> str:
    """Return one mistake in words for the writer of the tool; call it with visible probes only."""
    said = f"failed ({verdict.abstained})" if verdict.value is None else f"returned {verdict.value:g}"
    truth = "RIGHT" if probe.expect == "good" else "WRONG"
    why = f" ({excerpt(probe.why, 120)})" if probe.why else ""
    return (
        f"It {said}, but the completion is {truth}{why}.\n  prompt: {shown(probe.rollout.prompt, PROMPT_CHARS)}\n"
        f"  completion: {shown(probe.completion, COMPLETION_CHARS)}"
    )


def shown(text: str, limit: int) -> str:
    """Return a text as Python would write it, cut in the middle: line breaks and spaces are part of the answer."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return repr(text)
