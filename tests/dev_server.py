"""A real `langgraph dev`, with a registry of its own and a scripted language model, for several tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from rlar_graph.probe_making.keeping import keep
from rlar_graph.probes import Probe
from rlar_graph.registry import open_registry
from rlar_graph.types import Rollout
from tests.made_families import probes
from tests.patience import COMMAND_SECONDS, PATIENCE
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
RUNS_AT_A_TIME = 4


class DevServer:
    """The server as a user starts it, in a folder of its own.

    Args:
        folder: Where it keeps its threads, its log and the registry.
        llm_url: Address of the language model.
    """

    def __init__(self, folder: Path, llm_url: str) -> None:
        self.folder = folder
        self.registry_url = f"sqlite:///{folder}/rlar.db"
        shutil.copy(ROOT / "langgraph.json", folder)
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANGSMITH_TRACING": "false",
            "RLAR_REGISTRY_URL": self.registry_url,
            "RLAR_REVIEW": "true",
            "RLAR_LLM_BASE_URL": llm_url,
            "RLAR_LLM_MODEL": "scripted",
            "RLAR_WRITER_CANDIDATES": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--n-jobs-per-worker", str(RUNS_AT_A_TIME)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.address}/ok").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError(self.log[-3000:])

    def stop(self) -> None:
        """End it as Ctrl-C or a supervisor does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def processes(self) -> set[int]:
        """Return the processes it started itself: the sandbox's, which start others for a moment."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        return {int(pid) for children in tasks for pid in children.read_text().split()}

    def keep_probes(self, families: Iterable[str]) -> None:
        """Keep a user's labelled completions for families, so that verifiers of them can be proved."""
        own = [Probe(Rollout(p.rollout.prompt), p.completion, p.expect) for p in probes()]
        with open_registry(self.registry_url) as registry:
            for family in families:
                keep(registry, f"source:{family}", "user", own)
