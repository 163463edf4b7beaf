"""A reward model: a network that says with one number how good a completion is, for prompts where no code can decide.

It is a stranger's network, so it runs in a process of its own or on a server, reads nothing but text, and is never
asked about a completion that says nothing. The value is its calibrated reward: it orders the completions of a prompt,
and at least one half says that it looks more like the good ones it was measured on than like the bad ones. The raw
reward stays beside it. What the network cannot answer is an abstention.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

from rlar_graph.errors import InputError, ToolError
from rlar_graph.hardware import network_bytes
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import RewardTool, ToolSpec
from rlar_graph.rewards.degenerate import degeneracy
from rlar_graph.rewards.model_pool import Loaded, pool_of
from rlar_graph.rewards.model_process import ModelGone, ModelLate
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.model_store import NO_TORCH, can_run_here, load, size_of
from rlar_graph.rewards.near_ties import NearTies
from rlar_graph.rewards.pooling_dialects import RENDERED_HERE
from rlar_graph.rewards.pooling_server import PoolingServer, ServerTerms
from rlar_graph.rewards.reading import Reading
from rlar_graph.rewards.verifiers.response import response_of
from rlar_graph.types import Rollout, Verdict, abstain

log = logging.getLogger(__name__)


class RewardModel:
    """Scores completions with a network. Safe to share between threads.

    Args:
        spec: What the tool says of itself.
        source: A :class:`~rlar_graph.rewards.model_source.ModelSource` as JSON.
        resources: Settings, and the registry that holds the judge of near ties.

    Raises:
        ToolError: The source is none, or there is nothing here that could run it.
    """

    def __init__(self, spec: ToolSpec, source: str, resources: Resources) -> None:
        try:
            self.source = ModelSource.from_json(source)
        except InputError as error:
            raise ToolError(f"{spec.name} {error.problem}") from error
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self.spec = replace(spec, graded=True, content_hash=digest)
        self._resources, self._settings = resources, resources.settings
        self._server = self._connected()
        self._ties = self._near_ties()

    def score(self, rollouts: Sequence[Rollout]) -> list[list[Verdict]]:
        """Return one verdict per completion; equal completions of a prompt are read once.

        Raises:
            ToolError: The network cannot be had or does not run.
        """
        asked: dict[tuple[str, str], int] = {}
        rows: list[list[Verdict | int]] = []
        for rollout in rollouts:
            row: list[Verdict | int] = []
            for completion in rollout.completions:
                empty = degeneracy(rollout.prompt, completion)
                if empty is not None:
                    row.append(Verdict(0.0, detail={"degenerate": empty}))
                else:
                    pair = (rollout.prompt, response_of(completion).strip())
                    row.append(asked.setdefault(pair, len(asked)))
            rows.append(row)
        verdicts = [self._verdict(reading) for reading in self._read(list(asked))] if asked else []
        scored = [[verdicts[entry] if isinstance(entry, int) else entry for entry in row] for row in rows]
        if self._ties is None:
            return scored
        return [self._ties.settled(rollout, row) for rollout, row in zip(rollouts, scored, strict=True)]

    def _verdict(self, reading: Reading) -> Verdict:
        if reading.raw is None:
            return abstain(reading.why or "the network gave no reward")
        detail = {"tokens_left_out": reading.dropped} if reading.dropped else {}
        return Verdict(self.source.calibration.value(reading.raw), raw=reading.raw, detail=detail)

    def _read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """Read pairs on the server, or here; a process that died is started once more.

        One that hangs is not: nobody is to wait for the deadline twice, and no error is raised that would have each
        rollout tried by itself.
        """
        if self._server is not None:
            return self._server.read(pairs)
        try:
            try:
                return self._read_here(pairs)
            except ModelLate:
                raise
            except ModelGone:
                return self._read_here(pairs)
        except ModelLate as late:
            log.warning("reward tool %s: %s; %d completions abstain", self.spec.name, late, len(pairs))
            return [Reading(None, f"{self.spec.name} failed: {late}")] * len(pairs)

    def _read_here(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        settings, source = self._settings, self.source
        pool = pool_of(self._resources, lambda: network_bytes(settings.reward_model_memory_mb))
        with pool.using(source.network, size_of(source, settings), self._loaded) as network:
            return network.read(pairs)

    def _loaded(self) -> Loaded:
        if not self._settings.reward_model_replicas:
            return load(self.source, self._settings)
        from rlar_graph.rewards.ray_models import RayModel

        return RayModel(self.source, self._settings)

    def _connected(self) -> PoolingServer | None:
        """Return the server that runs the model, or None where it runs here."""
        source, settings = self.source, self._settings
        if source.server is None:
            if not settings.reward_model_replicas and not can_run_here():
                raise ToolError(NO_TORCH)
            return None
        if settings.rm_server_url is None:
            raise ToolError(f"{source.label} needs the server's address (RLAR_RM_SERVER_URL)")
        if source.server in RENDERED_HERE and not source.template:
            raise ToolError(f"{source.label} has no chat template")
        key = settings.rm_server_key
        return PoolingServer(
            settings.rm_server_url,
            settings.rm_server_model or source.repo,
            source.server,
            key.get_secret_value() if key is not None else None,
            template=source.template,
            terms=ServerTerms(seconds=settings.reward_model_seconds, retries=settings.rm_server_retries),
        )

    def _near_ties(self) -> NearTies | None:
        name = self._settings.near_tie_judge
        if name is None:
            return None
        return NearTies(
            lambda: _judge(name, self._resources),
            self._settings.near_tie_margin,
            self._settings.near_tie_share,
        )


def _judge(name: str, resources: Resources) -> RewardTool:
    """Return the registry's judge of a name, at its active version.

    Raises:
        ToolError: There is no such judge in service.
    """
    from rlar_graph.rewards.judge import Judge

    active = resources.registry.tool(name).active
    source = resources.registry.source(name, active.number) if active is not None else None
    if active is None or active.kind != "judge" or source is None:
        raise ToolError(f"{name} is no judge in service, and near ties were to be put to it")
    return Judge(ToolSpec(name, "judge", active.summary), source, resources)
