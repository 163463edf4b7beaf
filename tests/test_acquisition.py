"""Acquisition through the front door: the real graph, registry and sandbox, a scripted model over real HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rlar_graph import AgentReward, Rollout, Settings
from rlar_graph.errors import InputError
from rlar_graph.registry import open_registry
from rlar_graph.testing import Answer, ChatRequest, ScriptedChatServer, cut_off, failing, malformed
from rlar_graph.toolmaking.writing import Plan
from tests.made_families import ALWAYS, FAMILY, HALF, HEAD, NEVER, RIGHT, answer, probes
from tests.patience import COMMAND_SECONDS, HANG_SECONDS, PATIENCE, until

PLAN = Plan(steps=["read how many digits", "read the divisor", "check both"]).model_dump_json()
PROBES = [replace(probe, rollout=replace(probe.rollout, data_source="multiples")) for probe in probes()]
HOLDS_NAN = HEAD + "    return float('nan')\n"
HANGS = HEAD + "    while True:\n        pass\n"
PHONES_HOME = "import socket\n" + HEAD + "    socket.create_connection(('127.0.0.1', 9))\n    return 1.0\n"
READS_FRAMES = "import sys\n" + HEAD + "    return float('good' in repr(sys._getframe(1).f_locals))\n"


def rollouts(seed: int = 7) -> list[Rollout]:
    """Fresh prompts of the family with a right and a wrong completion each."""
    fresh = [probe for probe in probes(12, seed) if probe.expect in ("good", "bad")]
    return [
        Rollout(good.rollout.prompt, (good.completion, bad.completion), data_source="multiples")
        for good, bad in zip(fresh[::2], fresh[1::2], strict=True)
    ]


class Model:
    """Answers a plan with a plan, code with the next source (the last one for ever), and judges with nonsense."""

    def __init__(self, *sources: str) -> None:
        self.sources = list(sources)

    def __call__(self, request: ChatRequest) -> str | Answer:
        if request.role == "code_writer":
            if request.format != "text" or "Do not write code yet" in request.text:
                return PLAN
            source = self.sources.pop(0) if len(self.sources) > 1 else self.sources[0]
            return answer(source)
        return "I would rather not say."


@contextmanager
def acquiring(
    folder: Path, script: Callable[[ChatRequest], str | Answer], **options: object
) -> Iterator[tuple[AgentReward, ScriptedChatServer]]:
    """Yield a reward function with a scripted model, and the model's server."""
    with ScriptedChatServer(script) as server:
        given = {"writer_candidates": 1, "writer_rounds": 2, "llm_seconds": PATIENCE} | options
        settings = Settings.load(
            registry_url=f"sqlite:///{folder}/rlar.db",
            llm_base_url=server.base_url,
            llm_model="scripted",
            **given,
        )
        with AgentReward(settings) as reward:
            yield reward, server


@contextmanager
def _alone(folder: Path, server: ScriptedChatServer) -> Iterator[AgentReward]:
    """Yield a reward function with a registry of its own."""
    folder.mkdir()
    url, address = f"sqlite:///{folder}/rlar.db", server.base_url
    with AgentReward(
        Settings.load(registry_url=url, llm_base_url=address, llm_model="scripted", writer_candidates=1)
    ) as reward:
        yield reward


def values(reward: AgentReward, seed: int = 7) -> list[list[float | None]]:
    return [[score.value for score in row] for row in reward.score(rollouts(seed))]


def test_a_right_verifier_is_written_admitted_and_serves_without_a_model(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, server):
        report = reward.prepare(rollouts(), probes=PROBES)
        assert report.covered == 1.0
        asked = len(server.requests)
        assert values(reward) == [[1.0, 0.0]] * 12
        assert values(reward, seed=8) == [[1.0, 0.0]] * 12
        assert len(server.requests) == asked > 0
        ((score, _), *_) = reward.score(rollouts())
        assert (score.tool or "").startswith("verifier-multiples-")
    with acquiring(tmp_path, Model(NEVER)) as (second, server):
        assert values(second, seed=9) == [[1.0, 0.0]] * 12
        assert server.requests == []


def test_a_wrong_draft_is_repaired(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(HALF, RIGHT)) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        assert values(reward) == [[1.0, 0.0]] * 12
    with open_registry(f"sqlite:///{tmp_path}/rlar.db") as registry:
        (tool,) = [tool for tool in registry.tools() if tool.bindings == (FAMILY,)]
        assert tool.active is not None
        assert all(registry.report(tool.name, version.number) for version in tool.versions)


HOSTILE = {
    "always yes": ALWAYS,
    "always no": NEVER,
    "half the rule": HALF,
    "not a number": HOLDS_NAN,
    "hangs": HANGS,
    "phones home": PHONES_HOME,
    "reads frames": READS_FRAMES,
    "no code": "I am sorry, I cannot do that.",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_wrong_or_hostile_verifier_is_never_admitted(source: str, tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(source)) as (reward, server):
        reward.prepare(rollouts(), probes=PROBES)
        scores = [score for row in reward.score(rollouts()) for score in row]
        assert {score.value for score in scores} == {None}
        assert FAMILY in (scores[0].abstained or "")
        asked = len(server.requests)
        reward.score(rollouts())
        assert len(server.requests) == asked, "what failed is remembered, not tried again"


TROUBLE: dict[str, Callable[[], Answer]] = {
    "malformed": malformed,
    "cut off": cut_off,
    "500": lambda: failing(500),
    "429": lambda: failing(429, retry_after=0.01),
    "slow": lambda: Answer("never", delay=HANG_SECONDS),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_a_broken_server_is_an_abstention_not_a_crash(trouble: Callable[[], Answer], tmp_path: Path) -> None:
    with acquiring(tmp_path, lambda request: trouble(), llm_seconds=0.3) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        assert {value for row in values(reward) for value in row} == {None}


def test_an_outage_is_not_held_against_the_family(tmp_path: Path) -> None:
    with acquiring(tmp_path, lambda request: failing(500), llm_seconds=0.3) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        assert {value for row in values(reward) for value in row} == {None}
    with acquiring(tmp_path, Model(RIGHT)) as (reward, _):
        assert values(reward) == [[1.0, 0.0]] * 12


def test_the_budget_is_hard(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(HALF), llm_calls=2) as (reward, server):
        reward.prepare(rollouts(), probes=PROBES)
        (score, _), *_ = reward.score(rollouts())
        assert len(server.requests) <= 2
        assert score.value is None
        assert "budget" in (score.abstained or "")


def test_without_a_model_the_reason_says_so(tmp_path: Path) -> None:
    with AgentReward(Settings.load(registry_url=f"sqlite:///{tmp_path}/rlar.db")) as reward:
        (score, _), *_ = reward.score(rollouts())
    assert score.value is None
    assert "no tool serves open/text/none/und" in (score.abstained or "")


def test_a_call_can_wait_or_go_on_while_tools_are_sought(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT), acquire="background") as (reward, _):
        reward._acquisition._keep(PROBES)
        assert {value for row in values(reward) for value in row} == {None}
        reward._acquisition.wait()
        assert values(reward) == [[1.0, 0.0]] * 12


def test_a_tool_that_waits_for_review_does_not_score(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT), review=True) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        (score, _), *_ = reward.score(rollouts())
        assert "rlar tools approve" in (score.abstained or "")
        name = (score.abstained or "").split()[0]
        command = [sys.executable, "-m", "rlar_graph.cli", "tools", "approve", name, "--registry", "rlar.db"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert values(reward) == [[1.0, 0.0]] * 12


def test_a_frozen_reward_seeks_nothing(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, server):
        reward.freeze()
        assert {value for row in values(reward) for value in row} == {None}
        assert server.requests == []


def test_processes_share_one_acquisition(tmp_path: Path) -> None:
    def slowly(request: ChatRequest) -> str | Answer:
        reply = Model(RIGHT)(request)
        return Answer(reply, delay=0.1) if isinstance(reply, str) else reply

    with ScriptedChatServer(slowly) as server:
        code = (
            "import sys\n"
            "from rlar_graph import AgentReward, Settings\n"
            "from tests.test_acquisition import PROBES, rollouts, values\n"
            f"settings = Settings.load(registry_url='sqlite:///{tmp_path}/rlar.db', llm_base_url={server.base_url!r},"
            " llm_model='scripted', writer_candidates=1, acquire_wait_seconds=250)\n"
            "with AgentReward(settings) as reward:\n"
            "    reward.prepare(rollouts(), probes=PROBES)\n"
            "    assert values(reward) == [[1.0, 0.0]] * 12, values(reward)\n"
        )
        root = Path(__file__).parents[1]
        started = [subprocess.Popen([sys.executable, "-c", code], cwd=root) for _ in range(3)]
        assert [process.wait(COMMAND_SECONDS) for process in started] == [0, 0, 0]
        together = sum(request.role == "code_writer" for request in server.requests)
    with ScriptedChatServer(Model(RIGHT)) as server, _alone(tmp_path / "alone", server) as reward:
        reward.prepare(rollouts(), probes=PROBES)
        alone = sum(request.role == "code_writer" for request in server.requests)
    assert together == alone > 0


def test_a_killed_acquisition_leaves_nothing_and_the_next_run_goes_on(tmp_path: Path) -> None:
    asked: list[float] = []

    def stuck(request: ChatRequest) -> str | Answer:
        if request.role != "code_writer":
            return "I would rather not say."
        asked.append(time.monotonic())
        return Answer(PLAN, delay=HANG_SECONDS)

    with ScriptedChatServer(stuck) as server:
        code = (
            "from rlar_graph import AgentReward, Settings\n"
            "from tests.test_acquisition import PROBES, rollouts\n"
            f"settings = Settings.load(registry_url='sqlite:///{tmp_path}/rlar.db', llm_base_url={server.base_url!r},"
            " llm_model='scripted')\n"
            "AgentReward(settings).prepare(rollouts(), probes=PROBES)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
        until(lambda: asked, COMMAND_SECONDS)
        process.kill()
        process.wait(PATIENCE)
    with open_registry(f"sqlite:///{tmp_path}/rlar.db") as registry:
        assert registry.active(FAMILY) is None
        assert registry.attempts(FAMILY) == ()
        owner = registry.claimed_by(FAMILY)
        assert owner is not None
        registry.release(FAMILY, owner)  # it runs out by itself within a minute
    with acquiring(tmp_path, Model(RIGHT)) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        assert values(reward) == [[1.0, 0.0]] * 12


def test_a_tool_that_drifts_is_replaced_in_the_background(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, server):
        reward.prepare(rollouts(), probes=PROBES)
        ((first, _), *_) = reward.score(rollouts())
        registry = reward._engine.resources.registry
        assert first.tool is not None and first.version == 1
        registry.found(first.tool, 1, "abstention", "reacquire", "a test says it drifted")
        other = RIGHT.replace("completion.strip()", "str(completion).strip()")
        server._parts[:] = [("", lambda: Model(other))]
        assert values(reward) == [[1.0, 0.0]] * 12, "the old version goes on serving"
        reward._acquisition.wait()
        ((second, _), *_) = reward.score(rollouts())
        assert (second.tool, second.version, second.value) == (first.tool, 2, 1.0)
        assert registry.reacquisitions() == ()
        reasons = " ".join(event.reason for event in registry.history(first.tool))
        assert "a test says it drifted" in reasons


def test_audited_disagreements_become_probes(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        registry = reward._engine.resources.registry
        before = len(registry.kept_probes(FAMILY))
        agreed = [[1.0, 0.0]] * 12
        assert reward.audit(rollouts(), agreed) == 0
        assert reward.audit(rollouts(), [[1.0, 1.0], *agreed[1:]]) == 1
        assert reward.audit(rollouts(), [[1.0, 1.0], *agreed[1:]]) == 0, "it is known now"
        (new,) = registry.kept_probes(FAMILY)[before:]
        assert (new.origin, new.expect, new.deciding) == ("audit", "good", True)


def test_a_widening_gap_to_an_audit_quarantines_by_itself(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, _):
        reward.prepare(rollouts(), probes=PROBES)
        monitor = reward._engine.recorder.monitor
        for seed in range(60):
            reward.audit(rollouts(seed), [[float(seed < 20), 0.0]] * 12)
            monitor.flush()  # a second has passed
        monitor.findings()
        (score, _), *_ = reward.score(rollouts())
        assert "quarantined" in (score.abstained or "")


@pytest.mark.parametrize("said", [[[1.0]], [[1.0, 2.0]] + [[1.0, 0.0]] * 11])
def test_an_audit_that_does_not_fit_is_refused(said: list[list[float]], tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, _), pytest.raises(InputError):
        reward.audit(rollouts(), said)


def test_the_cost_is_in_the_registry_while_the_run_goes_on_and_once(tmp_path: Path) -> None:
    with acquiring(tmp_path, Model(RIGHT)) as (reward, server):
        reward.prepare(rollouts(), probes=PROBES)
        time.sleep(1.1)
        reward.score(rollouts())
        asked = len(server.requests)
        with open_registry(reward.settings.registry_url) as registry:
            assert sum(each.calls for each in registry.spent()) == asked > 0
        reward.close()
        with open_registry(reward.settings.registry_url) as registry:
            assert sum(each.calls for each in registry.spent()) == asked
