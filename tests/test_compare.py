"""--compare: two networks on the same frames, and the picture of both."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from commandline import demo, lines, run

from engines.load import find_default, find_tiny, load
from realtime import api
from realtime.cli import parse
from realtime.compare import Compare
from realtime.detect import Detector
from realtime.draw import Style
from realtime.errors import ModelError, UsageError
from realtime.flow import Crew
from realtime.halves import GAP, captioned_pair
from realtime.hud import Hud
from realtime.ledger import Ledger
from realtime.pipeline import Options, Pipeline
from realtime.records import Detections, Frame, PosedFrame, Poses
from realtime.sources.base import SourceInfo, Span
from realtime.sources.demo import open_demo
from realtime.status import SourceStatus

NETWORKS = {"detector": find_tiny("detector"), "pose": find_tiny("pose")}
INFO = SourceInfo("demo", "demo")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(load_tiny("detector"), 0.4)


@pytest.fixture(scope="module")
def pose():
    return load_tiny("pose")


def load_tiny(task: str):
    from engines.identify import identify

    path = NETWORKS[task]
    assert path
    return load(identify(path), task, precision="f32")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return list(open_demo(0, Span(60, 68)).frames())


def blank(frames: list[Frame]) -> list[PosedFrame]:
    """Frames in which the first networks found nobody."""
    heads = np.zeros((0, 4), np.float32)
    return [PosedFrame(frame, Poses.empty(), heads=heads) for frame in frames]


class Recorded:
    """A Source of frames that are there already."""

    info, status = INFO, SourceStatus()

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    def frames(self) -> Generator[Frame, None, None]:
        yield from self._frames

    def close(self) -> None:
        pass


@pytest.mark.parametrize("task", ["detector", "pose"])
@pytest.mark.parametrize("smooth", ["all", "off"])
def test_the_same_network_finds_the_same(
    task: str, smooth: str, detector, pose, frames: list[Frame]
) -> None:
    """Everything around the network is alike: batches, thresholds, tracker, smoothing."""
    source = Recorded(frames)
    options = Options(smooth=smooth, batch=4, detect_every=1)  # as the other detector does
    pipeline = Pipeline(source, detector, pose, None, Ledger(False), options)
    other = pose if task == "pose" else Detector(load_tiny("detector"), 0.4)  # in another thread
    compare = Compare(other, pose, options, source.info)
    compare.beside(pipeline, detector.network if task == "detector" else pose)
    crew = Crew()
    with closing(pipeline.frames(crew)) as groups:
        items = [item for group in groups for item in group]
    assert not crew.join(2) and len(items) == len(frames)
    assert sum(len(item.poses) for item in items) > 15
    for item in items:
        assert item.other is not None
        np.testing.assert_array_equal(item.other.ids, item.poses.ids)
        np.testing.assert_array_equal(item.other.joints_xy, item.poses.joints_xy)
    assert all(meter.frames == len(frames) for meter in compare.meters.values())
    captions = compare.captions()
    assert all(f"tiny_{task}.onnx, " in text and "ms a frame" in text for text in captions)


def test_another_detector_finds_its_own_people(detector, pose, frames: list[Frame]) -> None:
    """People whom only it finds have their faces hidden as well."""
    compare = Compare(detector, pose, Options(), INFO)
    found = compare(blank(frames), [Detections.empty()] * len(frames))
    assert all(item.other is not None and len(item.other) > 1 for item in found)
    assert all(len(item.heads) >= len(item.other) for item in found)
    assert all(len(item.poses) == 0 for item in found)
    nobody = Compare(pose, pose, Options(), INFO)(blank(frames), [Detections.empty()] * 8)
    assert all(len(item.other) == 0 and len(item.heads) == 0 for item in nobody)


def test_ids_begin_anew_when_somebody_seeks(detector, pose, frames: list[Frame]) -> None:
    compare = Compare(detector, pose, Options(), INFO)
    nobody = [Detections.empty()] * len(frames)
    first = compare(blank(frames), nobody)
    moved = [replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1])) for frame in frames]
    other_place = [replace(frame, part=1) for frame in moved]
    again = compare(blank(other_place), nobody)
    assert min(first[0].other.ids) == 1
    assert min(again[0].other.ids) == max(first[-1].other.ids) + 1
    assert set(again[0].other.ids) & set(again[-1].other.ids)  # and then go on


def test_independent_pictures_have_no_ids(detector, pose, frames: list[Frame]) -> None:
    options = Options(smooth="display")
    compare = Compare(detector, pose, options, replace(INFO, independent=True))
    found = compare(blank(frames[:2]), [Detections.empty()] * 2)
    assert all((item.other.ids == -1).all() and len(item.other) for item in found)


@pytest.mark.parametrize("size_wh", [(64, 48), (321, 199), (1280, 720)])
def test_both_pictures_are_there_unchanged(size_wh: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    halves = [rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8) for _ in range(2)]
    whole = captioned_pair(halves, ["a" * 300, ""])
    tall, wide = whole.shape[:2]
    assert wide == 2 * size_wh[0] + GAP and tall > size_wh[1] and (tall - size_wh[1]) % 2 == 0
    np.testing.assert_array_equal(whole[-size_wh[1] :, : size_wh[0]], halves[0])
    np.testing.assert_array_equal(whole[-size_wh[1] :, -size_wh[0] :], halves[1])
    strip = whole[: tall - size_wh[1]]
    assert strip[:, : size_wh[0]].max() > 200 and strip[:, -size_wh[0] :].max() < 50


def test_a_frame_is_drawn_again_with_both_halves(frames: list[Frame]) -> None:
    """As on a change of style while paused; black hides the picture in both halves."""
    style = [Style()]
    source = open_demo()
    hud = Hud(Ledger(False), source, lambda: style[0], lambda: False, lambda: ("a", "b"))
    item = PosedFrame(frames[0], Poses.empty(), other=Poses.empty())
    shown = hud.draw(item)
    style[0] = Style(black=True)
    dark = hud.checked(replace(item, picture=shown)).picture
    assert dark is not None and dark.shape == shown.shape
    strip = dark.shape[0] - frames[0].size_wh[1]
    assert dark[:strip].max() > 200 and dark[strip:].max() < 40
    alone = hud.draw(replace(item, other=None))
    assert alone.shape == frames[0].image.shape


def test_a_recorded_comparison(tmp_path: Path) -> None:
    """The data is that of the left half, byte for byte; the right half has other people."""
    bundled = find_default("pose")
    if bundled is None:
        pytest.skip("no pose network is bundled")
    names = {name: tmp_path / name for name in ("a.jsonl", "b.jsonl", "b.mp4", "b.json")}
    part = ("--start", 60, "--end", 66)
    assert demo(*part, "--json", names["a.jsonl"]).code == 0
    result = demo(
        *part, "--json", names["b.jsonl"], "--output", names["b.mp4"], "--report", names["b.json"],
        "--compare", bundled,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert lines(names["a.jsonl"]) == lines(names["b.jsonl"])
    report = json.loads(names["b.json"].read_text())
    assert report["models"]["compare"]["file"] == bundled.name
    assert report["models"]["pose"]["name"] == "tiny_pose"
    assert report["stages"]["compare"]["frames"] == 6
    with av.open(str(names["b.mp4"])) as video:
        pictures = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    assert len(pictures) == 6 and pictures[0].shape[1] == 2 * 1280 + GAP
    left, right = pictures[-1][-720:, :1280].astype(int), pictures[-1][-720:, -1280:].astype(int)
    differs = np.abs(left - right).max(2) > 60
    assert 0.0005 < differs.mean() < 0.05  # the same frame, other limbs


def test_a_folder_with_a_detector(tmp_path: Path, frames: list[Frame]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, frame in enumerate(frames[:3]):
        picture = frame.image if n else frame.image[:, 200:1000]
        cv2.imwrite(str(folder / f"{n}.png"), picture)
    video = tmp_path / "a.mp4"
    tiny = ("--detector", NETWORKS["detector"], "--pose", NETWORKS["pose"])
    result = run(
        "--input", folder, "--headless", *tiny, "--compare", NETWORKS["detector"],
        "--output", video, "--blur-faces", "--mirror",
    )  # fmt: skip
    assert result.code == 0, result.err
    with av.open(str(video)) as opened:
        sizes = [(frame.width, frame.height) for frame in opened.decode(video=0)]
    assert len(sizes) == 3 and len(set(sizes)) == 1 and sizes[0][0] == 2 * 800 + GAP


@pytest.mark.parametrize(
    "wrong",
    [
        ("--compare", "auto", "--output", "a.mp4"),
        ("--compare", "a.onnx", "--explain", "b"),
        ("--compare", "a.onnx", "--select", "3"),
        ("--compare", "a.onnx", "--bench"),
    ],
)
def test_what_does_not_go_together(wrong: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--compare"):
        parse(wrong)


def test_a_missing_network_is_one_line_without_a_display(tmp_path: Path) -> None:
    result = run("--input", "demo", "--compare", tmp_path / "no.onnx", DISPLAY="")
    assert result.code == 5 and len(result.err.splitlines()) == 1, result.err


def test_mistakes_are_told(tmp_path: Path) -> None:
    def attempt(**options: object) -> None:
        api.run("demo", end=2, **options)

    with pytest.raises(UsageError, match="--output"):
        attempt(compare=NETWORKS["pose"])
    with pytest.raises(ModelError, match="no.onnx"):
        attempt(compare=tmp_path / "no.onnx", output=tmp_path / "a.mp4")
    with pytest.raises(ModelError, match="did you mean"):
        attempt(compare="pose-resnet18-coc", output=tmp_path / "a.mp4")
    copy = tmp_path / "net.mp4"
    copy.write_bytes(b"network")
    with pytest.raises(UsageError, match="input"):
        attempt(compare=copy, output=copy, overwrite=True)
    with pytest.raises(UsageError, match="stream"):
        api.stream("demo", compare=NETWORKS["pose"])
