"""Replicas of a reward model on a cluster: the rewards of one in a process here, also when a replica dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rlar_graph.errors import ToolError
from rlar_graph.hub import Hub, ModelCard
from rlar_graph.resources import Resources
from rlar_graph.rewards.base import ToolSpec
from rlar_graph.rewards.model_pool import _POOLS, close_pool
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.rewards.reading import Reading
from rlar_graph.rewards.reward_model import RewardModel
from rlar_graph.settings import Settings
from rlar_graph.testing.hub import HubRepo, LocalHub
from rlar_graph.types import Rollout
from tests.models import world
from tests.scale.conftest import TestCluster, wait_until

ray: Any = pytest.importorskip("ray")
pytest.importorskip("torch")
pytest.importorskip("transformers")
ray_models: Any = pytest.importorskip("rlar_graph.rewards.ray_models")

PROMPT = world.prompt_of("lamp", "came too late")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    from rlar_graph.testing.models import files_of, make_model

    folder = make_model(tmp_path_factory.mktemp("model") / "trained", [*world.texts()], seed=7)
    with LocalHub({"acme/reward": HubRepo(files_of(folder))}) as opened:
        yield opened


@pytest.fixture(scope="module")
def settings(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.load(
        hub_endpoint=hub.url,
        hub_cache=str(tmp_path_factory.mktemp("cache")),
        reward_model_device="cpu",
        reward_model_replicas=2,
        ray_cpus=0.5,
        llm_api_key="k3y-of-the-trainer",
    )


@pytest.fixture(scope="module")
def source(hub: LocalHub, settings: Settings) -> ModelSource:
    card = Hub(hub.url, settings.hub_cache).card("acme/reward")
    assert isinstance(card, ModelCard)
    return ModelSource("acme/reward", card.sha, files=card.needed)


def pairs(count: int) -> list[tuple[str, str]]:
    random = Random(0)  # noqa: S311
    words = " ".join(world.GOOD + world.BAD).split()
    return [(PROMPT, " ".join(random.choices(words, k=random.choice((1, 9, 40))))) for _ in range(count)]


def test_replicas_give_the_rewards_of_a_process_here_and_outlive_a_dead_one(
    two_nodes: TestCluster, source: ModelSource, settings: Settings
) -> None:
    here = RewardModel(
        ToolSpec("rm", "reward_model", ""),
        source.to_json(),
        Resources(settings.model_copy(update={"reward_model_replicas": 0})),
    )
    asked = pairs(600)
    expected = here._read_here(asked)
    close_pool(here._resources)
    model = ray_models.RayModel(source, settings)
    try:
        assert wait_until(lambda: len(model._fleet.ready()) == 2, 60)
        assert model.told["network"] in (True, False)
        assert_same(model.read(asked), expected)
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(model.read, asked * 4)
            (first, _) = model._fleet.ready()
            assert wait_until(lambda: first.flights, 10)
            ray.kill(first.handle)
            assert_same(reading.result(), expected * 4)
        assert model.alive
    finally:
        model.close()
    assert not model.alive


def assert_same(found: list[Reading], expected: list[Reading]) -> None:
    assert [each.raw for each in found] == pytest.approx([each.raw for each in expected], abs=1e-5)
    assert {each.why for each in found} == {None}


def test_a_tool_uses_replicas_that_know_no_key_and_one_whose_process_is_killed_is_replaced(
    two_nodes: TestCluster, source: ModelSource, settings: Settings
) -> None:
    resources = Resources(settings.model_copy(update={"reward_model_replicas": 1}))
    tool = RewardModel(ToolSpec("rm", "reward_model", ""), source.to_json(), resources)
    rollout = Rollout(PROMPT, (world.GOOD[0], world.BAD[0]))
    before = tool.score([rollout])
    assert all(verdict.value is not None for verdict in before[0])
    (place,) = _POOLS[resources]._places.values()
    assert isinstance(place.process, ray_models.RayModel)
    assert "k3y" not in str(place.process._fleet._arguments)
    (network,) = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and is_network(pid)]
    os.kill(network, signal.SIGKILL)
    assert tool.score([rollout]) == before
    close_pool(resources)


def test_a_model_that_no_node_can_load_is_a_tool_error_with_the_reason(
    two_nodes: TestCluster, source: ModelSource, settings: Settings, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"hub_cache": str(tmp_path), "hub_endpoint": "http://127.0.0.1:9"})
    with pytest.raises(ToolError, match="not to be had"):
        ray_models.RayModel(source, away)


def is_network(pid: str) -> bool:
    """Say whether a process holds the network of a replica."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        owner = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return b"rlar_graph.rewards.model_worker" in words and owner.startswith(b"ray::Replica")
