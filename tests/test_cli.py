"""The command line, as a person runs it: real processes, real files, exit codes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rlar_graph.registry import open_registry
from rlar_graph.testing import Answer, ScriptedChatServer, failing
from tests.patience import COMMAND_SECONDS, PATIENCE, until

SUM = {"id": "sum", "prompt": "What is 2 + 2?", "completions": ["4", "5"], "reference": "4"}
POEM = {"id": "poem", "prompt": "Write a poem.", "completions": ["Rain falls."]}


def rlar(*arguments: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlar_graph.cli", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, input=stdin, timeout=COMMAND_SECONDS
    )


def write(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_score_shows_a_table_and_explains_abstentions(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", SUM, POEM)
    done = rlar("score", file, "--out", "scores.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "maths v1" in done.stdout
    assert "An abstention is not a zero" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["sum", "poem"]
    assert [score["value"] for score in lines[0]["scores"]] == [1.0, 0.0]
    assert lines[1]["scores"][0]["abstained"].startswith("no tool serves")


def test_score_speaks_json_on_stdout_only(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", SUM)
    done = rlar("score", file, "--json", "--quiet", cwd=tmp_path)
    (row,) = json.loads(done.stdout)["signatures"]
    assert (row["signature"], row["tool"], row["completions"], row["mean"]) == (
        "math/number/reference/und",
        "maths v1",
        2,
        0.5,
    )
    assert done.stderr == ""


def test_score_reads_standard_input(tmp_path: Path) -> None:
    done = rlar("score", "-", "--json", cwd=tmp_path, stdin=json.dumps(SUM))
    assert json.loads(done.stdout)["signatures"][0]["completions"] == 2


def test_explain_gives_one_line_a_prompt(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", SUM, POEM)
    done = rlar("score", file, "--explain", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "line 1: math/number/reference/und -> maths v1: the reference is a number",
        "line 2: open/text/none/und -> abstains: there is no evidence to rest a verdict on",
    ]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("{not json", "in.jsonl, line 2: is not JSON"),
        ("[1, 2]", "in.jsonl, line 2: must be a JSON object"),
        ('{"completions": ["a"]}', "in.jsonl, line 2, field 'prompt'"),
        ('{"prompt": "p", "completions": []}', "in.jsonl, line 2, field 'completions'"),
        ('{"prompt": "p", "completions": ["a"], "tests": 4}', "in.jsonl, line 2, field 'tests'"),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_is_kept(tmp_path: Path, second: str, message: str) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(SUM) + "\n" + second + "\n" + json.dumps(SUM) + "\n")
    done = rlar("score", "in.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["scores"][0]["value"] == 1.0


def test_a_missing_or_cut_off_file_is_named(tmp_path: Path) -> None:
    done = rlar("score", "nowhere.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.jsonl: cannot be read" in done.stderr
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(SUM).encode() * 50)[:-20])
    done = rlar("score", "cut.jsonl.gz", cwd=tmp_path)
    assert done.returncode == 2
    assert "cut.jsonl.gz" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(SUM).encode() + b'\n{"prompt": "caf\xe9"}\n', "line 2: is not UTF-8: invalid"),
        (json.dumps(SUM, indent=1).encode(), "line 1: is not JSON: Expecting property name"),
        (b"PAR1\x15\x00\xff", "line 1: is not JSON: this is Parquet; make JSON lines: pandas.read_parquet"),
        (b'{"prompt": "p", "completons": ["a"]}', "the record's fields are: prompt, completons"),
    ],
)
def test_a_file_of_another_kind_is_told_what_is_wanted(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    done = rlar("score", "in.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_byte_order_mark_is_no_fault_and_an_empty_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(SUM).encode())
    done = rlar("score", "in.jsonl", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["signatures"][0]["completions"] == 2, done.stderr
    (tmp_path / "in.jsonl").write_bytes(b"\n")
    done = rlar("score", "in.jsonl", cwd=tmp_path)
    assert (done.returncode, "in.jsonl holds no prompts" in done.stderr) == (0, True)


def test_a_run_that_fails_at_once_destroys_no_older_results(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("earlier results\n")
    done = rlar("score", "nowhere.jsonl", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "out.jsonl").read_text() == "earlier results\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_whole_lines_and_a_registry_that_opens(
    tmp_path: Path, how: signal.Signals
) -> None:
    records = [
        SUM | {"id": f"{n}", "prompt": f"What is {n} + 2?", "reference": str(n + 2)} for n in range(20_000)
    ]
    file = write(tmp_path / "in.jsonl", *records)
    command = [sys.executable, "-m", "rlar_graph.cli", "score", file, "--out", "out.jsonl", "--quiet"]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    out = tmp_path / "out.jsonl"
    until(lambda: out.exists() and out.stat().st_size > 50_000, COMMAND_SECONDS)
    os.kill(run.pid, how)
    _, talk = run.communicate(timeout=PATIENCE)
    assert run.returncode == (130 if how == signal.SIGINT else -how)
    assert b"Traceback" not in talk
    text = out.read_text()
    whole = text[: text.rindex("\n")].splitlines()
    assert 100 < len(whole) < 20_000
    assert [json.loads(line)["id"] for line in whole] == [str(n) for n in range(len(whole))]
    with open_registry(f"sqlite:///{tmp_path}/rlar.db") as registry:
        assert [tool.name for tool in registry.tools()] == ["maths"]


def test_eval_writes_the_published_figures(tmp_path: Path) -> None:
    labelled = {
        "id": "1",
        "prompt": "What is 2 + 2?",
        "reference": "4",
        "chosen": ["4"],
        "rejected": ["5", "6"],
    }
    unlabelled = {
        "id": "2",
        "prompt": "Write a poem.",
        "reference": None,
        "chosen": ["Rain."],
        "rejected": ["Sun."],
    }
    tempting = unlabelled | {"task": "math", "source": "gsm8k"}
    with gzip.open(tmp_path / "set.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in (labelled, unlabelled, tempting))
    done = rlar("eval", "set.jsonl.gz", "--json", "figures.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads((tmp_path / "figures.json").read_text())["files"]
    assert (figures["items"], figures["completions"], figures["abstained"]) == (3, 7, 4)
    assert (figures["pair_accuracy"], figures["pair_accuracy_strict"]) == (1.0, 0.5)
    assert (figures["bon_accuracy"], figures["bon_accuracy_strict"]) == (1.0, pytest.approx(1 / 3))
    assert (figures["pointwise_accuracy"], figures["pointwise_accuracy_strict"]) == (
        1.0,
        pytest.approx(3 / 7),
    )
    assert (figures["tpr"], figures["tnr"]) == (1.0, 1.0)
    assert figures["tools"] == {
        "maths v1": {"completions": 3, "abstained": 0},
        "none": {"completions": 4, "abstained": 4},
    }


def test_prepare_and_tools(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", SUM, POEM)
    assert json.loads(rlar("prepare", file, "--json", cwd=tmp_path).stdout)["covered"] == 0.5
    assert "maths" in rlar("tools", "list", cwd=tmp_path).stdout
    shown = rlar("tools", "show", "maths", cwd=tmp_path).stdout
    assert "admitted" in shown.lower()
    assert rlar("tools", "quarantine", "maths", "--reason", "a test", cwd=tmp_path).returncode == 0
    assert "quarantined" in rlar("tools", "list", cwd=tmp_path).stdout
    assert "a test" in rlar("tools", "history", "maths", cwd=tmp_path).stdout
    assert rlar("tools", "promote", "maths", "1", cwd=tmp_path).returncode == 0
    missing = rlar("tools", "show", "nothing", cwd=tmp_path)
    assert missing.returncode == 1
    assert "nothing" in missing.stderr


def test_a_registry_without_tools_says_so(tmp_path: Path) -> None:
    done = rlar("tools", "list", "--registry", "other.db", cwd=tmp_path)
    assert (done.returncode, "holds no tools yet" in done.stderr) == (0, True)
    done = rlar("tools", "export", "tools.json", cwd=tmp_path)
    assert "0 tools written to tools.json: only tools that were made have a source" in done.stdout


def test_tools_test_runs_the_gate_again(tmp_path: Path) -> None:
    done = rlar("tools", "test", "list_answer", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_doctor_reports_the_sandbox(tmp_path: Path) -> None:
    done = rlar("doctor", "--json", cwd=tmp_path)
    findings = {finding["what"].strip(): finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["registry"]["state"] == "ok"
    assert findings["sandbox"]["state"] == "ok"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("answer", "state", "note"),
    [
        ("ready", "ok", "acme at http://127.0.0.1"),
        (failing(401, "no such key"), "broken", "no such key"),
        (failing(404, "no such model"), "broken", "no such model"),
    ],
)
def test_doctor_asks_the_language_model(
    tmp_path: Path, answer: str | Answer, state: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedChatServer(answer) as server:
        monkeypatch.setenv("RLAR_LLM_BASE_URL", server.base_url)
        monkeypatch.setenv("RLAR_LLM_MODEL", "acme")
        done = rlar("doctor", "--json", cwd=tmp_path)
    (finding,) = [each for each in json.loads(done.stdout)["findings"] if each["what"] == "language model"]
    assert (finding["state"], note in finding["note"]) == (state, True), finding
    assert done.returncode == (0 if state == "ok" else 1)


def test_prepare_says_that_the_language_model_did_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [{"prompt": f"Name {n} rivers.", "data_source": "rivers"} for n in range(4)]
    with ScriptedChatServer(failing(401, "no such key")) as server:
        monkeypatch.setenv("RLAR_LLM_BASE_URL", server.base_url)
        monkeypatch.setenv("RLAR_LLM_MODEL", "acme")
        done = rlar("prepare", write(tmp_path / "in.jsonl", *prompts), cwd=tmp_path)
    assert "requests failed" in done.stderr
    assert "`rlar doctor` asks the language model once" in done.stderr


def test_serve_does_not_claim_a_port_that_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = rlar("serve", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "listening on" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RLAR_SANDBOX", "docker", "sandbox: must be one of process, ray, e2b, unsafe"),
        ("RLAR_REWARD_MODEL_NAMES", "org/name", "RLAR_REWARD_MODEL_NAMES: a list in a variable is JSON"),
        ("RLAR_REWARD_MODEL_DEVICE", "gpu", "reward_model_device: "),
    ],
)
def test_a_variable_that_cannot_be_read_is_told_what_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    done = rlar("tools", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_cannot_be_are_named(tmp_path: Path) -> None:
    (tmp_path / "rlar.toml").write_text("workers = 0\n")
    done = rlar("doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "workers" in done.stderr


def test_a_misspelt_setting_is_told_its_name(tmp_path: Path) -> None:
    (tmp_path / "rlar.toml").write_text('sandbx = "process"\n', encoding="utf-8")
    done = rlar("tools", "list", cwd=tmp_path)
    assert done.returncode != 0
    assert "sandbx: there is no such setting; did you mean sandbox?" in " ".join(done.stderr.split())


def test_records_without_labels_are_told_what_eval_reads(tmp_path: Path) -> None:
    for column in ("question", "prompt"):
        file = write(tmp_path / "in.jsonl", {column: "What is 1 + 1?", "completions": ["2"]})
        done = rlar("eval", file, cwd=tmp_path)
        assert done.returncode == 2
        said = " ".join(done.stderr.split())
        assert f"texts in chosen or rejected; its fields are: {column}, completions" in said
        assert "line 1" in said
