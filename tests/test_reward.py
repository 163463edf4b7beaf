"""The front door: what a trainer calls, and what it gets back when something is wrong."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from rlar_graph import AgentReward, Rollout, Score, Settings
from rlar_graph.errors import InputError, RegistryError
from rlar_graph.registry import open_registry


@pytest.fixture
def reward(settings: Settings) -> AgentReward:
    return AgentReward(settings)


def test_a_mixed_batch_in_the_shape_trl_calls(reward: AgentReward) -> None:
    logged: dict[str, object] = {}
    with reward:
        values = reward(
            prompts=["What is 6 * 7?", "Is the sky green?", "Write a poem.", "What is 6 * 7?"],
            completions=["It is \\boxed{42}.", "No.", "Rain falls.", "I think 41."],
            completion_ids=[[1], [2], [3], [4]],
            answer=["42", "no", None, "42"],
            trainer_state=object(),
            log_extra=lambda name, column: logged.update({name: column}),
            log_metric=lambda name, value: logged.update({name: value}),
        )
    assert values == [1.0, 1.0, None, 0.0]
    assert logged["rlar/tool"] == ["maths", "short_answer", None, "maths"]
    assert logged["rlar/abstain_rate"] == 0.25


def test_conversational_batches_score_the_same(reward: AgentReward) -> None:
    with reward:
        values = reward(
            prompts=[[{"role": "user", "content": "What is 6 * 7?"}]] * 2,
            completions=[
                [{"role": "assistant", "content": "The answer is 42."}],
                [{"role": "assistant", "content": "The answer is 43."}],
            ],
            solution=["42", "42"],
        )
    assert values == [1.0, 0.0]


def test_scores_say_who_gave_them(reward: AgentReward) -> None:
    with reward:
        ((score,),) = reward.score([{"prompt": "What is 2 + 2?", "completions": ["4"], "reference": "4"}])
    assert isinstance(score, Score)
    assert (score.value, score.abstained, score.tool, score.version) == (1.0, None, "maths", 1)
    assert score.seconds > 0


def test_an_abstention_is_never_a_number(reward: AgentReward) -> None:
    with reward:
        ((score,),) = reward.score([Rollout("Write a poem.", ("Rain falls.",))])
    assert score.value is None
    assert score.tool is None
    assert score.abstained is not None
    assert "no tool serves open/text/none/und" in score.abstained


def test_ascore_leaves_the_loop_free(reward: AgentReward) -> None:
    async def both() -> list[list[list[Score]]]:
        rollout = Rollout("What is 2 + 2?", ("4",), reference="4")
        return list(await asyncio.gather(reward.ascore([rollout]), reward.ascore([rollout])))

    with reward:
        assert [rows[0][0].value for rows in asyncio.run(both())] == [1.0, 1.0]


def test_many_threads_share_one_reward(reward: AgentReward) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        rollouts = [
            Rollout(f"What is {n} + 0?", (str(n), str(n + 1)), reference=str(n)) for n in range(number, 40)
        ]
        for row in reward.score(rollouts):
            if [score.value for score in row] != [1.0, 0.0]:
                wrong.append(row)

    with reward:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_prepare_says_what_is_covered(reward: AgentReward) -> None:
    with reward:
        report = reward.prepare(
            [
                {"prompt": "2 + 2?", "answer": "4"},
                {"prompt": "3 + 3?", "answer": "6"},
                {"prompt": "Write a poem."},
            ]
        )
    assert report.covered == pytest.approx(2 / 3)
    assert [(entry.signature, entry.rollouts, entry.tool) for entry in report.signatures] == [
        ("math/number/reference/und", 2, "maths v1"),
        ("open/text/none/und", 1, None),
    ]
    with AgentReward() as empty:
        assert empty.prepare([]).covered == 1.0


def test_a_frozen_reward_takes_no_new_tools(reward: AgentReward) -> None:
    with reward:
        reward.prepare([{"prompt": "2 + 2?", "answer": "4"}])
        reward.freeze()
        known, new = reward.score(
            [
                {"prompt": "2 + 2?", "completions": ["4"], "answer": "4"},
                {"prompt": "Who?", "completions": ["Ada"], "answer": "Ada"},
            ]
        )
    assert known[0].value == 1.0
    assert new[0].value is None
    assert "frozen" in (new[0].abstained or "")


def test_quarantine_takes_effect_with_the_next_batch(reward: AgentReward, settings: Settings) -> None:
    record = {"prompt": "2 + 2?", "completions": ["4"], "answer": "4"}
    with reward:
        assert reward.score([record])[0][0].value == 1.0
        with open_registry(settings.registry_url) as registry:
            registry.quarantine("maths", "a test")
        score = reward.score([record])[0][0]
    assert score.value is None
    assert "maths v1 is quarantined" in (score.abstained or "")


def test_one_bad_completion_spoils_no_other(settings: Settings) -> None:
    texts = ("4", "x" * 10_000_000, "4 \ud800", "", "The answer is 4.")
    with AgentReward(settings) as reward:
        (row,) = reward.score([Rollout("What is 2 + 2?", texts, reference="4")])
    assert [score.value for score in row] == [1.0, None, row[2].value, 0.0, 1.0]
    assert "10,000,000 characters" in (row[1].abstained or "")


@pytest.mark.parametrize(
    ("rollouts", "message"),
    [
        ([Rollout("p", ())], "rollout 1 has no completions"),
        (
            [{"prompt": "p", "completions": ["a"]}, {"completions": ["a"]}],
            "rollout 2: a record needs a prompt",
        ),
        ([4], "rollout 1 must be a Rollout or a mapping, not int"),
    ],
)
def test_bad_input_is_named(reward: AgentReward, rollouts: list[Rollout], message: str) -> None:
    with reward, pytest.raises(InputError, match=message):
        reward.score(rollouts)


def test_a_registry_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rlar.db"
    path.write_text("this is not a database, whatever its name says" * 100)
    settings = Settings.load(registry_url=f"sqlite:///{path}")
    with AgentReward(settings) as reward, pytest.raises(RegistryError, match=r"rlar\.db"):
        reward.score([Rollout("2 + 2?", ("4",), reference="4")])


def test_usage_and_decisions_reach_the_registry(tmp_path: Path) -> None:
    settings = Settings.load(registry_url=f"sqlite:///{tmp_path}/r.db", decision_sample=1.0)
    with AgentReward(settings) as reward:
        reward.score([Rollout("What is 2 + 2?", ("4", "5"), reference="4", id="sum")])
        reward.score([Rollout("Write a poem.", ("Rain.",))])
    with open_registry(settings.registry_url) as registry:
        (usage,) = registry.usage()
        decisions = registry.decisions()
    assert (usage.tool, usage.completions, usage.abstentions) == ("maths", 2, 0)
    assert [decision.value for decision in decisions] == [None, 0.0, 1.0]
    assert decisions[-1].rollout_id == "sum"


def test_a_pickled_reward_opens_its_own_registry(reward: AgentReward) -> None:
    with reward, pickle.loads(pickle.dumps(reward)) as twin:  # noqa: S301 - our own pickle
        assert twin(["2 + 2?"], ["4"], answer=["4"]) == reward(["2 + 2?"], ["4"], answer=["4"]) == [1.0]
        assert twin.__name__ == reward.__name__ == "rlar"


def test_made_evidence_is_used_only_where_asked_for_and_marked(tmp_path: Path) -> None:
    prompt = "Describe the sea. Do not use any commas in your answer."
    rollout = Rollout(prompt, ("The sea is wide and blue.", "Wide, blue, deep."))
    url = f"sqlite:///{tmp_path}/r.db"
    with AgentReward(Settings.load(registry_url=url)) as reward:
        assert [score.value for score in reward.score([rollout])[0]] == [None, None]
    with AgentReward(Settings.load(registry_url=url, make_evidence=True)) as reward:
        (planned,) = reward.plan([rollout])
        assert planned.rollout.instruction_id_list == ("punctuation:no_comma",)
        assert "made" in planned.rollout.metadata
        assert [score.value for score in reward.score([rollout])[0]] == [1.0, 0.0]


def test_tools_are_listed(reward: AgentReward) -> None:
    with reward:
        reward.score([Rollout("What is 2 + 2?", ("4",), reference="4")])
        (maths,) = [tool for tool in reward.tools() if tool.name == "maths"]
    assert maths.active is not None
    assert (maths.active.number, maths.kind) == (1, "verifier")


def test_the_trainers_step_is_kept_with_what_was_scored(tmp_path: Path) -> None:
    settings = Settings.load(registry_url=f"sqlite:///{tmp_path}/r.db")
    with AgentReward(settings) as reward:
        reward.score([Rollout("What is 2 + 2?", ("4",), reference="4")], step=7)
    with closing(sqlite3.connect(f"{tmp_path}/r.db")) as connection:
        assert connection.execute("SELECT DISTINCT step FROM rlar_rewards").fetchall() == [(7,)]


def test_partial_credit_is_the_fraction_passed(tmp_path: Path) -> None:
    settings = Settings.load(registry_url=f"sqlite:///{tmp_path}/rlar.db", partial_credit=True)
    with AgentReward(settings) as reward:
        [halves, [followed]] = reward.score(
            [
                {
                    "prompt": "Write add(a, b).",
                    "completions": [
                        "def add(a, b):\n    return a + b",
                        "def add(a, b):\n    return 3",
                        "def add(",
                    ],
                    "tests": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"],
                },
                {
                    "prompt": "Describe rain. Use no commas and no word 'wet'.",
                    "completions": ["Rain, wet and cold."],
                    "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
                    "kwargs": [{}, {"keywords": ["wet"]}],
                },
            ]
        )
    assert [score.value for score in halves] == [1.0, 0.5, 0.0]
    assert followed.value == 0.5
