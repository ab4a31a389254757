"""Heatmaps over the picture: in their place, only when asked for, and never over a bare face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import media
import numpy as np
import pytest
from commandline import demo
from hypothesis import given
from hypothesis import strategies as st
from test_seek import Player, Script

from engines.base import Grid
from realtime import geometry, pipeline
from realtime.blur import cover
from realtime.crop import Cuts, to_cut
from realtime.decode import cells_to_crop, decode
from realtime.desk import Desk
from realtime.draw import Style
from realtime.heat import DIMMED, draw_heat, heat_of, heights_of, of_people
from realtime.records import Detections, Float, Frame, Heat, Image, PosedFrame, Poses
from realtime.render import draw
from realtime.sources.base import Span
from realtime.sources.demo import open_demo
from realtime.sources.file import FileSource, open_file
from realtime.stop import Stop

CROP_WH, MAP_WH, SIZE_WH = (48, 64), (24, 32), (320, 240)


def crops_of(boxes: Float) -> Cuts:
    frame = Frame(0, 0.0, np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8))
    people = Detections(boxes, np.ones(len(boxes), np.float32))
    return to_cut([frame], [people], CROP_WH, geometry.CROP_PADDING)


def peaks(cells: Float) -> Float:
    """Heatmaps (N, 17, h, w) with a Gaussian at a cell (N, 2) in one map, nothing in the others."""
    maps = np.zeros((len(cells), 17, MAP_WH[1], MAP_WH[0]), np.float32)
    y, x = np.mgrid[: MAP_WH[1], : MAP_WH[0]]
    for n, (column, row) in enumerate(cells):
        maps[n, 5 + n] = 0.9 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 1.5**2))
    return maps


def heat_at(boxes: Float, cells: Float, grid: Grid = "pixel_centre") -> tuple[Heat, Float]:
    """Heat of people with these boxes, and their peaks (N, 2) in the frame as decode() sees
    them."""
    crops, maps = crops_of(boxes), peaks(cells)
    people = Detections(boxes, np.ones(len(boxes), np.float32))
    points, _ = decode(maps, "dark", grid, CROP_WH, 1.5)
    frame = geometry.apply(crops.crop_to_frame, points)
    at = np.array([frame[n, 5 + n] for n in range(len(boxes))], np.float32)
    return heat_of(heights_of(maps), crops, [people], grid)[0], at


def drawn(heat: Heat, mirror: bool = False, level: int = 0) -> Image:
    picture = np.full((SIZE_WH[1], SIZE_WH[0], 3), level, np.uint8)
    draw_heat(picture, heat, mirror)
    return picture


ONE = np.array([[60, 40, 160, 200]], np.float32)


@given(
    cell=st.tuples(st.floats(4, 19), st.floats(4, 27)),
    grid=st.sampled_from(["pixel_centre", "corner", "udp"]),
    mirror=st.booleans(),
)
def test_a_peak_glows_where_its_joint_is(
    cell: tuple[float, float], grid: Grid, mirror: bool
) -> None:
    heat, at = heat_at(ONE, np.array([cell], np.float32), grid)
    glow = drawn(heat, mirror).astype(np.float64).sum(2)
    weight = np.where(glow > 0.6 * glow.max(), glow, 0)
    y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    middle = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    wanted = np.array([SIZE_WH[0] - 1 - at[0, 0] if mirror else at[0, 0], at[0, 1]])
    assert np.abs(middle - wanted).max() < 1.0


@pytest.mark.parametrize("grid", ["pixel_centre", "corner", "udp"])
def test_the_affine_is_the_rule_of_decode(grid: Grid) -> None:
    maps = peaks(np.array([[7, 11]], np.float32))
    points, _ = decode(maps, "argmax", grid, CROP_WH)
    affine = cells_to_crop(grid, MAP_WH, CROP_WH)
    np.testing.assert_allclose(
        geometry.apply(affine, np.array([[7, 11]], np.float32))[0], points[0, 5], atol=1e-4
    )


def test_the_highest_map_counts_and_nothing_else_changes() -> None:
    boxes = np.array([[60, 40, 160, 200], [100, 40, 200, 200]], np.float32)
    heat, _ = heat_at(boxes, np.array([[12, 16], [10, 14]], np.float32))
    both = drawn(heat).max(2)
    alone = [drawn(heat[np.arange(2) == n]).max(2) for n in range(2)]
    np.testing.assert_array_equal(both, np.maximum(*alone))
    grey = drawn(heat, level=100)
    assert (grey[:, 250:] == round(100 * DIMMED)).all() and (both[:, 250:] == 0).all()
    assert grey.max() > 180


def test_nobody_and_numbers_that_are_none() -> None:
    nobody = np.zeros((0, 4), np.float32)
    heat, _ = heat_at(nobody, np.zeros((0, 2), np.float32))
    assert len(heat) == 0 and (drawn(heat, level=100) == 60).all()
    maps = peaks(np.array([[12, 16]], np.float32))
    maps[0, 3], maps[0, 4] = np.nan, np.inf
    people = Detections(ONE, np.ones(1, np.float32))
    found = heat_of(heights_of(maps), crops_of(ONE), [people], "pixel_centre")[0]
    assert found.maps.max() == round(255 * 0.9)


@given(box=st.tuples(*[st.floats(-500, 800)] * 2, *[st.floats(1, 900)] * 2), mirror=st.booleans())
def test_people_beyond_the_border_do_no_harm(
    box: tuple[float, float, float, float], mirror: bool
) -> None:
    x, y, wide, tall = box
    heat, _ = heat_at(np.array([[x, y, x + wide, y + tall]], np.float32), np.array([[12.0, 16.0]]))
    assert drawn(heat, mirror).shape == (240, 320, 3)


def poses(boxes: Float) -> Poses:
    joints = np.tile(boxes[:, None, :2], (1, 17, 1)) + 20
    scores = np.full((len(boxes), 17), 0.9, np.float32)
    return Poses(joints, scores, boxes, scores[:, 0], np.arange(1, len(boxes) + 1))


def test_only_those_who_are_left_glow() -> None:
    boxes = np.array([[60, 40, 160, 200], [200, 40, 300, 200]], np.float32)
    heat, _ = heat_at(boxes, np.array([[12, 16], [12, 16]], np.float32))
    left = of_people(heat, poses(boxes)[1:])
    np.testing.assert_array_equal(left.boxes_xyxy, boxes[1:])
    assert (drawn(left)[:, :180] == 0).all() and drawn(left).any()


def test_faces_are_hidden_before_anything_is_drawn_over_them() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    heat, _ = heat_at(ONE, np.array([[12, 8]], np.float32))
    heads = np.array([[70, 30, 150, 110]], np.float32)
    style = Style(heatmap=True, blur_faces=True)
    frame, people = Frame(0, 0.0, image), poses(ONE)
    for known in (heads, None):
        covered = image.copy()
        cover(covered, known)
        shown = draw(frame, people, style, heads=known, heat=heat)
        same = draw(Frame(0, 0.0, covered), people, replace(style, blur_faces=False), heat=heat)
        np.testing.assert_array_equal(shown, same)
        bare = draw(frame, people, replace(style, blur_faces=False), heat=heat)
        assert (bare[60:100, 80:140] != shown[60:100, 80:140]).any(2).mean() > 0.95
    black = draw(frame, people, Style(heatmap=True, black=True), heat=heat)
    np.testing.assert_array_equal(
        black, draw(Frame(0, 0.0, np.zeros_like(image)), people, Style(heatmap=True), heat=heat)
    )


def test_without_heatmaps_the_skeletons_are_drawn() -> None:
    frame = Frame(0, 0.0, np.full((SIZE_WH[1], SIZE_WH[0], 3), 90, np.uint8))
    people = poses(ONE)
    np.testing.assert_array_equal(
        draw(frame, people, Style(heatmap=True)), draw(frame, people, Style())
    )


def test_the_command_line_draws_heatmaps(tmp_path: Path) -> None:
    video = tmp_path / "d.mp4"
    assert demo("--output", video, "--overlay", "heatmap", "--end", "2").code == 0
    ok, shown = cv2.VideoCapture(str(video)).read()
    raw = next(open_demo().frames()).image
    assert ok and abs(np.median(shown[:100] / np.maximum(raw[:100], 1.0)) - DIMMED) < 0.05
    blue, _, red = cv2.split(shown - DIMMED * raw)
    assert ((red > 60) & (red > blue + 40)).sum() > 300


def test_a_frame_that_stands_still_gets_its_heatmaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept of the heatmaps until somebody wants to see them."""
    calls = []

    def heat(*given: object) -> list[Heat]:
        calls.append(1)
        return heat_of(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "heat_of", heat)
    player = Player(media.video(tmp_path / "film.mp4", 60), monkeypatch)

    def script() -> Script:
        yield from player.until_part(0, 10)
        yield "space"
        at = player.seen[-1][1]
        assert not calls and player.desk.item and player.desk.item.heat is None
        yield "o"
        yield from player.until_part(1)
        assert player.seen[-1] == (1, at) and player.desk.item.heat is not None and calls
        yield "o"
        yield from player.until(lambda: player.desk.note == "skeleton and boxes")
        assert player.seen[-1] == (1, at)
        yield from ("o", "o", "home", "o")  # the last one while the jump is under way
        yield from player.until(lambda: player.seen[-1][1] == 0 and has_heat(player))

    player.play(script())


def has_heat(player: Player) -> bool:
    return player.desk.item is not None and player.desk.item.heat is not None


def test_heatmaps_asked_for_while_frames_come_without_are_sought_again(tmp_path: Path) -> None:
    """The frame on show has some, but one without them may be on its way."""
    source = open_file(media.video(tmp_path / "film.mp4", 60), Span())
    assert isinstance(source, FileSource)
    heat, _ = heat_at(ONE, np.array([[12, 16]], np.float32))
    desk = Desk(Style(), Stop(), live=False, file=source)
    desk.show(PosedFrame(next(source.frames()), poses(ONE), heat=heat))
    for action in ("pause", "home"):
        desk.ask(action)
    desk.work()
    desk.jump()
    assert not desk.jumping
    desk.ask("overlay")
    desk.work()
    assert desk.style.heatmap and desk.jumping


def test_where_nobody_can_seek_the_heatmaps_come_with_the_next_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = media.video(tmp_path / "film.mp4", 60)
    player = Player(film, monkeypatch, "--json", tmp_path / "d.jsonl")

    def script() -> Script:
        yield from player.until_part(0, 3)
        yield "space"
        yield "o"
        assert player.desk.note == "heatmap: from the next frame on"
        while player.desk.item and player.desk.item.heat is None:
            yield "."

    player.play(script())
    assert player.desk.item and player.desk.item.heat is not None
