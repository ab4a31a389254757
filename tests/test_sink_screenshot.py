"""--screenshot: one annotated picture of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commandline import demo
from scene_heads import heads_of_frame
from test_formats_files import people, posed
from test_run import fails

from realtime.cli import parse
from realtime.errors import OutputError
from realtime.records import PosedFrame, Poses
from realtime.several import divided
from realtime.sinks.screenshot import Screenshot


def item(index: int, count: int) -> PosedFrame:
    """A frame with so many people and a picture as grey as its number."""
    ids = list(range(1, count + 1))
    poses = people(np.random.default_rng(index), ids) if count else Poses.empty()
    return replace(posed(index, index / 30, poses), picture=np.full((8, 8, 3), index, np.uint8))


def shown(path: Path) -> int:
    return int(cv2.imread(str(path))[0, 0, 0])


@pytest.mark.parametrize(
    ("counts", "number", "says"),
    [((0, 0, 1, 2), 2, "frame 2"), ((0, 0, 0), 2, "frame 2, where nobody is seen")],
)
def test_the_first_frame_with_somebody_else_the_last(
    tmp_path: Path, counts: tuple[int, ...], number: int, says: str
) -> None:
    path = tmp_path / "a.png"
    sink = Screenshot(path, overwrite=False)
    for index, count in enumerate(counts):
        sink.write(item(index, count))
        assert path.exists() == any(counts[: index + 1])  # at once, and whole
    sink.close()
    sink.close()
    assert shown(path) == number and sink.notes == [f"{path} shows {says}"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Screenshot(path, overwrite=False).close()
    assert not path.exists()
    late = Screenshot(path, overwrite=False)
    path.write_text("mine")
    for refused in (lambda: Screenshot(path, overwrite=False), lambda: late.write(item(0, 1))):
        with pytest.raises(OutputError, match="exists; use --overwrite"):
            refused()
    assert path.read_text() == "mine"
    Screenshot(path, overwrite=True).close()
    assert path.read_text() == "mine"  # a run without frames changes nothing
    Screenshot(path, overwrite=True).write(item(5, 1))
    assert shown(path) == 5


def test_the_command_line_saves_one_with_hidden_faces(tmp_path: Path) -> None:
    path, told = tmp_path / "a.png", tmp_path / "r.json"
    again = ("--screenshot", path, "--start", "40", "--end", "42", "--report", told, "--overwrite")
    pictures = []
    for more in ((), ("--blur-faces",)):
        result = demo(*again, *more)
        assert result.code == 0 and f"{path} shows frame 40" in result.err, result.err
        pictures.append(cv2.imread(str(path)))
    report = json.loads(told.read_text())
    assert report["frames_captured"] == 2 and report["frames_written"] == 0
    assert report["sinks"]["screenshot"]["notes"] == [f"{path} shows frame 40"]
    raw, heads = heads_of_frame(0, 40)
    assert heads and pictures[0].shape == raw.shape and (pictures[0] != raw).any()
    for head in heads.values():
        seen, hidden = ((picture[head] == raw[head]).all(1).mean() for picture in pictures)
        assert hidden < 0.01 < seen


def test_one_that_cannot_be_is_refused_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("mine")
    none = ("--detector", tmp_path / "no.onnx")  # which would be told if it was looked for
    fails(demo("--screenshot", path, *none), 4, "exists; use --overwrite")
    fails(demo("--screenshot", tmp_path / "no" / "a.png", *none), 4, "there is no folder")
    assert path.read_text() == "mine"


def test_each_of_several_sources_has_its_own() -> None:
    settings = parse(["--input", "a.mp4", "--input", "b.mp4", "--screenshot", "s.png"])
    assert [part.screenshot for part in divided(settings)] == [Path("s-1.png"), Path("s-2.png")]
