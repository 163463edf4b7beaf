"""What this machine has room for: memory for networks, and disk for their weights."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

SHARE = 0.8
"""Of what is free, as much may be taken: the trainer lives here too."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine."""

    name: str
    """What it calls itself."""
    free_bytes: int
    """Memory that is free."""
    total_bytes: int
    """Its memory."""


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that the driver shows; imports no torch."""
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return ()
    try:
        asked = [program, "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
        rows = [line.rsplit(",", 2) for line in said.stdout.splitlines() if line.strip()]
        return tuple(Gpu(name.strip(), int(free) << 20, int(total) << 20) for name, free, total in rows)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def torch_reaches_gpus() -> bool:
    """Say whether the torch that is installed was built for GPUs; imports nothing."""
    try:
        return "+cpu" not in metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False


def gpu_free_bytes() -> int | None:
    """Return free memory of the GPU with most of it, or None where there is none that torch can use."""
    found = gpus() if torch_reaches_gpus() else ()
    return max((gpu.free_bytes for gpu in found), default=None)


def memory_free_bytes() -> int:
    """Return memory that processes may still take, a container's limit included."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) << 10
    limit, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdecimal() and used[0].isdecimal():
        free = min(free, int(limit[0]) - int(used[0]))
    return max(0, free)


def network_bytes(limit_mb: int | None) -> int:
    """Return how many bytes networks may take: what the settings say, else a share of what is free."""
    if limit_mb is not None:
        return limit_mb << 20
    free = gpu_free_bytes()
    return int(SHARE * (memory_free_bytes() if free is None else free))


def disk_free_bytes(folder: Path) -> int:
    """Return free bytes where a folder is or will be."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
