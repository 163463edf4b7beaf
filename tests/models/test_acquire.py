"""From a hub of good and bad repositories to a reward model in service: searched, measured, registered, used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlar_graph.admission import AdmissionReport
from rlar_graph.engine import Engine
from rlar_graph.nodes.rm_evaluator import rm_evaluator
from rlar_graph.nodes.search import search
from rlar_graph.probe_making.keeping import keep
from rlar_graph.rewards.model_pool import close_pool
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.settings import Settings
from rlar_graph.testing.hub import HubRepo, LocalHub
from rlar_graph.testing.models import files_of
from rlar_graph.types import Rollout
from tests.models import world
from tests.models.conftest import Models
from tests.models.world import branch


@pytest.fixture
def hub(models: Models) -> Iterator[LocalHub]:
    repos = {
        "acme/reward-noise": HubRepo(files_of(models.untrained), downloads=900),
        "acme/reward-long": HubRepo(files_of(models.lengthy), downloads=500),
        "acme/reward-good": HubRepo(files_of(models.trained), downloads=3),
        "acme/reward-paid": HubRepo(files_of(models.trained), downloads=999, licence="cc-by-nc-4.0"),
    }
    with LocalHub(repos) as opened:
        yield opened


@pytest.fixture
def engine(hub: LocalHub, tmp_path: Path) -> Iterator[Engine]:
    with Engine(settings_for(hub, tmp_path, reward_models="hub")) as opened:
        keep(opened.resources.registry, world.FAMILY, "user", world.probes())
        yield opened
        close_pool(opened.resources)


def settings_for(hub: LocalHub, folder: Path, **more: object) -> Settings:
    return Settings.load(
        registry_url=f"sqlite:///{folder}/rlar.db",
        hub_endpoint=hub.url,
        hub_cache=str(folder / "cache"),
        reward_model_device="cpu",
        **more,
    )


def test_the_model_that_is_right_wins_by_measurement_and_serves(engine: Engine, hub: LocalHub) -> None:
    state = branch(engine)
    assert state["outcomes"][0]["tool"] is not None, state["outcomes"]
    admitted = ModelSource.from_json(state["draft"]["source"])
    assert admitted.repo == "acme/reward-good"
    assert admitted.sha == hub.repos["acme/reward-good"].sha
    report = AdmissionReport.from_json(state["report"])
    accuracy = report.check("pair accuracy")
    assert accuracy is not None and accuracy.figure is not None and accuracy.figure > 0.95
    assert "95 % interval" in accuracy.note

    failed = {
        ModelSource.from_json(entry["draft"]["source"]).repo: AdmissionReport.from_json(entry["report"])
        for entry in state["rejected"]
    }
    assert set(failed) == {"acme/reward-noise", "acme/reward-long"}
    assert not any(one.admitted for one in failed.values())
    lengthy = {check.name for check in failed["acme/reward-long"].checks if not check.passed}
    assert "longer and worse wins" in lengthy
    assert not any("reward-paid" in line for line in hub.requests if "safetensors" in line)

    item, problem = world.prompts(3, 1)[0]
    good, bad = (some.format(item=item, problem=problem) for some in (world.GOOD[1], world.BAD[1]))
    rollout = Rollout(world.prompt_of(item, problem), (bad, good, "Solution:", good), data_source="support")
    scores = engine.score(engine.plan([rollout]))[0]
    assert [score.tool for score in scores] == [state["draft"]["name"]] * 4
    values = [score.value for score in scores]
    assert values[1] == values[3] and values[1] > 0.5 > values[0] and values[2] == 0.0  # type: ignore[operator]
    assert scores[1].raw is not None and scores[1].raw > scores[0].raw  # type: ignore[operator]

    elsewhere = Rollout(world.prompt_of(item, problem), (bad, good), data_source="letters")
    assert [score.value for score in engine.score(engine.plan([elsewhere]))[0]] == [None, None]


ONE = {"reward_models": "off", "reward_model_names": ["acme/reward-good"]}


def test_the_pinned_commit_is_measured_and_served_though_the_branch_moves(
    hub: LocalHub, tmp_path: Path
) -> None:
    state: Any = {
        "family": world.FAMILY,
        "signature": world.SIGNATURE,
        "examples": world.records(),
    }
    with Engine(settings_for(hub, tmp_path, **ONE)) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
        state.update(search(state, engine))
        repo = hub.repos["acme/reward-good"]
        first = repo.sha
        repo.move(hub.repos["acme/reward-noise"].files)
        state.update(rm_evaluator(state, engine))
        close_pool(engine.resources)
    admitted = ModelSource.from_json(state["draft"]["source"])
    assert (admitted.repo, admitted.sha) == ("acme/reward-good", first)


def test_without_labels_nothing_is_admitted_and_the_reason_is_told(hub: LocalHub, tmp_path: Path) -> None:
    with Engine(settings_for(hub, tmp_path, **ONE)) as engine:
        state = branch(engine)
        close_pool(engine.resources)
    assert state["draft"] is None and not state["admitted"]
    assert "enough pairs" in state["refused"]
    assert state["outcomes"][0]["tool"] is None
    with Engine(settings_for(hub, tmp_path)) as engine:
        kept = engine.resources.registry.tools()
        assert [version.state for tool in kept for version in tool.versions] == ["rejected"]


def test_a_half_downloaded_model_is_a_finding_and_not_a_crash(hub: LocalHub, tmp_path: Path) -> None:
    good = hub.repos["acme/reward-good"]
    good.sizes["model.safetensors"] = len(good.files["model.safetensors"]) + 1_000
    with Engine(settings_for(hub, tmp_path, **ONE)) as engine:
        keep(engine.resources.registry, world.FAMILY, "user", world.probes())
        state = branch(engine)
    assert not state["admitted"]
    report = AdmissionReport.from_json(state["rejected"][0]["report"])
    assert [check.name for check in report.checks] == ["loads and runs"]
    assert "half downloaded" in report.checks[0].note
