"""The five pictures of --explain, from the real networks and from made-up steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from commandline import demo, run
from scene_heads import heads_of_frame

from engines.base import ModelSpec
from realtime import geometry
from realtime.cli import parse
from realtime.crop import cut
from realtime.detect import Detector
from realtime.errors import InputError, UsageError
from realtime.explain import (
    COLUMNS,
    MOST,
    NAMES,
    Steps,
    _as_seen,
    _scaled,
    _whole,
    explained,
    find,
    take_steps,
)
from realtime.explain import run as explained_run
from realtime.pipeline import Options
from realtime.records import Detections, Frame, Poses
from realtime.sheet import GAP, GROUND, WIDE, Tile, grid, page
from realtime.sources.base import Span
from realtime.sources.demo import open_demo


def steps(people: int, size_wh: tuple[int, int] = (640, 480)) -> Steps:
    """People side by side whose every joint peaks at a quarter of the crop's width."""
    rng = np.random.default_rng(people)
    image = rng.integers(60, 200, (size_wh[1], size_wh[0], 3), np.uint8)
    x = np.linspace(20, size_wh[0] - 60, people)
    boxes = np.stack([x, np.full(people, 50.0), x + 40, np.full(people, 200.0)], 1)
    scores = np.linspace(0.9, 0.5, people).astype(np.float32)
    found = Detections(boxes.astype(np.float32), scores)
    crops = cut([Frame(7, 0.0, image)], [found], (192, 256), 1.25)
    y, x = np.mgrid[:64, :48]
    bell = 0.8 * np.exp(-((x - 12) ** 2 + (y - 40) ** 2) / (2 * 4**2))
    heatmaps = np.broadcast_to(bell.astype(np.float32), (people, 17, 64, 48)).copy()
    points = np.full((people, 17, 2), (12.5 * 4 - 0.5, 40.5 * 4 - 0.5), np.float32)
    poses = Poses(
        geometry.apply(crops.crop_to_frame, points),
        np.full((people, 17), 0.8, np.float32),
        found.boxes_xyxy,
        scores,
        np.arange(1, people + 1),
    )
    return Steps(7, image, found, crops, heatmaps, points, poses)


def test_five_pictures_of_a_demo_frame(tmp_path: Path) -> None:
    folder = tmp_path / "how"
    result = demo("--explain", folder, "--explain-frame", "40", "--mirror")
    assert result.code == 0 and "frame 40 explained" in result.err
    assert "WARNING: --mirror: nothing is done to the one frame" in result.err
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{name}.png" for name in NAMES]
    shapes = [cv2.imread(str(folder / name)).shape for name in names]
    assert {shape[1] for shape in shapes} == {WIDE}
    again = demo("--explain", folder)
    assert again.code == 4 and "--overwrite" in again.errors[0]


def test_a_frame_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "how"
    asked = ("--explain", folder, "--end", "2", "--explain-frame", "9999")
    result = demo(*asked)
    assert result.code == 3 and "there is no frame 9999; 2 frames were read" in result.errors[0]
    assert not folder.exists()
    folder.mkdir()
    assert demo(*asked).code == 3 and folder.exists()  # it was there before


def test_whom_a_run_leaves_out_is_not_explained(tmp_path: Path) -> None:
    asked = ("--explain", tmp_path / "how", "--start", "40", "--end", "42", "--min-score")
    result = demo(*asked, "0.99")
    assert result.code == 3 and "nobody was found in 2 frames" in result.errors[0]
    assert demo(*asked, "0.5").code == 0


class Pair(Detector):
    """Finds one person twice and another one, who is less sure."""

    def __init__(self) -> None:
        pass

    def __call__(self, frames: object, share: float = 1.0) -> list[Detections]:
        boxes = [[100, 50, 180, 250], [102, 52, 182, 252], [300, 50, 380, 250]]
        return [Detections(np.array(boxes, np.float32), np.array([0.9, 0.8, 0.2], np.float32))]


class Bells:
    """Every joint in the middle of its crop, 0.8 sure; nan: of the second crop one is no number."""

    def __init__(self, nan: bool = False) -> None:
        self.spec = ModelSpec("bells", "pose", "heatmaps", (192, 256), Path(), "")
        self._nan = nan

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        y, x = np.mgrid[:64, :48]
        bell = 0.8 * np.exp(-((x - 23.5) ** 2 + (y - 31.5) ** 2) / (2 * 2**2))
        maps = np.broadcast_to(bell.astype(np.float32), (len(batch), 17, 64, 48)).copy()
        maps[1:2, 3] = np.nan if self._nan else maps[1:2, 3]
        return [maps]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("nan", [False, True])
def test_doubles_and_what_is_no_number_are_left_out_as_in_a_run(nan: bool) -> None:
    frame = Frame(0, 0.0, np.zeros((300, 400, 3), np.uint8))
    for least, left in ((0.3, [0.9, 0.2]), (0.5, [0.9])):
        found = take_steps(Pair(), Bells(nan), Options(min_score=least), False, frame)
        assert found.detections.scores.tolist() == pytest.approx(left)
        assert found.poses.ids.tolist() == list(range(1, len(left) + 1))


@pytest.mark.parametrize("blur", [False, True])
def test_each_network_looks_once(blur: bool) -> None:
    """What is covered, the scores and the pictures are of one pass."""
    calls: list[str] = []

    class CountedPair(Pair):
        def __call__(self, frames: object, share: float = 1.0) -> list[Detections]:
            calls.append("detector")
            return super().__call__(frames, share)

    class CountedBells(Bells):
        def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
            calls.append(f"{len(batch)} crops")
            return super().__call__(batch)

    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    frame, options = Frame(0, 0.0, noise), Options(min_score=0.5)
    steps = take_steps(CountedPair(), CountedBells(), options, blur, frame)
    assert calls == ["detector", "3 crops"] and len(steps) == 1
    raw = (steps.picture == noise).all(2)
    face = raw[140:160, 330:350]  # of the person who is left out
    assert face.mean() < 0.01 if blur else raw.all()


def test_no_picture_replaces_the_one_explained(tmp_path: Path) -> None:
    image = tmp_path / f"{NAMES[0]}.png"
    cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    before = image.read_bytes()
    for source in (image, tmp_path):
        result = run("--input", source, "--headless", "--explain", tmp_path, "--overwrite")
        assert result.code == 2 and "this is the input" in result.errors[0]
    assert image.read_bytes() == before and list(tmp_path.iterdir()) == [image]
    other = image.rename(tmp_path / "a.png")
    with pytest.raises(UsageError, match="this is the input"):  # which would have five more next
        explained_run(parse(["--input", str(tmp_path), "--explain", str(tmp_path)]))
    assert list(tmp_path.iterdir()) == [other]


def test_blurred_faces_are_blurred_here_as_well(tmp_path: Path) -> None:
    """Also those of people who are left out: all but one."""
    asked = ("--explain-frame", "40", "--blur-faces", "--min-score", "0.64")
    assert demo("--explain", tmp_path / "how", *asked).code == 0
    pictures = [cv2.imread(str(tmp_path / "how" / f"{NAMES[n]}.png")) for n in (0, 4)]
    raw, heads = heads_of_frame(0, 40)
    assert heads
    for picture in pictures:
        body = picture[-GAP - raw.shape[0] : -GAP]  # the frame lies above the lower edge
        for head in heads.values():
            assert (body[head] == raw[head]).all(1).mean() < 0.01


@pytest.mark.parametrize("people", [1, 3, COLUMNS, MOST + 3])
def test_any_number_of_people(people: int) -> None:
    pictures = explained(steps(people))
    assert len(pictures) == len(NAMES)
    assert all(p.dtype == np.uint8 and p.shape[1] == WIDE for p in pictures)
    rows = -(-min(people, MOST) // COLUMNS)
    assert pictures[1].shape[0] > rows * 250


def test_whole_frames_have_their_true_shape() -> None:
    """Where pixels are twice as wide as high; what the networks see stays as it is."""
    square, wide = (explained(replace(steps(2), aspect=aspect)) for aspect in (1.0, 2.0))
    for n in (0, 4):
        assert square[n].shape[0] - wide[n].shape[0] == WIDE * 480 // 640 // 2
    assert np.array_equal(square[2], wide[2]) and np.array_equal(square[3], wide[3])
    made = steps(1)
    box = made.detections.boxes_xyxy[0]
    for aspect, height in ((1.0, 2.0), (2.0, 1.0), (0.5, 4.0)):
        picture, scale = _whole(replace(made, aspect=aspect))
        assert picture.shape[1] == WIDE and scale.tolist() == [2.0, height]
        placed = _scaled(box, np.tile(scale, 2))
        assert (placed[3] - placed[1]) / (box[3] - box[1]) == pytest.approx(height)


def test_crops_are_shown_as_the_network_saw_them() -> None:
    """Without the sides of slim people, where the network takes narrow crops."""
    crops = replace(steps(2).crops, slim=np.array([True, False]))
    crops.pixels[:] = 200
    assert (_as_seen(crops, False).pixels == 200).all() and not _as_seen(crops, False).slim.any()
    seen = _as_seen(crops, True)
    assert (seen.pixels[1] == 200).all() and (seen.pixels[0][:, 32:160] == 200).all()
    assert not seen.pixels[0][:, :32].any() and not seen.pixels[0][:, 160:].any()
    assert seen.slim.tolist() == [True, False]


def test_the_peak_is_marked_where_it_is() -> None:
    """In each tile the warm spot lies where the map peaks, and a white cross in its middle."""
    ground, cell = explained(steps(1))[2].astype(int), (WIDE - GAP) / COLUMNS
    warm = (ground[..., 2] > 150) & (ground[..., 0] < 140)
    white = (ground.min(2) > 235) & (np.ptp(ground, axis=2) < 12)
    for mask in (warm, white):
        mask[:145] = False  # title and text
        columns = np.nonzero(mask)[1]
        assert set(np.unique(((columns - GAP) // cell).astype(int))) == set(range(COLUMNS))
        across = np.median(np.mod(columns - GAP, cell)) / (cell - GAP)
        assert across == pytest.approx(12.5 / 48, abs=0.02)


def test_a_joint_that_is_no_number_is_left_out() -> None:
    some = steps(1)
    some.points_xy[0, 3] = np.nan
    some.heatmaps[0, 3] = np.nan
    assert len(explained(some)) == len(NAMES)


def test_frames_that_cannot_be_explained() -> None:
    def look(number: int | None, span: Span | None = None, live: bool = False) -> None:
        find(open_demo(0, span or Span(0, 3), live), lambda _: Detections.empty(), number)

    with pytest.raises(InputError, match="nobody was found in 3 frames"):
        look(None)
    with pytest.raises(InputError, match="frame 1 shows nobody"):
        look(1)
    with pytest.raises(InputError, match="there is no frame 9; 3 frames were read"):
        look(9)
    for span in (Span(5, 8), Span(0, 8, 2)):
        for live in (False, True):  # numbers count from the source's first frame in both
            with pytest.raises(InputError, match="frame 3 is not among those that are read"):
                look(3, span, live)


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    for wrong in (
        ["--explain", "a", "--output", "b.mp4"],
        ["--explain", "a", "--status-file", "b.json"],
        ["--explain", "a", "--serve"],
        ["--explain", "a", "--show"],
        ["--explain-frame", "3"],
        ["--explain", "a", "--explain-frame", "-1"],
    ):
        with pytest.raises(UsageError, match="--explain"):
            parse(wrong)
    (tmp_path / "file").touch()
    result = demo("--explain", tmp_path / "file")
    assert result.code == 4 and "not a folder" in result.errors[0]


def test_pages_and_grids() -> None:
    red = np.full((30, 20, 3), (0, 0, 255), np.uint8)
    tiles = grid([Tile(red, "one"), Tile(red, "a name that is much too long"), Tile(red)], 2)
    assert (tiles == (0, 0, 255)).all(2).sum() == 3 * 600
    sheet = page("title", "word " * 100, tiles)
    assert sheet.shape[1] == WIDE and (sheet[-1] == GROUND).all()
    assert (sheet == (0, 0, 255)).all(2).sum() == 3 * 600
