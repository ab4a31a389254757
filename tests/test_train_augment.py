"""Crops of people for training: where pixels and joints go, and what light and lens do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import crop as product
from realtime import geometry
from realtime.errors import InputError
from realtime.records import Detections, Frame
from realtime.skeleton import JOINT_COUNT, MIRROR
from train import augment, disturb
from train.augment import mixed_order, pose_sample
from train.coco import Person
from train.config import Config
from train.images import ImageCache, read_image

OFF: dict[str, Any] = dict.fromkeys(
    ("flip", "scale", "rotate", "shift", "half_body", "colour", "dark", "blur", "occlude"), 0.0
)
LIGHT = ("colour", "dark", "blur", "occlude")
STILL = Config("pose", **OFF)
MOVING = replace(Config("pose"), **dict.fromkeys(LIGHT, 0.0))
FRAME_WH = (640, 480)
BOX = np.float32([150, 60, 390, 420])


def smooth_noise(seed: int, size_wh: tuple[int, int] = FRAME_WH) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (size_wh[1] // 8, size_wh[0] // 8, 3), np.uint8)
    return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)


def person(path: Path, joints: np.ndarray | None = None, box: np.ndarray = BOX) -> Person:
    if joints is None:
        rng = np.random.default_rng(7)
        points = rng.uniform(box[:2], box[2:], (JOINT_COUNT, 2))
        joints = np.column_stack([points, np.full(JOINT_COUNT, 2)])
    return Person(path, 1, 1, box.astype(np.float32), joints.astype(np.float32), 1.0, False)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "frame.png"
    cv2.imwrite(str(path), smooth_noise(0))
    return path


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((3, 1, seed))


# ---- without augmentation -----------------------------------------------------------------------


@given(
    st.tuples(*[st.floats(-200, 700)] * 2), st.tuples(*[st.floats(0, 700)] * 2),
    st.sampled_from([(192, 256), (96, 128), (256, 192)]), st.sampled_from([1.0, 1.15, 1.25]),
)  # fmt: skip
@settings(max_examples=40)
def test_a_crop_for_measuring_is_that_of_the_pipeline(
    picture: Path, low: tuple[float, float], size: tuple[float, float], input_wh: tuple[int, int],
    padding: float,
) -> None:  # fmt: skip
    box = np.float32([*low, low[0] + size[0], low[1] + size[1]])
    config = Config("pose", input_wh=input_wh, padding=padding)
    sample = pose_sample(person(picture, box=box), config, rng(0), train=False)
    frame = Frame(0, 0.0, read_image(picture), "", 0.0)
    found = Detections(box[None], np.ones(1, np.float32))
    crops = product.cut([frame], [found], input_wh, padding)
    np.testing.assert_array_equal(sample["crop"], crops.pixels[0])
    back = geometry.apply(crops.crop_to_frame[0], sample["joints"])
    np.testing.assert_allclose(back, person(picture, box=box).joints[:, :2], atol=0.02)


def test_arrays_of_a_sample(picture: Path) -> None:
    sample = pose_sample(person(picture), Config("pose"), rng(1), train=True)
    kinds = {name: (array.shape, array.dtype.name) for name, array in sample.items()}
    assert kinds == {
        "crop": ((256, 192, 3), "uint8"),
        "clean": ((256, 192, 3), "uint8"),
        "joints": ((17, 2), "float32"),
        "visible": ((17,), "float32"),
        "affine": ((2, 3), "float32"),
    }


def test_with_everything_off_training_sees_the_same_crop(picture: Path) -> None:
    still = pose_sample(person(picture), STILL, rng(0), train=True)
    exact = pose_sample(person(picture), STILL, rng(0), train=False)
    for name, array in exact.items():
        np.testing.assert_array_equal(still[name], array)


def test_visible_are_labelled_joints_inside_the_crop(picture: Path) -> None:
    who = person(picture)
    who.joints[4, 2] = 0
    who.joints[5, 2] = 1
    who.joints[6, :2] = 2000, 100  # far away
    who.joints[7, :2] = 10, 10  # left of the crop
    visible = pose_sample(who, STILL, rng(0), train=False)["visible"]
    assert set(np.flatnonzero(visible == 0)) == {4, 6, 7}


def test_the_crop_ends_half_a_pixel_beyond_its_outermost_centres(picture: Path) -> None:
    ends = np.float32([[-0.4, -0.4], [191.4, 255.4], [-0.6, 9], [9, -0.6], [191.6, 9], [9, 255.6]])
    who = person(picture)
    to_frame = geometry.invert(pose_sample(who, STILL, rng(0), train=False)["affine"])
    who.joints[:6, :2] = geometry.apply(to_frame, ends)
    visible = pose_sample(who, STILL, rng(0), train=False)["visible"]
    assert visible[:6].tolist() == [1, 1, 0, 0, 0, 0]


# ---- geometry -----------------------------------------------------------------------------------


def test_joints_go_where_their_pixels_go(tmp_path: Path) -> None:
    path, compared = tmp_path / "blob.png", 0
    y, x = np.mgrid[: FRAME_WH[1], : FRAME_WH[0]]
    for seed in range(24):
        places = np.random.default_rng(seed).uniform([170, 80], [370, 400], (JOINT_COUNT, 2))
        k = seed % JOINT_COUNT
        blob = 250 * np.exp(-((x - places[k, 0]) ** 2 + (y - places[k, 1]) ** 2) / (2 * 4.0**2))
        cv2.imwrite(str(path), np.repeat(blob.astype(np.uint8)[..., None], 3, 2))
        who = person(path, np.column_stack([places, np.full(JOINT_COUNT, 2)]))
        sample = pose_sample(who, replace(MOVING, flip=seed % 2), rng(seed), train=True)
        joint = sample["joints"][MIRROR[k] if seed % 2 else k]
        if ((joint > 16) & (joint < [175, 239])).all():
            np.testing.assert_allclose(joint, middle(sample["crop"]), atol=0.1)
            compared += 1
    assert compared > 12


def middle(image: np.ndarray) -> np.ndarray:
    """The centre (x, y) of the light of an image."""
    light = image[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    centre: np.ndarray = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    return centre


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_the_affine_takes_the_frame_to_the_crop(picture: Path, seed: int) -> None:
    who = person(picture)
    sample = pose_sample(who, replace(MOVING, flip=0.0), rng(seed), train=True)
    np.testing.assert_allclose(
        sample["joints"], geometry.apply(sample["affine"], who.joints[:, :2]), atol=1e-3
    )
    linear = sample["affine"][:, :2].astype(float)
    np.testing.assert_allclose(linear @ linear.T, np.linalg.det(linear) * np.eye(2), atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_mirroring_the_crop_is_mirroring_the_joints(picture: Path, seed: int) -> None:
    who = person(picture)
    who.joints[[1, 6, 10], 2] = 0
    plain = pose_sample(who, replace(MOVING, flip=0.0), rng(seed), train=True)
    mirrored = pose_sample(who, replace(MOVING, flip=1.0), rng(seed), train=True)
    expected = plain["joints"][MIRROR] * [-1, 1] + np.array([191, 0])
    np.testing.assert_allclose(mirrored["joints"], expected, atol=1e-3)
    np.testing.assert_array_equal(mirrored["visible"], plain["visible"][MIRROR])
    # warpAffine rounds places to 1/32 pixel
    apart = cv2.absdiff(np.ascontiguousarray(plain["crop"][:, ::-1]), mirrored["crop"])
    assert apart.mean() < 1 and apart.max() < 25


def test_turning_is_counter_clockwise_about_the_centre() -> None:
    affine = augment.turn(90, (193, 257))[:2].astype(np.float32)
    moved = geometry.apply(affine, np.float32([[96, 128], [106, 128]]))
    np.testing.assert_allclose(moved, [[96, 128], [96, 118]], atol=1e-4)


def test_magnitudes_are_those_of_the_options(picture: Path) -> None:
    config = replace(STILL, rotate=30.0, scale=0.2, shift=0.1)
    exact = augment.placed(BOX, config)
    turns, scales, shifts = [], [], []
    for n in range(400):
        affine = augment.random_affine(person(picture), config, rng(n))
        relative = affine @ np.linalg.inv(exact)
        turns.append(np.rad2deg(np.arctan2(relative[0, 1], relative[0, 0])))
        scales.append(1 / np.sqrt(np.linalg.det(relative[:2, :2])))
        centre = np.linalg.inv(affine) @ [95.5, 127.5, 1]
        shifts.append((centre[:2] - (BOX[:2] + BOX[2:]) / 2) / (BOX[2:] - BOX[:2]))
    assert np.mean(np.abs(turns) < 1e-4) == pytest.approx(1 - augment.TURNED, abs=0.08)
    assert 28 < np.max(np.abs(turns)) <= 30.001
    assert 0.799 <= min(scales) < 0.81 and 1.19 < max(scales) <= 1.201
    assert 0.095 < np.max(np.abs(shifts)) <= 0.1001


def test_half_a_person_comes_as_often_as_asked_for(picture: Path) -> None:
    who, config = person(picture), replace(STILL, half_body=0.5)
    who.joints[:11, 1] = np.linspace(80, 150, 11)
    affines = [augment.random_affine(who, config, rng(n)) for n in range(60)]
    other = [not np.allclose(affine, augment.placed(BOX, config)) for affine in affines]
    assert 0.3 < np.mean(other) < 0.7


def test_half_a_person_is_the_box_of_its_joints(picture: Path) -> None:
    who, seen = person(picture), set()
    for n in range(30):
        box = augment.half_body(who, rng(n))
        inside = ((who.joints[:, :2] > box[:2]) & (who.joints[:, :2] < box[2:])).all(1)
        seen.add("upper" if inside[augment.UPPER].all() else "lower")
        assert inside[augment.UPPER].all() or inside[~augment.UPPER].all()
    assert seen == {"upper", "lower"}


def test_a_person_of_few_joints_stays_whole(picture: Path) -> None:
    who = person(picture)
    who.joints[3:, 2] = 0
    assert all((augment.half_body(who, rng(n)) == BOX).all() for n in range(10))


def test_a_person_of_whom_half_is_labelled_stays_whole(picture: Path) -> None:
    who = person(picture)
    who.joints[~augment.UPPER, 2] = 0
    assert all((augment.half_body(who, rng(n)) == BOX).all() for n in range(10))


@pytest.mark.parametrize("size_wh", [(1600, 1200), (1601, 1203)])
def test_a_quick_decode_at_half_the_size_is_at_the_same_place(
    tmp_path: Path, size_wh: tuple[int, int]
) -> None:
    path = tmp_path / "large.jpg"
    image = cv2.GaussianBlur(smooth_noise(3, size_wh), (0, 0), 6)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 97])
    who = person(path, box=np.float32([200, 100, 1300, 1150]))
    quick = pose_sample(who, STILL, rng(0), train=True)
    exact = pose_sample(who, STILL, rng(0), train=False)
    np.testing.assert_array_equal(quick["affine"], exact["affine"])
    grey = [s["crop"].mean(2)[20:-20, 20:-20].astype(np.float32) for s in (quick, exact)]
    assert not np.array_equal(*grey)  # it is another way
    (dx, dy), _ = cv2.phaseCorrelate(*grey)
    assert abs(dx) < 0.03 and abs(dy) < 0.03
    assert np.abs(grey[0] - grey[1]).mean() < 2


# ---- light --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    image = smooth_noise(5, (192, 256))
    image.flags.writeable = False
    return image


CHANGES = [disturb.occlude, disturb.blur, disturb.recolour, disturb.darken]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_keep_shape_and_follow_the_generator(change: Any, crop: np.ndarray) -> None:
    for n in range(30):
        changed = change(crop, rng(n))
        assert changed.shape == crop.shape and changed.dtype == np.uint8
        np.testing.assert_array_equal(changed, change(crop, rng(n)))
    different = {change(crop, rng(n)).tobytes() for n in range(30)}
    assert len(different) >= 25


@pytest.mark.parametrize("name", LIGHT)
def test_each_is_done_as_often_as_asked_for(crop: np.ndarray, name: str) -> None:
    config = replace(STILL, **{name: 0.5})
    done = [not np.array_equal(disturb.disturb(crop, config, rng(n)), crop) for n in range(60)]
    assert 0.3 < np.mean(done) < 0.7


def test_other_colours_are_no_wild_ones() -> None:
    """A middle grey stays about where it is, and what is red does not become green or blue."""
    grey, red = np.full((8, 8, 3), 128, np.uint8), np.full((8, 8, 3), (60, 60, 190), np.uint8)
    for n in range(60):
        changed = disturb.recolour(grey, rng(n))
        assert np.ptp(changed) == 0 and 96 <= changed[0, 0, 0] <= 160
        blue, green, most = disturb.recolour(red, rng(n))[0, 0].tolist()
        assert most >= max(blue, green)


def test_dark_is_darker_and_noisy_and_not_black(crop: np.ndarray) -> None:
    for n in range(20):
        dark = disturb.darken(crop, rng(n))
        assert 5 < dark.mean() < 0.8 * crop.mean()
        dim = disturb.darken(dark, rng(n))
        assert dim.mean() > 3


def test_blurred_has_less_detail_and_the_same_place(crop: np.ndarray) -> None:
    def detail(image: np.ndarray) -> float:
        return float(cv2.Laplacian(image, cv2.CV_32F).std())

    grainy = cv2.add(crop, np.random.default_rng(0).integers(0, 40, crop.shape, np.uint8))
    for n in range(30):
        blurred = disturb.blur(grainy, rng(n))
        assert detail(blurred) < 0.8 * detail(grainy)
        grey = [image.mean(2).astype(np.float32) for image in (crop, blurred)]
        (dx, dy), _ = cv2.phaseCorrelate(*grey)
        assert abs(dx) < 0.5 and abs(dy) < 0.5


@given(st.floats(1, 30), st.floats(0, np.pi))
def test_a_motion_kernel_is_centred(length: float, angle: float) -> None:
    kernel = disturb.motion_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.shape[0] % 2 == 1
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=0.35)


def test_covered_parts_are_rectangles_of_limited_size(crop: np.ndarray) -> None:
    shares = [(disturb.occlude(crop, rng(n)) != crop).any(2).mean() for n in range(60)]
    assert 0.01 < np.mean(shares) < 0.25 and max(shares) < 2 * 0.42**2


@pytest.mark.parametrize("name", LIGHT)
def test_outside_of_the_frame_it_stays_black(picture: Path, name: str) -> None:
    config = replace(STILL, rotate=40.0, **{name: 1.0})
    who = person(picture, box=np.float32([-100, -80, 120, 300]))
    for n in range(8):
        sample = pose_sample(who, config, rng(n), train=True)
        y, x = np.mgrid[:256, :192]
        points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
        in_frame = geometry.apply(geometry.invert(sample["affine"]), points)
        outside = (in_frame < -3).any(1).reshape(256, 192)
        assert outside.mean() > 0.2 and not sample["crop"][outside].any()


@given(st.tuples(*[st.floats(-300, 600)] * 2), st.floats(20, 900), st.floats(-180, 180))
@settings(max_examples=30)
def test_black_is_exactly_where_the_frame_is_not(
    low: tuple[float, float], size: float, degrees: float
) -> None:
    box = np.float32([*low, low[0] + size, low[1] + size])
    placed = augment.placed(box, Config("pose"))
    affine = (augment.turn(degrees, (192, 256)) @ placed)[:2].astype(np.float32)
    white = np.full((256, 192, 3), 255, np.uint8)
    frame = np.zeros((FRAME_WH[1], FRAME_WH[0], 3), np.uint8)
    black = augment.blacken(white, affine, frame)
    y, x = np.mgrid[:256, :192]
    points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    in_frame = geometry.apply(geometry.invert(affine), points)
    beyond = np.maximum(-0.5 - in_frame, in_frame - np.array(FRAME_WH) + 0.5).max(1)
    beyond = beyond.reshape(256, 192) * np.sqrt(np.linalg.det(affine[:, :2]))  # crop pixels
    assert not black[beyond > 1.5].any() and (black[beyond < -1.5] == 255).all()


# ---- the same again -----------------------------------------------------------------------------


def test_the_same_generator_gives_the_same_sample(picture: Path) -> None:
    cache = ImageCache(10**7)
    for n in range(10):
        one, two, three = (
            pose_sample(person(picture), Config("pose"), rng(n), True, images)
            for images in (ImageCache(0), cache, cache)
        )
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
            np.testing.assert_array_equal(one[name], three[name])
    other = pose_sample(person(picture), Config("pose"), rng(99), True)
    assert not np.array_equal(one["crop"], other["crop"])


def test_a_cache_keeps_what_fits(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        cv2.imwrite(str(path), smooth_noise(1, (64, 64)))
    cache = ImageCache(2 * 64 * 64 * 3)
    kept = [cache.read(path) for path in paths]
    again = [cache.read(path) for path in paths]
    assert [a is b for a, b in zip(kept, again)] == [True, True, False]
    assert cache.used_bytes == cache.limit_bytes
    assert not kept[0].flags.writeable
    np.testing.assert_array_equal(kept[2], again[2])


@pytest.mark.parametrize("data", [None, b"", b"GIF89a", b"\xff\xd8\xff\xe0 no picture"])
def test_an_image_that_cannot_be_read_is_one_line(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "gone.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match="gone.jpg") as caught:
        pose_sample(person(path), STILL, rng(0), train=True)
    assert "\n" not in str(caught.value)


# ---- order --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(0.01, 4)), max_size=4),
    st.integers(0, 9), st.integers(0, 9),
)  # fmt: skip
def test_everything_comes_as_often_as_its_weight_says(
    sets: list[tuple[int, float]], seed: int, epoch: int
) -> None:
    counts, weights = [c for c, _ in sets], [w for _, w in sets]
    order = mixed_order(counts, weights, seed, epoch)
    np.testing.assert_array_equal(order, mixed_order(counts, weights, seed, epoch))
    assert order.dtype == np.int64
    assert len(order) == len(mixed_order(counts, weights, seed, epoch + 1))
    times, start = np.bincount(order, minlength=sum(counts)), 0
    assert len(times) == sum(counts)
    for count, weight in sets:
        mine = times[start : start + count]
        assert set(mine) <= {int(weight), int(weight) + 1}
        assert abs(mine.sum() - weight * count) <= 0.5 + 1e-9
        start += count


def test_epochs_and_seeds_differ() -> None:
    def order(seed: int, epoch: int) -> np.ndarray:
        return mixed_order([30, 30], [1.0, 0.5], seed, epoch)

    assert len({order(s, e).tobytes() for s in range(3) for e in range(3)}) == 9
    drawn = [set(order(0, epoch).tolist()) for epoch in range(2)]
    assert all(len(d) == 45 and set(range(30)) <= d for d in drawn) and drawn[0] != drawn[1]


@pytest.mark.parametrize("size", [(3000, 2001), (1500, 1001)])
def test_labels_of_another_size_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """Of pictures made smaller since, or turned by their EXIF where labels are not; also where the
    picture is read at half its size."""
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.zeros((1001, 1500, 3), np.uint8))
    whole = np.float32([0, 0, 1400, 1000])
    labelled = replace(person(path, box=whole), size_wh=size)
    for train in (True, False):
        if size == (1500, 1001):
            assert pose_sample(labelled, STILL, rng(1), train)["visible"].all()
            continue
        with pytest.raises(InputError, match=r"large\.jpg: is .*its data set says 3000x2001"):
            pose_sample(labelled, STILL, rng(1), train)


def test_what_is_no_jpeg_but_called_so_is_learned_from(tmp_path: Path) -> None:
    """check-data finds nothing wrong with it. Only JPEGs can be read at half their size."""
    path = tmp_path / "large.jpg"
    image = smooth_noise(3, (1601, 1203))
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    who = person(path, box=np.float32([200, 100, 1300, 1150]))
    for labelled in (who, replace(who, size_wh=(1601, 1203))):
        quick = pose_sample(labelled, STILL, rng(0), train=True)
        exact = pose_sample(labelled, STILL, rng(0), train=False)
        np.testing.assert_array_equal(quick["crop"], exact["crop"])
