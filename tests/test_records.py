"""The frozen records: checked on entry, empty is normal, the caller's data stays the caller's."""

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from realtime.records import Crops, Detections, Frame, PosedFrame, Poses


def poses(count):
    rng = np.random.default_rng(count)
    return Poses(
        rng.uniform(0, 100, (count, 17, 2)).astype(np.float32),
        rng.uniform(0, 1, (count, 17)).astype(np.float32),
        rng.uniform(0, 100, (count, 4)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        np.arange(count),
        rng.uniform(0, 100, (count, 4)).astype(np.float32),
    )


def test_frame_is_read_only_and_knows_its_size():
    frame = Frame(3, 0.1, np.zeros((20, 30, 3), np.uint8), "a.mp4")
    assert frame.size_wh == (30, 20)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0] = 255
    with pytest.raises(FrozenInstanceError):
        frame.index = 4


@pytest.mark.parametrize(
    "image", [np.zeros((20, 30), np.uint8), np.zeros((20, 30, 4), np.uint8), np.zeros((2, 3, 3))]
)
def test_frame_refuses_another_kind_of_image(image):
    with pytest.raises(ValueError, match=r"Frame\.image: expected uint8 \(any, any, 3\), got"):
        Frame(0, 0.0, image)


def test_detections_say_what_was_expected_and_what_came():
    boxes = np.zeros((2, 4), np.float32)
    assert len(Detections(boxes, np.zeros(2, np.float32))) == 2
    with pytest.raises(ValueError, match=r"scores: expected float32 \(2\), got float32 \(3,\)"):
        Detections(boxes, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"boxes_xyxy: expected float32 \(any, 4\), got float64"):
        Detections(boxes.astype(float), np.zeros(2, np.float32))


def test_crops_need_an_affine_and_a_frame_for_each():
    pixels = np.zeros((2, 256, 192, 3), np.uint8)
    affine = np.zeros((2, 2, 3), np.float32)
    assert len(Crops(pixels, affine, np.zeros(2, np.int64), np.zeros(2, bool))) == 2
    with pytest.raises(ValueError, match="crop_to_frame"):
        Crops(pixels, affine[:1], np.zeros(2, np.int64), np.zeros(2, bool))
    with pytest.raises(ValueError, match="frame_of"):
        Crops(pixels, affine, np.zeros(1, np.int64), np.zeros(2, bool))
    with pytest.raises(ValueError, match="pixels"):
        Crops(pixels[..., :1], affine, np.zeros(2, np.int64), np.zeros(2, bool))


@pytest.mark.parametrize("name", [field.name for field in fields(Poses)])
def test_poses_check_every_field(name):
    good = poses(3)
    parts = {field.name: getattr(good, field.name) for field in fields(Poses)}
    for wrong in (parts[name][:2], parts[name].astype(np.float16)):
        with pytest.raises(ValueError, match="expected"):
            Poses(**{**parts, name: wrong})


@pytest.mark.parametrize(
    ("keep", "order"),
    [
        (np.array([True, False, True]), [0, 2]),
        (np.array([2, 0]), [2, 0]),
        (slice(1, None), [1, 2]),
        (np.zeros(3, bool), []),
    ],
)
def test_choosing_people_takes_all_their_fields(keep, order):
    whole = poses(3)
    chosen = whole[keep]
    assert len(chosen) == len(order) and chosen.ids.tolist() == order
    for field in fields(Poses):
        expected = getattr(whole, field.name)[np.array(order, int)]
        np.testing.assert_array_equal(getattr(chosen, field.name), expected)


def test_with_ids_changes_nothing_else():
    before = poses(2)
    after = before.with_ids(np.array([7, 8]))
    assert after.ids.tolist() == [7, 8] and before.ids.tolist() == [0, 1]
    assert after.joints_xy is before.joints_xy
    with pytest.raises(ValueError, match="ids"):
        before.with_ids(np.array([7]))


def test_nobody_is_an_ordinary_value():
    assert len(Detections.empty()) == len(Poses.empty()) == 0
    frame = Frame(0, 0.0, np.zeros((1, 1, 3), np.uint8))
    nobody = PosedFrame(frame, Poses.empty())
    assert len(nobody.poses) == 0 and nobody.failed == 0 and nobody.picture is None
    assert len(Poses.empty()[np.zeros(0, bool)]) == 0
