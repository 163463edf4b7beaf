"""The gate: no reward tool scores before it is measured on probes, and "it runs" is not a measurement.

:func:`admit` asks, in this order: does the tool keep its contract; does it leave the rollouts alone; does it say
the same again, in another order and alone; is it in time; does it accept what is good and not what is bad; does it
accept anything hostile; does it abstain where it must. One failed check is a rejection.

How answers count. *Accepted* is a value of at least 0.5. An abstention on a good probe counts against the tool,
since it leaves a right completion without reward; on a bad or hostile probe it counts as not accepted, since it
rewards nothing. A *graded* tool is held to the order of its values instead: good above bad within a prompt, an
abstention below every value, and hostile completions below the prompt's median good one.

The gate runs the tool in this process and cannot stop it: whatever runs foreign code must do so in the sandbox,
which can. A :class:`~rlar_graph.errors.SandboxError` is not the tool's fault and is raised, not reported.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import get_args

from rlar_graph.admission.checks import Discrimination, Requirements, deterministic, in_time, left_alone
from rlar_graph.admission.report import AdmissionReport, Check, attacks_of
from rlar_graph.admission.trial import Broken, Trial
from rlar_graph.probes import Expect, Probe, Transform
from rlar_graph.rewards.base import RewardTool

DEFAULT = Requirements()


def admit(
    tool: RewardTool,
    probes: Sequence[Probe],
    *,
    requirements: Requirements = DEFAULT,
    metamorphic: Sequence[Transform] = (),
    again: RewardTool | None = None,
) -> AdmissionReport:
    """Measure a reward tool on probes and say whether it may score.

    Args:
        tool: The tool.
        probes: Completions with known verdicts; see :mod:`rlar_graph.probes`.
        requirements: What it must reach.
        metamorphic: Changes of good and bad probes under which its verdicts must stay as they are.
        again: A second, fresh instance of the same tool, for the repeat: a memo in the first could hide that
            the tool is not deterministic.

    Raises:
        SandboxError: The sandbox could not do its work; the tool has not been measured.
    """
    started = time.perf_counter()
    trial = Trial(tool, again or tool, probes, requirements.seconds_per_completion)
    discrimination = Discrimination(tool.spec.graded, probes, requirements)
    try:
        verdicts = trial.run()
        checks = [
            Check("contract", True, note=f"{len(probes)} verdicts, each a value in [0, 1] or a reason"),
            left_alone(trial),
            deterministic(trial, requirements),
            in_time(trial, requirements),
            *discrimination.checks(verdicts),
            *(discrimination.stable(change, verdicts, trial.ask_changed(change)) for change in metamorphic),
        ]
    except Broken as broken:
        checks = [Check("contract", False, note=str(broken))]
    counts = {expect: sum(probe.expect == expect for probe in probes) for expect in get_args(Expect)}
    return AdmissionReport(
        tool=tool.spec.name,
        kind=tool.spec.kind,
        content_hash=tool.spec.content_hash,
        graded=tool.spec.graded,
        probes=counts,
        probes_hash=_digest(probes),
        seconds=round(time.perf_counter() - started, 4),
        checks=tuple(checks),
        attacks=attacks_of(probes),
    )


def _digest(probes: Sequence[Probe]) -> str:
    """Return a hash of everything in the probes that decides the measurement."""
    digest = hashlib.sha256()
    for probe in probes:
        text = f"{probe.rollout!r}\0{probe.completion}\0{probe.expect}\0"
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
