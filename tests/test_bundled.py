"""Bundled networks: every one is known by its hash, and a damaged one is refused unread."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from commandline import ROOT

from engines import bundled, choose, containers, identify, load
from engines.__main__ import main
from realtime.errors import ModelError

FOLDERS = (ROOT / "engines" / "weights", ROOT / "tests" / "data")
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.onnx"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_bundled_network_is_entered(path: Path) -> None:
    """Fails when one was trained anew: then its entry in engines/bundled.py is to change."""
    bundled.check(path, path.read_bytes())


def test_what_is_known_of_the_bundled_ones_is_in_their_card_and_comes_with_them() -> None:
    card = (FOLDERS[0] / "README.md").read_text(encoding="utf-8")
    for name in ("detector.onnx", "pose.onnx"):
        shipped = bundled.BY_FILE[name]
        assert f" {shipped.accuracy:.3f}" in card and f"{shipped.accuracy:.3f}" in shipped.measured
        spec = identify.identify(FOLDERS[0] / name)
        assert spec.verified and spec.name == shipped.name == f"posestream-{spec.task}"
        assert spec.licence == shipped.licence and "LICENSE-WEIGHTS" in spec.licence
        assert choose.bundled_accuracy(spec.task) == shipped.accuracy


def test_list_and_check_tell_what_the_bundled_ones_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in ("detector.onnx", "pose.onnx"):
        shipped = bundled.BY_FILE[name]
        assert f"{shipped.measured}\n  licence {shipped.licence}" in printed
    tiny = load.find_tiny("detector")
    assert main(["check", str(tiny), "--batch", "1"]) == 0
    printed = capsys.readouterr().out
    assert "known by its SHA-256" in printed and "the demo scene only\nlicence: Apache" in printed


def test_a_copy_described_anew_keeps_what_is_known(tmp_path: Path) -> None:
    output = tmp_path / "mine.onnx"
    asked = ["describe", str(FOLDERS[0] / "detector.onnx"), "--output", str(output)]
    assert main([*asked, "--name", "mine"]) == 0
    told = json.loads(containers.read(output.read_bytes()).metadata[identify.METADATA_KEY])
    assert (told["name"], told["accuracy"]) == ("mine", bundled.BY_FILE["detector.onnx"].accuracy)
    assert told["licence"] == bundled.BY_FILE["detector.onnx"].licence


def test_flipped_bits_are_refused(tmp_path: Path) -> None:
    original = FILES[0].read_bytes()
    path, rng = tmp_path / FILES[0].name, random.Random(3)
    for _ in range(50):
        data = bytearray(original)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(ModelError, match="install posestream again"):
            bundled.check(path, path.read_bytes())
    bundled.check(path, original)


def test_what_was_never_shipped_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing of this"):
        bundled.check(tmp_path / "pose_big.onnx", b"x")


def test_the_tiny_networks_are_found() -> None:
    for task in ("detector", "pose"):
        path = load.find_tiny(task)  # type: ignore[arg-type]
        assert path
        bundled.check(path, path.read_bytes())
