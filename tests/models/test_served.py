"""The branch with a model on a server: nothing of torch is needed to find, prove, register and use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlar_graph import AgentReward
from rlar_graph.admission import AdmissionReport
from rlar_graph.engine import Engine
from rlar_graph.nodes.rm_evaluator import rm_evaluator
from rlar_graph.nodes.search import search
from rlar_graph.probe_making.keeping import keep
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.model_store import can_run_here
from rlar_graph.settings import Settings
from rlar_graph.testing.pooling import PoolingStandIn
from rlar_graph.types import Rollout
from tests.models import world
from tests.models.test_parts import polite
from tests.models.world import branch


@pytest.fixture
def server() -> Iterator[PoolingStandIn]:
    with PoolingStandIn(polite, model="acme/reward") as opened:
        yield opened


def settings_for(folder: Path, **more: object) -> Settings:
    return Settings.load(registry_url=f"sqlite:///{folder}/rlar.db", **more)


def served(server: PoolingStandIn, folder: Path, **more: object) -> Settings:
    return settings_for(
        folder, rm_server_url=server.url, rm_server_model="acme/reward", rm_server_retries=0, **more
    )


def replies() -> Rollout:
    item, problem = world.prompts(3, 1)[0]
    texts = tuple(text.format(item=item, problem=problem) for text in (world.BAD[1], world.GOOD[1]))
    return Rollout(world.prompt_of(item, problem), (*texts, "", texts[1]), data_source="support")


def test_a_model_on_a_server_is_proved_registered_and_used(server: PoolingStandIn, tmp_path: Path) -> None:
    with Engine(served(server, tmp_path)) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
        state = branch(engine)
        assert state["outcomes"][0]["tool"] == f"{state['draft']['name']} v1", state["outcomes"]
        assert AdmissionReport.from_json(state["report"]).admitted
    with Engine(served(server, tmp_path)) as engine:  # another process finds it in the registry
        scores = engine.score(engine.plan([replies()]))[0]
        assert [score.tool for score in scores] == [state["draft"]["name"]] * 4
        bad, good, empty, again = (score.value for score in scores)
        assert bad is not None and good is not None and bad < 0.5 < good == again and empty == 0.0
    source = ModelSource.from_json(state["draft"]["source"])
    assert (source.server, source.family, source.signature) == ("vllm", world.FAMILY, world.SIGNATURE)
    assert source.calibration.middle != 0.0


def test_the_graph_finds_it_without_any_language_model(server: PoolingStandIn, tmp_path: Path) -> None:
    settings = served(server, tmp_path)
    with Engine(settings) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
    with AgentReward(settings) as reward:
        report = reward.prepare(world.records())
        assert report.covered == 1.0, report
        asked = len(server.bodies)
        bad, good, _, _ = reward.score([replies()])[0]
        assert bad.value is not None and good.value is not None and bad.value < 0.5 < good.value
        assert len(server.bodies) == asked + 2


def test_a_server_that_goes_away_is_an_abstention(server: PoolingStandIn, tmp_path: Path) -> None:
    with Engine(served(server, tmp_path)) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
        branch(engine)
        server.spoilt = lambda text: "fault" in text or "Nobody" in text
        partly = engine.score(engine.plan([replies()]))[0]
        server.close()
        gone = engine.score(engine.plan([replies()]))[0]
    assert partly[0].value is None and "500" in str(partly[0].abstained) and partly[1].value is not None
    assert [score.value for score in gone] == [None, None, 0.0, None]
    assert all(score.abstained for score in gone if score.value is None)


def test_a_useless_model_on_a_server_is_rejected_with_its_report(tmp_path: Path) -> None:
    with PoolingStandIn(len, model="acme/reward") as server, Engine(served(server, tmp_path)) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
        state = branch(engine)
        (tool,) = engine.resources.registry.tools()
        assert tool.active is None and tool.versions[0].state == "rejected"
        assert "longer and worse wins" in str(engine.resources.registry.report(tool.name, 1))
    assert state["draft"] is None and not state["admitted"] and "acme/reward failed" in state["refused"]
    assert state["outcomes"][0] == {"family": world.FAMILY, "tool": None, "why": state["refused"]}


def test_a_server_without_a_model_name_and_a_switch_that_is_off_are_told(tmp_path: Path) -> None:
    task: Any = {"family": world.FAMILY, "signature": world.SIGNATURE, "examples": []}
    with Engine(settings_for(tmp_path, rm_server_url="http://127.0.0.1:9")) as engine:
        assert "RLAR_RM_SERVER_MODEL" in str(search(task, engine)["refused"])
    with Engine(settings_for(tmp_path, reward_models="off")) as engine:
        assert "RLAR_REWARD_MODELS" in str(search(task, engine)["refused"])


@pytest.mark.skipif(can_run_here(), reason="torch is installed")
def test_without_torch_and_server_nobody_is_asked(tmp_path: Path) -> None:
    task: Any = {"family": world.FAMILY, "signature": world.SIGNATURE, "examples": []}
    with Engine(settings_for(tmp_path, reward_models="web")) as engine:
        found = search(task, engine)
        task.update(found)
        assert found["models"] == [] and "rlar-graph[local]" in str(found["refused"])
        assert rm_evaluator(task, engine)["refused"] == found["refused"]
