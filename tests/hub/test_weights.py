"""Downloaded weights are looked at before a library loads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rlar_graph.hub import HubFile
from rlar_graph.hub.weights import flaw
from tests.hub.stand_ins import WEIGHTS, safetensors

HEADS = ("score.weight",)


def _told(content: bytes, sha256: str | None = None) -> HubFile:
    return HubFile("model.safetensors", len(content), sha256 or hashlib.sha256(content).hexdigest())


def _flaw(folder: Path, content: bytes, told: HubFile | None = None) -> str | None:
    (folder / "model.safetensors").write_bytes(content)
    return flaw(folder, [told or _told(content)], HEADS)


def test_good_weights_have_no_flaw(tmp_path: Path) -> None:
    assert _flaw(tmp_path, WEIGHTS) is None


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "not downloaded" in str(flaw(tmp_path, [_told(WEIGHTS)], HEADS))


def test_half_a_file_is_told(tmp_path: Path) -> None:
    assert "half downloaded" in str(_flaw(tmp_path, WEIGHTS[:-4], _told(WEIGHTS)))


def test_a_changed_file_is_told(tmp_path: Path) -> None:
    changed = WEIGHTS[:-1] + b"\x01"
    assert "another digest" in str(_flaw(tmp_path, changed, _told(WEIGHTS)))


def test_weights_without_a_head_are_told(tmp_path: Path) -> None:
    assert "made up" in str(_flaw(tmp_path, safetensors(model__embed=[4, 8])))


def _header(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04pickled",
        (2**62).to_bytes(8, "little") + b"{}",
        _header([]),
        _header({"score.weight": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        _header({"score.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}, b"0000"),
        _header({"score.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0000"),
        _header({"score.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"00000000"),
        _header({"score.weight": "text"}),
        _header(
            {"score.weight": {"dtype": "F32", "shape": [9] * 1_000_000, "data_offsets": [0, 4]}}, b"0000"
        ),
        (30_000_000).to_bytes(8, "little") + b" " * 30_000_000,
        b"[" * 8 + b"[" * 1_000_000,
        _header("x" * 1_000)[:8] + b"{" * 1_002,
    ],
)
def test_what_is_no_safetensors_file_is_told(content: bytes, tmp_path: Path) -> None:
    assert _flaw(tmp_path, content) is not None
