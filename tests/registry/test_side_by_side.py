"""Reward functions with different settings on one registry: each scores by its own version of a built-in."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from rlar_graph import AgentReward, Settings
from rlar_graph.registry import open_registry
from rlar_graph.types import Rollout
from tests.patience import PATIENCE

SMALL, LARGE = 256, 1024
"""Memory of one program, in MiB: the setting that tells the two versions of the code verifier apart."""
HUNGRY = Rollout(
    "Write a function f.",
    ("```python\ndef f():\n    return len(bytearray(500 << 20))\n```",),
    tests=["assert f() == 500 << 20"],
)
"""Right, if it may use more memory than the smaller limit."""
WORKER = f"""
import json, sys
from rlar_graph import AgentReward, Rollout, Settings

hungry = Rollout({HUNGRY.prompt!r}, {HUNGRY.completions!r}, tests={HUNGRY.tests!r})
with AgentReward(Settings.load(registry_url=sys.argv[1], code_memory_mb=int(sys.argv[2]))) as reward:
    for _ in sys.stdin:
        score = reward.score([hungry])[0][0]
        print(json.dumps([score.value, score.version, score.abstained]), flush=True)
"""


def asked(process: subprocess.Popen[str]) -> list[object]:
    """Have a process score once."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer: list[object] = json.loads(process.stdout.readline())
    return answer


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A registry in which both versions of the code verifier were admitted: v1 with little memory, v2 with more."""
    url = f"sqlite:///{tmp_path}/rlar.db"
    for memory in (SMALL, LARGE):
        with AgentReward(Settings.load(registry_url=url, code_memory_mb=memory)) as reward:
            reward.score([HUNGRY])
    return url


def score(url: str, memory: int) -> tuple[float | None, int | None, str]:
    """Return value, version and reason of a new reward function."""
    with AgentReward(Settings.load(registry_url=url, code_memory_mb=memory)) as reward:
        found = reward.score([HUNGRY])[0][0]
    return found.value, found.version, found.abstained or ""


def test_two_processes_take_turns_and_each_keeps_its_own_version(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rlar.db"
    with ExitStack() as stack:
        small, large = (
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER, url, str(memory)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for memory in (SMALL, LARGE)
        )
        first = asked(small), asked(large)
        with open_registry(url) as registry:
            revision = registry.revision()
        for _ in range(4):
            assert (asked(small), asked(large)) == first == ([0.0, 1, None], [1.0, 2, None])
        for process in (small, large):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
    with open_registry(url) as registry:
        assert registry.revision() == revision
        assert len(registry.tool("code").versions) == 2
        assert {(each.version, each.completions) for each in registry.usage("code")} == {(1, 5), (2, 5)}


def test_what_a_person_took_out_of_service_does_not_score(url: str) -> None:
    with open_registry(url) as registry:
        registry.quarantine("code", "too lenient", number=1)
    value, _, why = score(url, SMALL)
    assert value is None
    assert "code v1 is quarantined" in why
    assert score(url, LARGE) == (1.0, 2, "")


def test_a_rollback_takes_the_later_version_out_until_it_is_promoted_again(url: str) -> None:
    with open_registry(url) as registry:
        registry.rollback("code", reason="worse")
    assert score(url, SMALL) == (0.0, 1, "")
    value, _, why = score(url, LARGE)
    assert value is None
    assert "code v2 is retired" in why
    with open_registry(url) as registry:
        registry.promote("code", 2)
    assert score(url, SMALL) == (0.0, 1, "")
    assert score(url, LARGE) == (1.0, 2, "")


def test_a_frozen_reward_goes_on_as_it_was_frozen(url: str) -> None:
    with AgentReward(Settings.load(registry_url=url, code_memory_mb=SMALL)) as reward:
        reward.freeze()
        with open_registry(url) as registry:
            registry.quarantine("code", "later", number=1)
        assert reward.score([HUNGRY])[0][0].value == 0.0


def test_a_frozen_reward_takes_no_version_that_came_later(url: str) -> None:
    with AgentReward(Settings.load(registry_url=url, code_memory_mb=700)) as frozen:
        frozen.freeze()
        with AgentReward(Settings.load(registry_url=url, code_memory_mb=700)) as other:
            assert other.score([HUNGRY])[0][0].version == 3
        found = frozen.score([HUNGRY])[0][0]
        assert found.value is None
        assert "the registry is frozen" in (found.abstained or "")


def test_a_family_bound_to_a_builtin_leaves_other_families_theirs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/rlar.db"
    sums = [
        Rollout("What is 2 + 2?", ("The answer is \\boxed{4.0}.",), reference="4", data_source=family)
        for family in ("odd", "even")
    ]
    with AgentReward(Settings.load(registry_url=url)) as reward:
        reward.score([Rollout("Capital of France?", ("Paris",), reference="Paris")])
        with open_registry(url) as registry:
            registry.bind("source:odd", "short_answer")
        tools = [row[0].tool for rollout in sums for row in reward.score([rollout])]
    assert tools == ["short_answer", "maths"]
