"""Bundled networks: every one is known by its hash, and a damaged one is refused unread."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from commandline import ROOT

from engines import bundled, load
from realtime.errors import ModelError

FOLDERS = (ROOT / "engines" / "weights", ROOT / "tests" / "data")
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.onnx"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_bundled_network_is_entered(path: Path) -> None:
    """Fails when one was trained anew: then its SHA-256 in engines/bundled.py is to change."""
    assert bundled.checked(path) == path


def test_flipped_bits_are_refused(tmp_path: Path) -> None:
    original = FILES[0].read_bytes()
    path, rng = tmp_path / FILES[0].name, random.Random(3)
    for _ in range(50):
        data = bytearray(original)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(ModelError, match="install posestream again"):
            bundled.checked(path)
    path.write_bytes(original)
    assert bundled.checked(path) == path


def test_what_was_never_shipped_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pose_big.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match="nothing of this"):
        bundled.checked(tmp_path / "pose_big.onnx")


def test_the_tiny_networks_are_found() -> None:
    for task in ("detector", "pose"):
        path = load.find_tiny(task)  # type: ignore[arg-type]
        assert path and bundled.checked(path)
