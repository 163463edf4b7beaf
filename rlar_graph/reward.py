"""``AgentReward``: the one front door. A trainer calls it; it finds the right reward tool and scores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Literal, Self

from rlar_graph.acquisition import Acquisition
from rlar_graph.auditing import Auditing, Auditor, read_values
from rlar_graph.batch import read_batch
from rlar_graph.engine import Engine, PrepareReport
from rlar_graph.errors import SettingsError
from rlar_graph.probes import Probe
from rlar_graph.records import rollouts_from_columns
from rlar_graph.registry import ToolRecord
from rlar_graph.scoring import Planned
from rlar_graph.settings import Settings
from rlar_graph.types import Message, Rollout, Score


class AgentReward:
    """One reward function for every prompt of a mixed data set.

    Callable with TRL's signature, safe to share between threads, and a context manager. Registry and sandbox are
    opened at the first score; importing and constructing cost nothing.

    Args:
        settings: What to use; by default read from the environment and ``rlar.toml``.
        auditor: Who is shown a share of what was scored (setting ``audit_share``), in a thread beside the scoring, so
            that a tool which the policy has learned to please is found out: a function that takes rollouts and returns
            one list of values in [0, 1] for each, None where it does not know; a reward function on another registry;
            or ``"llm"``, the configured language model. See :meth:`audit` for what follows.

    Raises:
        SettingsError: The auditor would be no independent one, or its language model is not configured.

    Example:
        >>> with AgentReward() as reward:
        ...     reward(["What is 6 * 7?"], ["The answer is 42."], reference=["42"])
        [1.0]
    """

    def __init__(
        self, settings: Settings | None = None, auditor: Auditor | AgentReward | Literal["llm"] | None = None
    ) -> None:
        self.settings = settings if settings is not None else Settings.load()
        self.__name__ = "rlar"  # trainers name their log columns after it
        self._engine = Engine(self.settings)
        self._acquisition = Acquisition(self._engine)
        self._auditor = auditor
        self._auditing = self._audited_by(auditor)

    def _audited_by(self, auditor: Auditor | AgentReward | Literal["llm"] | None) -> Auditing | None:
        """Return what has rollouts audited, or None where nobody is to."""
        settings, resources = self.settings, self._engine.resources
        ask: Auditor
        if auditor is None or settings.audit_share == 0:
            return None
        if isinstance(auditor, AgentReward):
            if auditor.settings.registry_url == settings.registry_url:
                raise SettingsError(
                    "a reward function cannot be audited by one on the same registry, which uses the same tools: "
                    "give the auditor a registry_url of its own"
                )
            ask = partial(_values_of, auditor)
        elif auditor == "llm":
            if settings.llm_base_url is None:
                raise SettingsError('auditor="llm" needs a language model: set llm_base_url and llm_model')
            from rlar_graph.auditing.judge import judged  # brings the client of the language model along

            ask = partial(judged, resources=resources)
        else:
            ask = auditor
        # What a language model says is no evidence that later versions could be held to.
        probes = auditor != "llm"
        return Auditing(ask, self._acquisition, settings.audit_share, settings.audit_rollouts, probes=probes)

    @property
    def engine(self) -> Engine:
        """What plans and scores for it; closed with it."""
        return self._engine

    def __call__(
        self,
        prompts: Sequence[str | Sequence[Message]],
        completions: Sequence[str | Sequence[Message]],
        **columns: object,
    ) -> list[float | None]:
        """Score a trainer's batch.

        Args:
            prompts: One prompt per completion: text or chat messages.
            completions: Texts, or lists of chat messages of which the last assistant message counts.
            **columns: Columns of the data set, one entry per completion (``answer``, ``tests``, ...); what the
                trainer adds of its own is left alone, but ``log_extra``, ``log_metric`` and the step of
                ``trainer_state`` are used.

        Returns:
            One value in [0, 1] per completion, or None where no tool could judge it.

        Raises:
            InputError: Lengths or types do not fit; the error names the column.
        """
        return score_columns(self._score, prompts, completions, columns)

    def score(
        self, rollouts: Sequence[Rollout | Mapping[str, object]], *, step: int | None = None
    ) -> list[list[Score]]:
        """Score rollouts.

        Args:
            rollouts: :class:`~rlar_graph.types.Rollout` values, or records as data sets have them.
            step: The trainer's step, for the registry's account of what was rewarded when.

        Returns:
            One list per rollout with one score per completion.

        Raises:
            InputError: A record cannot be read, or a rollout has no completions.
            RegistryError: The registry cannot be opened or read.
        """
        return self._score(read_batch(rollouts), step)

    def _score(self, rollouts: Sequence[Rollout], step: int | None) -> list[list[Score]]:
        plan = self._engine.plan(rollouts)
        if self._engine.may_acquire and self._acquisition.seek(plan):
            plan = self._engine.plan(rollouts)
        scores = self._engine.score(plan, step)
        if self._auditing is not None:
            self._auditing.offer(plan, scores, step)
        return scores

    async def ascore(self, rollouts: Sequence[Rollout | Mapping[str, object]]) -> list[list[Score]]:
        """Score rollouts without blocking the event loop; see :meth:`score`."""
        return await asyncio.to_thread(self.score, rollouts)

    def plan(self, rollouts: Sequence[Rollout | Mapping[str, object]]) -> list[Planned]:
        """Say which tool will score each rollout, and why; see :meth:`score` for the errors."""
        return self._engine.plan(read_batch(rollouts))

    def prepare(
        self,
        rollouts: Sequence[Rollout | Mapping[str, object]],
        *,
        probes: Sequence[Probe] = (),
        retry: bool = False,
    ) -> PrepareReport:
        """Acquire the tools for a data set ahead of training; scores nothing.

        Built-in tools are admitted where needed. With a language model configured, tools are sought for families
        that nothing serves.

        Args:
            rollouts: Prompts with their evidence; completions are not needed.
            probes: Completions whose verdict you know (:func:`rlar_graph.probes.load_probes`). A new tool is proved
                on them, and a tool that fails them is to be replaced.
            retry: Seek again for families that were tried before in vain.

        Returns:
            Which signatures are served, by which tool, and why others are not.
        """
        found = read_batch(rollouts)
        self._acquisition.prepare(self._engine.plan(found), probes, retry=retry)
        return self._engine.prepare(found)

    def audit(
        self,
        rollouts: Sequence[Rollout | Mapping[str, object]],
        values: Sequence[Sequence[float | None] | None],
    ) -> int:
        """Tell what an independent audit (a person, a stronger judge, hidden tests) says of completions.

        The monitors compare it with the tools' own scores over time: a tool whose scores rise while the audit's stay
        is taken out of service. Disagreements become probes that every later version must pass.

        Args:
            rollouts: Rollouts with completions.
            values: The audit's values in [0, 1], one list per rollout; None, for a completion or a rollout, where it
                does not know.

        Returns:
            How many disagreements were new.

        Raises:
            InputError: The shapes do not fit, or a value is outside [0, 1].
        """
        found = read_batch(rollouts)
        said = read_values(values, found)
        plan = self._engine.plan(found)
        return self._acquisition.audit(plan, self._engine.score(plan), said)

    def tools(self) -> tuple[ToolRecord, ...]:
        """Return the reward tools of the registry with all their versions; built-ins appear once they were needed.

        Raises:
            RegistryError: The registry cannot be opened or read.
        """
        return self._engine.resources.registry.tools()

    def spent(self) -> dict[str, dict[str, float]]:
        """Return what this reward function has used of the language model, by role: calls, tokens, seconds, money.

        Among them are ``failures``: requests that brought no reply.
        """
        return {
            role: {
                "calls": used.calls,
                "failures": used.failures,
                "tokens": used.tokens,
                "seconds": used.seconds,
                "money": used.cost,
            }
            for role, used in self._engine.resources.spent().items()
        }

    def audits(self) -> dict[str, int]:
        """Return what became of the rollouts that this process picked for the auditor.

        ``picked`` were; of these the auditor said something of ``audited``, did not know of ``unknown``, was too slow
        for ``dropped``, and raised or gave no proper answer on ``failed``. Nothing where there is no auditor.
        """
        return asdict(self._auditing.counts) if self._auditing is not None else {}

    def freeze(self) -> None:
        """Use the tools that are active now from here on; prompts they do not serve abstain."""
        self._engine.library.freeze()

    def close(self) -> None:
        """Write what is due and end every process; may be called twice.

        An auditor is given a few seconds for what still waits for it; one that is handed in is the caller's to close.
        """
        if self._auditing is not None:
            self._auditing.close()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(
        self,
    ) -> tuple[type[AgentReward], tuple[Settings, Auditor | AgentReward | Literal["llm"] | None]]:
        """Pickle by settings and auditor: a trainer's child process opens registry and sandbox of its own."""
        return AgentReward, (self.settings, self._auditor)


def _values_of(auditor: AgentReward, rollouts: Sequence[Rollout]) -> list[list[float | None]]:
    """Return what another reward function says of completions."""
    return [[score.value for score in row] for row in auditor.score(rollouts)]


def score_columns(
    score: Callable[[Sequence[Rollout], int | None], list[list[Score]]],
    prompts: Sequence[object],
    completions: Sequence[object],
    columns: Mapping[str, object],
) -> list[float | None]:
    """Score a trainer's batch by whatever scores rollouts; see :meth:`AgentReward.__call__`.

    Args:
        score: Scores rollouts of a trainer's step, None where it is not known.
        prompts: One prompt per completion.
        completions: As many completions.
        columns: Columns of the data set, and what the trainer adds.
    """
    rollouts, places = rollouts_from_columns(prompts, completions, columns)
    flat: list[Score] = [Score(None)] * len(completions)
    for indices, row in zip(places, score(rollouts, _step(columns.get("trainer_state"))), strict=True):
        for index, found in zip(indices, row, strict=True):
            flat[index] = found
    _log(flat, columns.get("log_extra"), columns.get("log_metric"))
    return [found.value for found in flat]


def _step(trainer_state: object) -> int | None:
    """Return the trainer's step where it hands its state over (TRL, ms-swift)."""
    step = getattr(trainer_state, "global_step", None)
    return step if isinstance(step, int) and step >= 0 else None


def _log(scores: Sequence[Score], log_extra: object, log_metric: object) -> None:
    """Tell the trainer's own log which tool scored what, if it offers the means."""
    if callable(log_extra):
        log_extra("rlar/tool", [score.tool for score in scores])
        log_extra("rlar/abstained", [score.abstained for score in scores])
    if callable(log_metric) and scores:
        abstained = sum(score.abstained is not None for score in scores)
        log_metric("rlar/abstain_rate", abstained / len(scores))
