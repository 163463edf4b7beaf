"""Where processes meet: who may, what an engine is named after, and what is sent there."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np
import pytest

from rlar_graph.errors import EngineError, InputError, RegistryError
from rlar_graph.machine import frames
from rlar_graph.machine.client import MachineEngine
from rlar_graph.machine.frames import HEAD, Frames, Rubbish
from rlar_graph.machine.name import settings_for_engine
from rlar_graph.machine.rendezvous import Meeting, open_folder
from rlar_graph.reward import AgentReward
from rlar_graph.settings import Settings
from rlar_graph.types import Rollout, Score
from tests.machine.conftest import SLEEPER, SUM, Place
from tests.patience import HANG_SECONDS, PATIENCE, until


@pytest.fixture(scope="module")
def engine(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineEngine]:
    """One engine for the tests that do it no harm."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("shared")
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        place = Place(folder, registry_url)
        with closing(MachineEngine(place.settings())) as found:
            found.score([SUM])
            yield found
        place.end()


def test_scores_are_those_of_an_engine_of_ones_own(engine: MachineEngine, registry_url: str) -> None:
    rollouts = [
        SUM,
        SLEEPER,
        Rollout("Write a poem.", ("Rain \ud800 falls.",)),
        Rollout("What is 10^30?", ("1" + "0" * 30, "7"), reference=10**30),
        Rollout(
            "Which?\nA. x\nB. y", ("The answer is B.", "A"), reference="B", choices=(("A", "x"), ("B", "y"))
        ),
        Rollout("No commas.", ("a, b", "ab"), instruction_id_list=("punctuation:no_comma",), kwargs=({},)),
    ]
    with AgentReward(Settings.load(registry_url=registry_url)) as own:
        mine = own.score(rollouts)
    shared = engine.score(rollouts)

    def told(rows: list[list[Score]]) -> list[object]:
        return [(s.value, s.raw, s.abstained, s.tool, s.version, dict(s.detail)) for row in rows for s in row]

    assert told(shared) == told(mine)
    assert [score.value for score in shared[4]] == [1.0, 0.0]


def test_an_event_loop_is_not_held_up(engine: MachineEngine) -> None:
    async def all_at_once() -> list[list[list[Score]]]:
        return await asyncio.gather(*(engine.ascore([_sum(number)]) for number in range(300)))

    rows = asyncio.run(all_at_once())
    assert [row[0][0].value for row in rows] == [1.0 - number % 2 for number in range(300)]


def _sum(number: int) -> Rollout:
    return Rollout(f"What is {number} + 0?", (str(number + number % 2),), reference=str(number))


def test_what_cannot_be_asked_is_told_at_once_and_the_line_goes_on(engine: MachineEngine) -> None:
    with pytest.raises(InputError, match="no completions"):
        engine.submit([Rollout("p")])
    with pytest.raises(InputError, match="object is not plain"):
        engine.score([Rollout("p", ("c",), reference=[object()])])
    assert engine.score([]) == []
    assert engine.score([SUM])[0][0].value == 1.0


def test_a_batch_of_many_megabytes_passes(engine: MachineEngine) -> None:
    texts = tuple(f"{'thinking ' * 50_000}The answer is {number}." for number in range(3, 83))
    (row,) = engine.score([Rollout("What is 2 + 2?", texts, reference="4")])
    assert [score.value for score in row] == [float(number == 4) for number in range(3, 83)]


def test_a_closed_line_takes_nothing_more(place: Place) -> None:
    mine = MachineEngine(place.settings())
    mine.close()
    mine.close()
    with pytest.raises(RuntimeError, match="closed"):
        mine.submit([SUM])
    assert not place.meeting.exists()


MESSAGES: dict[str, bytes] = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "a frame longer than any": HEAD.pack(frames.FRAME_BYTES + 1),
    "no msgpack": HEAD.pack(3) + b"\xc1\xc1\xc1",
    "a number": HEAD.pack(1) + b"\x07",
    "an unknown request": frames.framed("shutdown", 1, 2, 3),
    "too few fields": frames.framed("score", 1),
    "no number": frames.framed("score", "1", None, []),
    "no rollouts": frames.framed("score", 1, None, [[1, 2]]),
    "a mapping": frames.framed("score", 1, None, {"a": 1}),
    "deep nesting": HEAD.pack(100_000) + b"\x91" * 100_000,
    "nested extensions": HEAD.pack(4) + b"\xd4\x02\x91\x00",
    "a length that is a lie": HEAD.pack(5) + b"\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("sent", MESSAGES.values(), ids=MESSAGES.keys())
def test_who_sends_rubbish_loses_its_own_connection_only(engine: MachineEngine, sent: bytes) -> None:
    meeting = Meeting.at(engine.settings)
    waiting = engine.submit([SUM])
    link, _ = meeting.connect()
    with link:
        link.settimeout(PATIENCE)
        received = Frames()
        (hello,) = received.feed(link.recv(1000))
        assert frames.message_in(hello)[0] == "hello"
        link.sendall(sent)
        with suppress(ConnectionResetError):
            assert link.recv(1000) == b""
    assert waiting.result(PATIENCE)[0][0].value == 1.0
    assert engine.score([SUM])[0][0].value == 1.0


def test_a_folder_that_others_may_enter_is_refused(place: Place) -> None:
    place.meeting.mkdir(mode=0o755)
    with closing(MachineEngine(place.settings())) as mine, pytest.raises(EngineError, match="mode 755"):
        mine.score([SUM])


def test_a_folder_that_is_a_link_is_refused(place: Place) -> None:
    (place.runtime / "elsewhere").mkdir(mode=0o700)
    place.meeting.symlink_to(place.runtime / "elsewhere")
    with pytest.raises(EngineError, match="no folder of ours"), open_folder():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(place: Place) -> None:
    place.meeting.mkdir(mode=0o700)
    os.chown(place.meeting, 12345, -1)
    with closing(MachineEngine(place.settings())) as mine, pytest.raises(EngineError, match="owner 12345"):
        mine.score([SUM])


def test_a_path_longer_than_a_socket_may_have_is_no_trouble(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = place.runtime / ("d" * 100) / ("e" * 200)
    deep.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with closing(MachineEngine(place.settings())) as mine:
        assert mine.score([SUM])[0][0].value == 1.0
        assert len(list((deep / "rlar").glob("*.sock"))) == 1


def test_without_a_runtime_folder_the_temporary_one_is_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.runtime / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(place.runtime))
    with open_folder() as folder:
        assert os.readlink(f"/proc/self/fd/{folder}") == str(place.runtime / f"rlar-{os.geteuid()}")


def test_a_socket_that_nobody_listens_at_is_replaced(place: Place) -> None:
    settings = place.settings()
    with open_folder() as folder, socket.socket(socket.AF_UNIX) as left:
        left.bind(f"/proc/self/fd/{folder}/{Meeting.at(settings).name}.sock")
    with closing(MachineEngine(settings)) as mine:
        assert mine.score([SUM])[0][0].value == 1.0


def test_the_log_is_bounded(place: Place) -> None:
    with closing(MachineEngine(place.settings())) as mine:
        mine.score([SUM])
        (log,) = place.meeting.glob("*.log")
        with log.open("ab") as file:
            file.write(b"x" * (2 << 20))
        until(lambda: log.stat().st_size == 0)


def test_an_engine_is_named_after_what_decides_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(**more: object) -> str:
        return Meeting.at(Settings.load(**more)).name

    monkeypatch.chdir(tmp_path)
    here = name()
    assert (
        here == name(registry_url=f"sqlite:///{tmp_path}/rlar.db") == name(registry_url="sqlite:///./rlar.db")
    )
    assert here == name(engine="machine", engine_silent_seconds=9, neutral_reward=0.1, server_token="t")
    assert len({here, name(partial_credit=True), name(llm_api_key="a"), name(llm_api_key="b")}) == 4
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert name() != here
    assert name(registry_url="sqlite://") == name(registry_url="sqlite://")


def test_nobody_waits_for_a_language_model_unless_the_settings_say_so(place: Place) -> None:
    assert settings_for_engine(Settings.load()).acquire == "background"
    assert settings_for_engine(Settings.load(acquire="wait")).acquire == "wait"
    assert settings_for_engine(Settings.load(workers=1)).workers == 1
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        settings = place.settings(
            llm_base_url=url, llm_model="none", family_prompts=1, llm_seconds=HANG_SECONDS
        )
        with closing(MachineEngine(settings)) as mine:
            (row,) = mine.submit([Rollout("Write a poem.", ("Rain falls.",))]).result(PATIENCE)
            assert row[0].value is None
            assert mine.score([SUM])[0][0].value == 1.0
    until(lambda: not place.engines())


def _round_trip(rollout: Rollout) -> Rollout:
    (frame,) = Frames().feed(frames.framed("score", 1, None, [frames.rollout_row(rollout)]))
    return frames.rollout_in(frames.message_in(frame)[3][0])


def test_rollouts_arrive_as_they_were() -> None:
    whole = Rollout(
        "prompt \ud800",
        ("a", "b"),
        reference={"n": [1, 2.5, None, -(10**40), 2**63]},
        aliases=("x",),
        tests=["assert f()"],
        entry_point="f",
        schema={"type": "object"},
        instruction_id_list=("i",),
        kwargs=({"n": 1},),
        choices=(("A", "x"),),
        language="en",
        source="s",
        data_source="d",
        id="7",
        metadata={"k": [1]},
    )
    assert _round_trip(whole) == whole


def test_what_trainers_tables_hold_arrives_as_plain_values() -> None:
    cells = np.array(["1", "2"], dtype=object)
    row = Rollout(
        "p",
        ("c",),
        reference=(np.float64(0.5), MappingProxyType({"a": 1})),
        tests={"inputs": cells, "outputs": np.arange(2)},
        metadata={"ids": np.arange(3), "image": object(), "n": 1},
    )
    arrived = _round_trip(row)
    assert arrived.reference == [0.5, {"a": 1}]
    assert arrived.tests == {"inputs": ["1", "2"], "outputs": [0, 1]}
    assert arrived.metadata == {"ids": [0, 1, 2], "n": 1}


def test_scores_arrive_as_they_were() -> None:
    rows = [[Score(0.5, 3.0, None, "t", 2, 0.1, {"a": [1]}), Score(None, abstained="no")], []]
    assert frames.scores_in(msgpack.unpackb(msgpack.packb(frames.score_rows(rows)))) == rows
    odd = Score(1.0, detail={"kept": 1, "odd": ValueError("x")})
    ((values,),) = frames.score_rows([[odd]])
    assert values == [1.0, None, None, None, None, 0.0, {"kept": 1, "odd": "x"}]


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        (InputError("is wrong", field="tests"), InputError("is wrong", field="tests")),
        (RegistryError("gone"), RegistryError("gone")),
        (KeyError("x"), EngineError("the engine of this machine failed: KeyError: 'x'")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_arrive_as_they_were(raised: Exception, arrives: Exception) -> None:
    found = frames.error_in(*frames.error_fields(raised))
    assert (type(found), str(found)) == (type(arrives), str(arrives))


def test_frames_come_whole_however_the_bytes_come() -> None:
    sent = [frames.framed("scores", number, "x" * number) for number in range(50)]
    received = Frames()
    whole = [frame for byte in b"".join(sent) for frame in received.feed(bytes([byte]))]
    assert [HEAD.pack(len(frame)) + frame for frame in whole] == sent
    with pytest.raises(Rubbish):
        list(received.feed(b"\xff" * 8))


def test_a_batch_too_long_for_a_frame_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAME_BYTES", 1000)
    with pytest.raises(InputError, match="fewer completions at a time"):
        frames.framed("score", 1, None, ["x" * 2000])


CALLS: list[Callable[[], Any]] = [lambda: frames.message_in(b"\x90"), lambda: frames.message_in(b"\x91\x01")]


@pytest.mark.parametrize("call", CALLS)
def test_a_message_without_a_kind_is_rubbish(call: Callable[[], Any]) -> None:
    with pytest.raises(Rubbish, match="no message"):
        call()
