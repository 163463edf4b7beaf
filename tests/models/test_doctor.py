"""What ``rlar doctor`` says of reward models: on this machine, of a server, and of the Hub. No torch is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from rlar_graph.cli.doctor_models import model_findings
from rlar_graph.rewards.model_store import NO_TORCH, can_run_here
from rlar_graph.settings import Settings
from rlar_graph.testing.hub import LocalHub
from rlar_graph.testing.pooling import PoolingStandIn
from tests.patience import HANG_SECONDS, prompt


def findings(**settings: object) -> dict[str, tuple[str, str]]:
    rows = model_findings(Settings.load(**settings))
    return {row["what"].strip(): (row["state"], row["note"]) for row in rows}


@pytest.fixture
def server() -> Iterator[PoolingStandIn]:
    with PoolingStandIn(len, model="acme/reward") as opened:
        yield opened


def test_what_runs_them_is_told_or_how_to_get_it() -> None:
    found = findings()
    if can_run_here():
        assert found["reward models"][0] == "ok" and "torch" in found["reward models"][1]
        assert "GiB free" in found["device"][1] and "SDPA" in found["attention"][1]
    else:
        assert found["reward models"] == ("off", NO_TORCH) and "device" not in found
    assert found["search"][0] == "off" and "server" not in found


@pytest.mark.skipif(not can_run_here(), reason="torch is not installed")
def test_room_names_what_fits_and_is_allowed() -> None:
    state, note = findings(reward_model_device="cpu", reward_model_memory_mb=4_000)["room"]
    assert state == "on" and "Qwen3-0.6B" in note and "8B" not in note and "lama" not in note
    assert findings(reward_model_device="cpu", reward_model_memory_mb=20)["room"][0] == "off"


def test_a_server_is_asked_for_its_model(server: PoolingStandIn) -> None:
    address = {"rm_server_url": server.url}
    assert findings(**address, rm_server_model="acme/reward")["server"][0] == "ok"
    state, note = findings(**address, rm_server_model="acme/other")["server"]
    assert state == "broken" and "acme/reward" in note
    assert "RLAR_RM_SERVER_MODEL" in findings(**address)["server"][1]
    assert findings(rm_server_url="nowhere", rm_server_model="m")["server"][0] == "broken"


def test_a_server_that_is_gone_or_late_is_broken_and_no_secret_is_told(server: PoolingStandIn) -> None:
    late = {
        "rm_server_model": "acme/reward",
        "rm_server_key": SecretStr("s3cret"),
        "reward_model_seconds": 0.3,
    }
    address = server.url.replace("http://", "http://user:passw0rd@")
    server.delay = HANG_SECONDS
    with prompt():
        state, note = findings(rm_server_url=address, **late)["server"]
    assert state == "broken" and "timed out" in note
    server.close()
    gone = findings(rm_server_url=address, **late)["server"]
    assert gone[0] == "broken"
    assert not any(secret in text for secret in ("s3cret", "passw0rd") for text in (note, gone[1]))


def test_the_hub_is_asked_within_a_deadline() -> None:
    with LocalHub() as hub:
        asked = {"hub_endpoint": hub.url, "reward_models": "hub"}
        state, note = findings(**asked)["search"]
        assert state == "on" and hub.url in note
        hub.delay = HANG_SECONDS
        with prompt():
            state, note = findings(**asked, hub_seconds=0.3)["search"]
        assert state == "off" and "no answer within 0.3 s" in note
