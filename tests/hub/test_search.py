"""The search: where names come from, what the gates refuse and why, and what a hub may do to us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from rlar_graph.deadline import Fault
from rlar_graph.hub import Hub, ModelCard
from rlar_graph.hub.card import is_repo_id
from rlar_graph.hub.catalogue import KnownModel, catalogue, ranked
from rlar_graph.hub.weights import flaw
from rlar_graph.registry import open_registry
from rlar_graph.registry.store import Registry
from rlar_graph.rewards.model_adapters import adapter_of
from rlar_graph.rewards.model_source import ModelSource
from rlar_graph.routing.signature import Signature
from rlar_graph.settings import Settings
from rlar_graph.testing.hub import HubRepo, LocalHub
from rlar_graph.toolmaking.model_search import Search, search_models
from tests.hub import stand_ins
from tests.patience import HANG_SECONDS, PATIENCE, prompt

DIALOGUE = Signature.parse("dialogue/text/none/und")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with open_registry(f"sqlite:///{tmp_path}/rlar.db") as opened:
        yield opened


def settings_for(hub: LocalHub, folder: Path, **more: object) -> Settings:
    options: dict[str, object] = {"reward_models": "hub", "reward_model_candidates": 50, **more}
    return Settings.load(
        hub_endpoint=hub.url, hub_cache=str(folder / "cache"), reward_model_device="cpu", **options
    )


def searched(hub: LocalHub, folder: Path, registry: Registry, **more: object) -> Search:
    return search_models(DIALOGUE, settings_for(hub, folder, **more), registry)


@pytest.mark.parametrize("name", stand_ins.refused())
def test_each_gate_refuses_before_any_weight_is_fetched(
    name: str, hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    repo, word = stand_ins.refused()[name]
    hub.repos[name] = repo
    found = searched(hub, tmp_path, registry, reward_models="off", reward_model_names=[name])
    assert [entry.repo for entry in found.found] == [name]
    assert word in found.found[0].refused
    assert found.candidates == () and found.found[0].source == ""
    assert set(hub.downloads) <= {"config.json"}


def test_a_good_repository_passes_pinned_to_its_commit(
    hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    hub.repos["acme/reward"] = HubRepo(stand_ins.files())
    found = searched(hub, tmp_path, registry)
    (entry,) = found.candidates
    source = ModelSource.from_json(entry.source)
    assert (source.repo, source.sha, source.form) == ("acme/reward", hub.repos["acme/reward"].sha, "chat")
    assert source.licence == "apache-2.0" and source.files[0].sha256 is not None
    assert hub.downloads and set(hub.downloads) == {"config.json"}


def test_a_readme_is_never_fetched_whatever_it_says(
    hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    attacked = {**stand_ins.files(), "README.md": stand_ins.ATTACK}
    hub.repos["evil/reward"] = HubRepo(attacked, licence="cc-by-nc-4.0")
    hub.repos["fine/reward"] = HubRepo(attacked)
    found = {entry.repo: entry for entry in searched(hub, tmp_path, registry).found}
    assert "cc-by-nc-4.0" in found["evil/reward"].refused  # the metadata decides, not what the text claims
    card = Hub(hub.url, str(tmp_path / "cache")).card("fine/reward")
    assert not isinstance(Hub(hub.url, str(tmp_path / "cache")).download(card), str)  # type: ignore[arg-type]
    assert not any("README" in line or ".py" in line for line in hub.requests)


def test_a_download_that_breaks_off_is_told_and_can_be_made_again(hub: LocalHub, tmp_path: Path) -> None:
    hub.repos["acme/reward"] = HubRepo(stand_ins.files())
    client = Hub(hub.url, str(tmp_path / "cache"), download_seconds=60.0)
    card = client.card("acme/reward")
    assert isinstance(card, ModelCard)
    hub.cut["model.safetensors"] = 50
    broken = client.download(card)
    assert isinstance(broken, Fault) and "received 50 bytes" in broken.reason
    hub.cut.clear()
    folder = client.download(card)
    assert isinstance(folder, Path) and flaw(folder, card.needed, ("score.weight",)) is None
    assert client.local("acme/reward", card.sha) == folder


def test_the_order_is_user_catalogue_hub_by_downloads(
    hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    hub.repos["b/reward-few"] = HubRepo(stand_ins.files(), downloads=5)
    hub.repos["a/reward-many"] = HubRepo(stand_ins.files(), downloads=500)
    hub.repos["Skywork/Skywork-Reward-V2-Qwen3-0.6B"] = HubRepo(stand_ins.files(), downloads=1)
    hub.repos["mine/model"] = HubRepo(stand_ins.files(), tags=(), downloads=0)
    found = searched(hub, tmp_path, registry, reward_model_names=["mine/model"])
    assert [(entry.origin, entry.repo) for entry in found.candidates] == [
        ("user", "mine/model"),
        ("catalogue", "Skywork/Skywork-Reward-V2-Qwen3-0.6B"),
        ("hub", "a/reward-many"),
        ("hub", "b/reward-few"),
    ]


def test_a_search_is_kept_for_the_day_and_its_refusals_with_it(
    hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    hub.repos["acme/reward"] = HubRepo(stand_ins.files())
    hub.repos["x/reward-research"] = HubRepo(stand_ins.files(), licence="cc-by-nc-4.0")
    first = searched(hub, tmp_path, registry)
    asked = len(hub.requests)
    assert searched(hub, tmp_path, registry) == first and len(hub.requests) == asked
    assert any("cc-by-nc-4.0" in entry.refused for entry in first.found) and first.date
    searched(hub, tmp_path, registry, reward_model_licences=["mit"])
    assert len(hub.requests) > asked, "other terms are another search"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_fails_costs_no_more_than_its_deadline(
    status: int, hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    hub.status = status
    with prompt():
        found = searched(hub, tmp_path, registry, hub_seconds=0.5)
    assert found.candidates == () and found.faults
    hub.status = None
    hub.repos["acme/reward"] = HubRepo(stand_ins.files())
    assert searched(hub, tmp_path, registry, hub_seconds=PATIENCE, reward_model_candidates=1).candidates, (
        "a failed search is not kept"
    )


def test_a_slow_and_a_dead_hub_are_left_alone(hub: LocalHub, tmp_path: Path, registry: Registry) -> None:
    hub.delay = HANG_SECONDS
    with prompt():
        slow = searched(hub, tmp_path, registry, hub_seconds=0.3)
    assert slow.faults
    hub.close()
    with prompt():
        dead = searched(hub, tmp_path, registry, hub_seconds=0.5)
    assert dead.candidates == () and dead.faults


def test_no_credential_leaves_this_machine(
    hub: LocalHub, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.repos["acme/reward"] = HubRepo(stand_ins.files())
    assert searched(hub, tmp_path, registry).candidates
    assert hub.headers and not any("authorization" in headers for headers in hub.headers)


@pytest.mark.parametrize(
    "name", ["../../etc", "a", "a/b/c", "a b/c", "a/..", "-a/b", "a/b\n", "a/b?c", "", "a//b"]
)
def test_what_is_no_name_is_never_asked_for(
    name: str, hub: LocalHub, tmp_path: Path, registry: Registry
) -> None:
    found = searched(hub, tmp_path, registry, reward_models="off", reward_model_names=[name])
    assert found.found[0].refused and hub.requests == []


def test_the_catalogue_says_of_every_claim_where_it_is_from() -> None:
    entries = catalogue()
    assert len({entry.repo for entry in entries}) == len(entries) >= 8
    claims = {field.name for field in fields(KnownModel)} | {"weights"}
    for entry in entries:
        assert is_repo_id(entry.repo) and entry.licence and entry.context > 0, entry.repo
        assert entry.source and date.fromisoformat(entry.checked), entry.repo
        assert set(entry.unverified) <= claims, entry.repo
        assert all(0 < figure <= 100 for figure in entry.figures.values()), entry.repo
        assert adapter_of(entry.adapter).loader.startswith("AutoModel"), entry.repo


def test_the_catalogue_ranks_by_what_is_published_on_the_domain() -> None:
    safety = [entry.figure("safety") for entry in ranked("safety")]
    assert safety == sorted(safety, reverse=True) and safety[0] > 96
    free = [entry.repo for entry in ranked("dialogue") if entry.licence in ("apache-2.0", "mit")]
    assert free[:2] == ["Skywork/Skywork-Reward-V2-Qwen3-4B", "Skywork/Skywork-Reward-V2-Qwen3-8B"]
