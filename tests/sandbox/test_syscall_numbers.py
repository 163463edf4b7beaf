"""The table of system call numbers, against the kernel's own headers where they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlar_graph.sandbox.seccomp import FILES, PLAIN, ZYGOTE, base_filter, child_filter
from rlar_graph.sandbox.syscalls import NUMBERS

_HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("column", [0, 1])
def test_numbers_are_the_kernels(column: int) -> None:
    header = _HEADERS[column]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    text = header.read_text()
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", text)}
    known |= {"newfstatat": known["fstatat"]} if "fstatat" in known else {}
    for name, numbers in NUMBERS.items():
        if numbers[column] is not None and name in known:
            assert numbers[column] == known[name], name
    missing = [name for name, numbers in NUMBERS.items() if numbers[column] is None and name in known]
    assert not missing


def test_every_allowed_call_is_in_the_table() -> None:
    assert {*PLAIN, *FILES, *ZYGOTE} <= set(NUMBERS)


def test_jumps_fit_in_a_filter() -> None:
    for program in (
        base_filter(sealed=False),
        base_filter(sealed=True),
        child_filter(True),
        child_filter(False),
    ):
        assert len(program) < 4096
        for place, (_, yes, no, _) in enumerate(program):
            assert 0 <= yes < 256
            assert 0 <= no < 256
            assert place + max(yes, no) + 1 <= len(program)
