"""What a machine has: its GPUs as the driver shows them, and what torch can use of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlar_graph import hardware

SMI = """#!/bin/sh
echo "NVIDIA H100 80GB HBM3, 70000, 81559"
echo "NVIDIA A100, SXM4, 30000, 40960"
"""


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = SMI) -> None:
    program = folder / "nvidia-smi"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_read_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, monkeypatch)
    found = hardware.gpus()
    assert [(gpu.name, gpu.free_bytes >> 20, gpu.total_bytes >> 20) for gpu in found] == [
        ("NVIDIA H100 80GB HBM3", 70_000, 81_559),
        ("NVIDIA A100, SXM4", 30_000, 40_960),
    ]
    free = hardware.gpu_free_bytes()
    assert free == (70_000 << 20 if hardware.torch_reaches_gpus() else None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hardware.gpus() == ()


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\nexit 9\n", "#!/bin/sh\necho No devices were found\n", "#!/bin/sh\n"]
)
def test_a_driver_that_fails_shows_no_gpu(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(tmp_path, monkeypatch, script)
    assert hardware.gpus() == () and hardware.gpu_free_bytes() is None


def test_what_may_be_taken_is_what_the_settings_say_or_a_share_of_what_is_free() -> None:
    assert hardware.network_bytes(100) == 100 << 20
    if hardware.gpu_free_bytes() is None:
        assert 0 < hardware.network_bytes(None) <= hardware.memory_free_bytes()
