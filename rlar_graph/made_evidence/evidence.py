"""Making evidence for a batch: which prompts need some, what is cached, and how it is marked on the rollout.

Given evidence is never touched: a prompt that brings tests, constraints, a schema, a reference or options of its own is
returned as it is. Of the made kinds, a prompt gets the hardest that can be made and no other, beside a rubric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlar_graph.errors import LLMError
from rlar_graph.llm import LanguageModel
from rlar_graph.made_evidence import code_tests, constraints, references
from rlar_graph.made_evidence.code_tests import made_tests
from rlar_graph.made_evidence.constraints import made_constraints
from rlar_graph.made_evidence.made import KINDS, EvidenceKind, MadeEvidence, key_of
from rlar_graph.made_evidence.references import made_references
from rlar_graph.prompts.loader import load_prompt
from rlar_graph.resources import Resources
from rlar_graph.routing.router import route
from rlar_graph.routing.signature import Domain, Evidence
from rlar_graph.types import Rollout

NOTHING = "null"
DOCUMENTS: Mapping[EvidenceKind, tuple[str, ...]] = {
    "constraints": (constraints.DOCUMENT,),
    "tests": code_tests.DOCUMENTS,
    "references": (references.DOCUMENT,),
}
VERSION = "1"
"""Part of the cache's keys; changed when the same replies would make other evidence."""


def make_evidence(
    rollouts: Sequence[Rollout], resources: Resources, kinds: Iterable[EvidenceKind] = KINDS
) -> list[Rollout]:
    """Return the rollouts, with evidence where they bring none and some could be made.

    What was made stands in the fields of the rollout; ``metadata["made"]`` has its kind, agreement and maker, and under
    ``rubric`` what no checker covers. Without a language model only rules make evidence (constraints), and they say
    so. Prompts on which the model fails stay as they are and are tried again the next time.

    Args:
        rollouts: The batch.
        resources: Registry (the cache), sandbox, and the language model where there is one.
        kinds: What may be made, in :data:`KINDS`.

    Raises:
        RegistryError: The registry cannot be read or written.
        SandboxError: The sandbox could not do its work.
    """
    asked = frozenset(kinds)
    done = list(rollouts)
    for kind in KINDS:
        if kind not in asked:
            continue
        waiting = {rollout.prompt for rollout in done if _may_have(rollout, kind)}
        made = _look_up_or_make(sorted(waiting), kind, resources)
        done = [
            _filled(rollout, made[rollout.prompt])
            if rollout.prompt in made and _may_have(rollout, kind)
            else rollout
            for rollout in done
        ]
    return done


def _may_have(rollout: Rollout, kind: EvidenceKind) -> bool:
    """Say whether a rollout brings no evidence and is of the sort that this kind can serve."""
    given = (rollout.tests, rollout.schema, rollout.reference, rollout.source)
    lists = (rollout.aliases, rollout.instruction_id_list, rollout.choices)
    if any(one not in (None, "", [], ()) for one in given) or any(lists):
        return False
    signature = route(rollout).signature
    if signature.evidence is not Evidence.NONE:
        return False
    if kind == "tests":
        return signature.domain is Domain.CODE and signature.language in ("python", "und")
    return signature.domain is not Domain.CODE


def _look_up_or_make(
    prompts: Sequence[str], kind: EvidenceKind, resources: Resources
) -> dict[str, MadeEvidence]:
    """Return the evidence of each prompt that has some, from the cache where it is there."""
    llm = resources.llm
    who = llm.model if llm is not None else "rules"
    documents = [load_prompt(name).hash for name in DOCUMENTS[kind]]
    keys = {prompt: key_of(VERSION, kind, who, *documents, prompt) for prompt in prompts}
    cached = resources.registry.cached_all(f"made:{kind}", list(keys.values()))
    new = [prompt for prompt in prompts if keys[prompt] not in cached]
    fresh = dict(zip(new, _makers(llm, resources)[kind](new), strict=True))
    settled = {
        keys[prompt]: NOTHING if made is None else made.to_json()
        for prompt, made in fresh.items()
        if not isinstance(made, LLMError) and not _partial(made, kind, llm)
    }
    resources.registry.cache_all(f"made:{kind}", settled)
    found = {prompt: made for prompt, made in fresh.items() if isinstance(made, MadeEvidence)}
    for prompt, key in keys.items():
        if cached.get(key, NOTHING) != NOTHING:
            found[prompt] = MadeEvidence.from_json(cached[key])
    return found


def _partial(made: MadeEvidence | None, kind: EvidenceKind, llm: LanguageModel | None) -> bool:
    """Say whether evidence is what rules found where a model should have been heard too and may be the next time."""
    return kind == "constraints" and llm is not None and made is not None and made.made_by == "rules"


Maker = Callable[[Sequence[str]], list[MadeEvidence | LLMError | None]]


def _makers(llm: LanguageModel | None, resources: Resources) -> dict[EvidenceKind, Maker]:
    return {
        "constraints": lambda prompts: made_constraints(prompts, llm),
        "tests": lambda prompts: made_tests(prompts, llm, resources.sandbox),
        "references": lambda prompts: made_references(prompts, llm),
    }


def _filled(rollout: Rollout, made: MadeEvidence) -> Rollout:
    """Return a rollout with made evidence in its fields, marked as made."""
    fields: dict[str, Any] = {name: value for name, value in made.payload.items() if name != "rubric"}
    for name in ("instruction_id_list", "kwargs"):
        if name in fields:
            fields[name] = tuple(fields[name])
    before = rollout.metadata.get("made")
    marks = {**(before if isinstance(before, Mapping) else {}), made.kind: made.mark}
    return replace(rollout, **fields, metadata={**rollout.metadata, "made": marks})
