"""What the environment holds that nobody reads is said once, with what was probably meant, and stops nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlar_graph.environment import unread
from rlar_graph.errors import LLMUnavailable
from rlar_graph.llm import LanguageModel
from rlar_graph.settings import Settings
from rlar_graph.testing import ScriptedChatServer, failing

OPENING = """
from rlar_graph import AgentReward, Settings
AgentReward().close()
AgentReward(Settings(workers=3)).close()
print(AgentReward().settings.registry_url)
"""


def opened(folder: Path, **variables: str) -> tuple[str, list[str]]:
    """Return the registry that a process uses with these variables, and what it says of them."""
    done = subprocess.run(
        [sys.executable, "-c", OPENING],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RLAR_REGISTRY", "RLAR_REGISTRY_URL"),
        ("RLAR_WORKER", "RLAR_WORKERS"),
        ("RLAR_LLM_MODLE", "RLAR_LLM_MODEL"),
        ("rlar_judge_call", "RLAR_JUDGE_CALLS"),
    ],
)
def test_a_misspelt_variable_is_told_its_name_once(name: str, meant: str, tmp_path: Path) -> None:
    _, said = opened(tmp_path, **{name: "3"})
    assert said == [f"{name} is no setting and is not read; did you mean {meant}?"]


def test_a_variable_that_is_near_nothing_is_named_and_stops_nothing(tmp_path: Path) -> None:
    used, said = opened(
        tmp_path, RLAR_XQJ="1", RLAR_REGISTRY_URL="sqlite:///mine.db", RLAR_TEST_X="1", RLA="1"
    )
    assert (used, said) == ("sqlite:///mine.db", ["RLAR_XQJ is no setting and is not read"])


def test_a_model_without_a_server_is_said_once(tmp_path: Path) -> None:
    for model, key, names in (
        ("m", "", "RLAR_LLM_MODEL"),
        ("m", "k3y", "RLAR_LLM_MODEL and RLAR_LLM_API_KEY"),
    ):
        given = {"RLAR_LLM_MODEL": model, **({"RLAR_LLM_API_KEY": key} if key else {})}
        _, said = opened(tmp_path, **given)
        lack = "without RLAR_LLM_BASE_URL there is no server: no language model is asked"
        assert said == [f"{names}: {lack}"]
        assert "k3y" not in "".join(said)
    assert opened(tmp_path, RLAR_LLM_MODEL="m", RLAR_LLM_BASE_URL="http://127.0.0.1:9/v1")[1] == []


def test_who_sent_no_key_is_told_so() -> None:
    with (
        ScriptedChatServer(failing(401, "unauthorized")) as server,
        LanguageModel(server.base_url, "m") as model,
        pytest.raises(LLMUnavailable, match=r"401.*unauthorized.*no key was sent \(RLAR_LLM_API_KEY\)"),
    ):
        model.ask_text("planner", "Plan it.")


def test_every_setting_has_a_variable_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"llm_base_url": "http://127.0.0.1:9"}
    for name in Settings.model_fields:
        monkeypatch.setenv(f"RLAR_{name.upper()}", values.get(name, ""))
    assert unread(Settings.model_fields) == ()


def test_the_doctor_shows_what_nobody_reads_and_is_no_worse_for_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rlar_graph.cli", "doctor", "--json"]
    ends = []
    for variables in ({}, {"RLAR_REGISTRY": "sqlite:///shared.db"}):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        ends.append(done.returncode)
    (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["what"] == "settings"]
    assert finding["note"] == "RLAR_REGISTRY is no setting and is not read; did you mean RLAR_REGISTRY_URL?"
    assert ends[0] == ends[1]
