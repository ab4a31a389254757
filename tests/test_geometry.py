"""Boxes, crops and affines: the pixel-centre rule, inverses and overlaps."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from realtime import geometry

steady = settings(deadline=None, derandomize=True)  # shared machines, the same every time
CROP_WH = (192, 256)
POINTS = arrays(np.float32, (5, 2), elements=st.floats(-500, 4500, width=32))


@st.composite
def box_sets(draw, smallest=0.0):
    """Boxes (N, 4) in and around a large picture, none inverted."""
    count = draw(st.integers(0, 5))
    corner = draw(arrays(np.float32, (count, 2), elements=st.floats(-500, 4000, width=32)))
    size = draw(arrays(np.float32, (count, 2),
                       elements=st.floats(smallest, 3000, width=32)))  # fmt: skip
    return np.concatenate([corner, corner + size], 1)


def test_crop_box_has_the_aspect_padding_and_centre():
    tall, wide = geometry.crop_boxes(np.float32([[10, 20, 50, 220], [0, 0, 300, 40]]), CROP_WH)
    # 200 high: 250 with padding; 250 * 3 / 4 wide. 300 wide: 375 with padding, 500 high.
    np.testing.assert_allclose(tall, [30 - 93.75, 120 - 125, 30 + 93.75, 120 + 125])
    np.testing.assert_allclose(wide, [150 - 187.5, 20 - 250, 150 + 187.5, 20 + 250])


@steady
@given(box_sets())
def test_crop_boxes_hold_their_boxes(boxes):
    crops = geometry.crop_boxes(boxes, CROP_WH)
    assert crops.shape == boxes.shape and crops.dtype == np.float32
    assert (crops[:, :2] <= boxes[:, :2] + 1e-2).all() and (
        crops[:, 2:] >= boxes[:, 2:] - 1e-2
    ).all()
    size = crops[:, 2:] - crops[:, :2]
    np.testing.assert_allclose(size[:, 0] * 4, size[:, 1] * 3, rtol=2e-3)
    assert (size >= 1).all()


def test_crop_of_a_box_without_size_is_still_a_crop():
    boxes = np.float32([[7, 7, 7, 7], [9, 9, 5, 3]])  # a point, and an inverted one
    affine = geometry.boxes_to_crop(geometry.crop_boxes(boxes, CROP_WH), CROP_WH)
    assert np.isfinite(geometry.invert(affine)).all()


def test_the_whole_box_becomes_the_whole_crop():
    """Edges to edges: the box's border is half a pixel outside the crop's outer pixel centres."""
    box = np.float32([[100, 50, 250, 250]])  # 3:4
    affine = geometry.boxes_to_crop(box, CROP_WH)
    corners = geometry.apply(affine, np.float32([[[100, 50], [250, 250], [175, 150]]]))[0]
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [191.5, 255.5], [95.5, 127.5]], atol=1e-4)


@steady
@given(box_sets(smallest=1), st.data())
def test_frame_to_crop_and_back(boxes, data):
    """A joint found in the crop lands where it was in the frame, to a hundredth of a crop pixel."""
    affine = geometry.boxes_to_crop(geometry.crop_boxes(boxes, CROP_WH), CROP_WH)
    shares = data.draw(arrays(np.float32, (len(boxes), 17, 2), elements=st.floats(0, 1, width=32)))
    points = boxes[:, None, :2] + shares * (boxes[:, 2:] - boxes[:, :2])[:, None]
    there = geometry.apply(affine, points)
    back = geometry.apply(geometry.invert(affine), there)
    # float32 has 24 bits: at x = 7000 a step is 0.0005 frame pixels.
    scale = affine[:, 0, 0]
    tolerance = 0.01 / scale + 0.004
    assert (np.abs(back - points).max(axis=(1, 2), initial=0) <= tolerance).all()
    assert (there > -1).all() and (there < np.float32(CROP_WH)).all()


@steady
@given(POINTS, st.floats(-3.1, 3.1), st.floats(0.05, 20), st.floats(-500, 500))
def test_inverse_of_any_affine(points, angle, scale, shift):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    affine = np.float32([[c, -s, shift], [s, c, -shift / 2]])
    back = geometry.apply(geometry.invert(affine), geometry.apply(affine, points))
    np.testing.assert_allclose(back, points, atol=0.05)


def test_apply_one_affine_or_one_for_each():
    affines = np.float32([[[2, 0, 1], [0, 3, -1]], [[0, -1, 0], [1, 0, 5]]])
    points = np.float32([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    both = geometry.apply(affines, points)
    np.testing.assert_array_equal(both[0], [[3, 5], [7, 11]])
    np.testing.assert_array_equal(both[1], [[-6, 10], [-8, 12]])
    np.testing.assert_array_equal(geometry.apply(affines[0], points[0]), both[0])
    assert geometry.apply(affines[:0], points[:0]).shape == (0, 2, 2)


def test_crop_with_opencv_puts_pixels_where_the_affine_says():
    """The same rule as warpAffine: one bright frame pixel is brightest at apply(affine, p)."""
    image = np.zeros((300, 400), np.float32)
    image[140, 180] = 1
    box = geometry.crop_boxes(np.float32([[150, 100, 210, 180]]), CROP_WH)
    affine = geometry.boxes_to_crop(box, CROP_WH)
    crop = cv2.warpAffine(image, affine[0], CROP_WH, flags=cv2.INTER_LINEAR)
    y, x = np.mgrid[:256, :192]
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    expected = geometry.apply(affine[0], np.float32([[180, 140]]))[0]
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("wh", [(640, 480), (1080, 1920), (320, 320), (178, 100), (1, 1)])
def test_letterbox_fits_at_the_top_left(wh):
    affine = geometry.letterbox(wh, (416, 320))
    low, high = geometry.apply(affine, np.float32([[-0.5, -0.5], [wh[0] - 0.5, wh[1] - 0.5]]))
    np.testing.assert_allclose(low, [-0.5, -0.5], atol=1e-4)
    assert (high <= np.float32([415.5, 319.5]) + 1e-3).all()
    assert np.isclose(high, [415.5, 319.5], atol=1e-3).any()
    small = affine[[0, 1], [0, 1]] * wh
    np.testing.assert_allclose(small, np.round(small), atol=1e-3)  # whole pixels
    assert abs(affine[0, 0] - affine[1, 1]) * min(wh) <= 1
    assert affine[0, 1] == affine[1, 0] == 0


def test_letterbox_agrees_with_opencv_resize():
    """Enlarging by 2 with cv2.resize moves the centre of a spot exactly as the affine says."""
    image = cv2.GaussianBlur(np.pad(np.float32([[1]]), 20), (0, 0), 3)  # spot at (20, 20) of 41
    large = cv2.resize(image, (82, 82), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[:82, :82]
    found = np.array([(large * x).sum(), (large * y).sum()]) / large.sum()
    expected = geometry.apply(geometry.letterbox((41, 41), (82, 82)), np.float32([[20, 20]]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-2)
    np.testing.assert_allclose(expected, [40.5, 40.5])


@steady
@given(box_sets(), st.integers(1, 4000), st.integers(1, 4000))
def test_clipped_boxes_are_in_the_picture(boxes, width, height):
    before = boxes.copy()
    cut = geometry.clip_boxes(boxes, (width, height))
    assert cut.dtype == np.float32 and (cut >= 0).all()
    assert (cut[:, ::2] <= width - 1).all() and (cut[:, 1::2] <= height - 1).all()
    np.testing.assert_array_equal(geometry.clip_boxes(cut, (width, height)), cut)
    np.testing.assert_array_equal(boxes, before)


def test_iou_by_hand():
    a = np.float32([[0, 0, 10, 10]])
    b = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 20, 20], [2, 2, 4, 4], [6, 6, 3, 3]])
    np.testing.assert_allclose(geometry.iou(a, b)[0], [1, 1 / 3, 0, 0.04, 0], rtol=1e-6)
    np.testing.assert_allclose(geometry.areas(b), [100, 100, 100, 4, 0])


def test_within_by_hand():
    a = np.float32([[0, 0, 10, 10], [0, 0, 4, 2], [3, 3, 3, 9]])
    b = np.float32([[0, 0, 10, 10], [5, 0, 25, 10], [2, 1, 4, 40]])
    np.testing.assert_allclose(geometry.within(a, b), [[1, 0.5, 0.18], [1, 0, 0.25], [0, 0, 0]])


@steady
@given(box_sets(), box_sets())
def test_iou_is_symmetric_and_within_0_and_1(a, b):
    ab = geometry.iou(a, b)
    assert ab.shape == (len(a), len(b)) and ab.dtype == np.float32
    np.testing.assert_allclose(ab, geometry.iou(b, a).T, atol=1e-6)
    assert ((ab >= 0) & (ab <= 1 + 1e-6)).all()
    own = np.diag(geometry.iou(a, a))
    np.testing.assert_allclose(own[geometry.areas(a) > 1e-3], 1, atol=1e-5)


@steady
@given(box_sets(smallest=1))
def test_iou_against_counted_cells(boxes):
    """Whole-number boxes: the overlap is a count of unit cells."""
    whole = np.clip(np.round(boxes / 100), 0, 40).astype(int)
    cells = np.zeros((len(whole), 40, 40), bool)
    for box, grid in zip(whole, cells):
        grid[box[1] : box[3], box[0] : box[2]] = True
    both = (cells[:, None] & cells[None]).sum((2, 3))
    either = (cells[:, None] | cells[None]).sum((2, 3))
    got = geometry.iou(whole.astype(np.float32), whole.astype(np.float32))
    np.testing.assert_allclose(got, both / np.maximum(either, 1), atol=1e-6)
