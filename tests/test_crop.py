"""Crops: every pixel comes from the frame pixel that crop_to_frame names."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import geometry
from realtime.crop import cut, places, to_cut
from realtime.records import Detections, Frame

CROP_WH = (96, 128)
PADDING = 1.25


def frame_of_coordinates(width: int, height: int) -> Frame:
    """Blue is x, green is y, red is 200."""
    image = np.full((height, width, 3), 200, np.uint8)
    image[:, :, 0] = np.arange(width)[None]
    image[:, :, 1] = np.arange(height)[:, None]
    return Frame(0, 0.0, image)


def people(*boxes: tuple[float, float, float, float]) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-50, 250), st.floats(-50, 200)),
    st.tuples(st.floats(0, 300), st.floats(0, 300)),
)
def test_pixels_come_from_where_the_affine_says(corner, size):
    frame = frame_of_coordinates(240, 180)
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    crops = cut([frame], [people(box)], CROP_WH, PADDING)
    v, u = np.mgrid[: CROP_WH[1], : CROP_WH[0]].astype(np.float32)
    source = geometry.apply(crops.crop_to_frame[0], np.stack([u.ravel(), v.ravel()], 1))
    source = source.reshape(CROP_WH[1], CROP_WH[0], 2)
    inside = ((source >= 0) & (source <= [239, 179])).all(2)
    outside = ((source < -1.1) | (source > [240.1, 180.1])).any(2)
    error = np.abs(crops.pixels[0, :, :, :2].astype(float) - source)[inside]
    assert error.max(initial=0) <= 0.6  # rounding to whole grey values and 1/32 pixel
    assert (crops.pixels[0][inside][:, 2] == 200).all()
    assert not crops.pixels[0][outside].any()


@settings(max_examples=60, deadline=None)
@given(st.floats(-300, 700), st.floats(-200, 500), st.floats(1, 900), st.integers(0, 9))
def test_pixels_are_those_of_one_warp_of_the_whole_frame(x, y, size, seed):
    """Whatever is done to make it quicker; noise, which would show the smallest shift."""
    image = np.random.default_rng(seed).integers(0, 256, (360, 480, 3), np.uint8)
    boxes = people((x, y, x + size, y + size))
    (found,) = cut([Frame(0, 0.0, image)], [boxes], CROP_WH, PADDING).pixels
    (affine,), _ = places([boxes], CROP_WH, PADDING)
    assert np.abs(found.astype(int) - cv2.warpAffine(image, affine, CROP_WH)).max() <= 1
    assert (found != cv2.warpAffine(image, affine, CROP_WH)).mean() < 0.001


@settings(max_examples=30, deadline=None)
@given(st.floats(-300, 700), st.floats(-200, 500), st.floats(1, 900), st.integers(0, 9))
def test_narrow_crops_are_the_middle_of_whole_ones(x, y, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (360, 480, 3), np.uint8)
    boxes = people((x, y, x + size / 3, y + size), (y, x, y + size, x + size))
    asked = [Frame(0, 0.0, image)], [boxes], CROP_WH, PADDING
    cuts = to_cut(*asked)
    whole, narrow = cuts.crops(np.array([1, 0])), cuts.crops(np.array([1, 0]), narrow=True)
    expected = whole[:, :, geometry.narrow_columns(CROP_WH)].astype(int)
    assert narrow.shape == expected.shape
    assert (np.abs(narrow - expected) > 8).mean() < 0.001  # a step of 1/32 pixel, here and there
    assert (narrow != expected).mean() < 0.05
    assert cuts.slim.tolist() == [True, False]
    assert (cuts.crops(np.arange(2)) == cut(*asked).pixels).all()


@pytest.mark.parametrize("padding", [1.0, 1.15, 1.25])
def test_the_whole_padded_box_is_the_crop(padding):
    frame, box = frame_of_coordinates(200, 200), (60, 50, 120, 130)
    crops = cut([frame], [people(box)], CROP_WH, padding)
    corners = np.array([[-0.5, -0.5], [CROP_WH[0] - 0.5, CROP_WH[1] - 0.5]], np.float32)
    expected = geometry.crop_boxes(np.array([box], np.float32), CROP_WH, padding)
    np.testing.assert_allclose(expected[0, 3] - expected[0, 1], padding * 80, rtol=1e-6)
    found = geometry.apply(crops.crop_to_frame[0], corners)
    assert np.abs(found.ravel() - expected[0]).max() <= 1  # the half pixel at the border, scaled


def test_all_people_of_all_frames_equal_one_by_one():
    frames = [
        frame_of_coordinates(200, 150),
        frame_of_coordinates(90, 220),
        frame_of_coordinates(3, 5),
    ]
    found = [people((10, 10, 60, 90), (100, 20, 180, 140)), people(), people((0, 0, 2, 4))]
    together = cut(frames, found, CROP_WH, PADDING)
    assert together.frame_of.tolist() == [0, 0, 2]
    alone = [
        cut([frame], [Detections(d.boxes_xyxy[n : n + 1], d.scores[n : n + 1])], CROP_WH, PADDING)
        for frame, d in zip(frames, found)
        for n in range(len(d))
    ]
    assert (together.pixels == np.concatenate([one.pixels for one in alone])).all()
    assert (together.crop_to_frame == np.concatenate([o.crop_to_frame for o in alone])).all()
    assert together.pixels.any((1, 2, 3)).all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nobody_gives_no_crops(count):
    crops = cut([frame_of_coordinates(20, 20)] * count, [people()] * count, CROP_WH, PADDING)
    assert len(crops) == 0
    assert crops.pixels.shape == (0, 128, 96, 3)


def test_caller_data_is_not_changed():
    frame, found = frame_of_coordinates(100, 100), people((10, 10, 50, 80))
    before = frame.image.copy(), found.boxes_xyxy.copy()
    cut([frame], [found], CROP_WH, PADDING)
    assert (frame.image == before[0]).all()
    assert (found.boxes_xyxy == before[1]).all()
