"""One person of a picture as a sample for the pose network: cut, moved and disturbed at random.

Everything that moves pixels is one affine, frame to crop, applied once, the way realtime.crop does
it; without augmentation the crop is the very one the pipeline makes for the same box. What changes
colours then works on the small crop. Coordinates follow realtime.geometry; all randomness comes
from the generator given, so the same generator gives the same sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.errors import InputError
from realtime.records import Float, Image
from realtime.skeleton import MIRROR
from train.coco import DataSet, Person
from train.config import Config

Sample = dict[str, NDArray[Any]]
Affine = NDArray[np.float64]

UPPER = np.arange(17) < 11
"""Joints of head and arms; the others are hips and legs."""
HALF_MARGIN = 1.2
"""How much larger than its joints the box of half a person is, before the padding of all crops."""
TURNED = 0.6
"""Share of samples that are rotated at all."""


class ImageCache:
    """Decoded images kept in memory until limit_bytes are used; what comes later is read each time.

    Nothing is thrown out again: over epochs in random order that keeps more hits than the latest
    images would. The samples are the same with and without it. Each process has its own.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._kept: dict[tuple[Path, bool], Image] = {}

    def read(self, path: Path, half: bool = False) -> Image:
        """As read_image; the array must not be changed."""
        image = self._kept.get((path, half))
        if image is None:
            image = read_image(path, half)
            image.flags.writeable = False
            if self.used_bytes + image.nbytes <= self.limit_bytes:
                self._kept[path, half] = image
                self.used_bytes += image.nbytes
        return image


NO_CACHE = ImageCache(0)


def read_image(path: Path, half: bool = False) -> Image:
    """BGR uint8 (H, W, 3) of an image file, upright; half: of half the size, rounded up.

    Raises InputError where it is missing or broken.
    """
    flags = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
    try:
        image = cv2.imread(str(path), flags)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be decoded: {error.err}") from error
    if image is None:
        what = "cannot be decoded" if path.is_file() else "does not exist"
        raise InputError(f"{path}: the image {what}; python -m train check-data lists all such")
    return np.asarray(image, np.uint8)


def pose_sample(
    person: Person,
    config: Config,
    rng: np.random.Generator,
    train: bool,
    images: ImageCache = NO_CACHE,
) -> Sample:
    """A crop of one person with its joints.

    crop: uint8 (H, W, 3) BGR of config.input_wh. joints: float32 (17, 2), crop pixels. visible:
    float32 (17,), 1 for joints that have a label and lie inside the crop, else 0. affine: float32
    (2, 3), frame to crop. train=False: nothing at random. Raises InputError for an image that
    cannot be read.
    """
    size_wh = config.input_wh
    joints, labelled = person.joints[:, :2], person.joints[:, 2] > 0
    affine, mirrored = placed(person.box_xyxy, size_wh), False
    if train:
        affine = random_affine(person, config, rng)
        mirrored = rng.random() < config.flip
    if mirrored:
        affine = mirror(size_wh[0]) @ affine
        joints, labelled = joints[MIRROR], labelled[MIRROR]
    crop = cut(person.image, affine, size_wh, train, images)
    if train:
        crop = disturb(crop, config, rng)
    final: Float = affine[:2].astype(np.float32)
    moved = geometry.apply(final, joints)
    inside = ((moved >= -0.5) & (moved < np.array(size_wh) - 0.5)).all(1)
    visible = (labelled & inside).astype(np.float32)
    return {"crop": crop, "joints": moved, "visible": visible, "affine": final}


# ---- place --------------------------------------------------------------------------------------


def placed(box_xyxy: Float, size_wh: tuple[int, int]) -> Affine:
    """Frame to crop as float64 (3, 3), as the pipeline places a person box (4,) in its crop."""
    grown = geometry.crop_boxes(box_xyxy[None], size_wh)
    return np.vstack([geometry.boxes_to_crop(grown, size_wh)[0], [0, 0, 1]]).astype(np.float64)


def mirror(width: int) -> Affine:
    """The affine (3, 3) that mirrors a crop of this width left to right."""
    return np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]], np.float64)


def random_affine(person: Person, config: Config, rng: np.random.Generator) -> Affine:
    """placed with the box at random: half of the person, moved, larger or smaller, turned."""
    box = person.box_xyxy
    if rng.random() < config.half_body:
        box = half_body(person, rng)
    size = np.maximum(box[2:] - box[:2], 1)
    centre = (box[:2] + box[2:]) / 2 + rng.uniform(-config.shift, config.shift, 2) * size
    size = size * max(1 + rng.uniform(-config.scale, config.scale), 0.1)
    box = np.concatenate([centre - size / 2, centre + size / 2]).astype(np.float32)
    affine = placed(box, config.input_wh)
    if rng.random() < TURNED:
        affine = turn(rng.uniform(-config.rotate, config.rotate), config.input_wh) @ affine
    return affine


def turn(degrees: float, size_wh: tuple[int, int]) -> Affine:
    """The affine (3, 3) that turns a crop about its centre, counter-clockwise on the screen."""
    x, y = (size_wh[0] - 1) / 2, (size_wh[1] - 1) / 2
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, s, x - c * x - s * y], [-s, c, y + s * x - c * y], [0, 0, 1]])


def half_body(person: Person, rng: np.random.Generator) -> Float:
    """A box (4,) around the upper or the lower labelled joints, as if the rest were out of the
    picture; the whole box of people with fewer than 4 joints in that half, or none in the other.
    """
    labelled = person.joints[:, 2] > 0
    half = UPPER if rng.random() < 0.6 else ~UPPER
    points = person.joints[labelled & half, :2]
    if len(points) < 4 or not (labelled & ~half).any():
        return person.box_xyxy
    low, high = points.min(0), points.max(0)
    # An arm stretched straight out is flat, but not as flat as its joints.
    size = np.maximum((high - low) * HALF_MARGIN, 0.2 * (person.box_xyxy[2:] - person.box_xyxy[:2]))
    centre = (low + high) / 2
    return np.concatenate([centre - size / 2, centre + size / 2]).astype(np.float32)


def cut(
    path: Path, affine: Affine, size_wh: tuple[int, int], train: bool, images: ImageCache
) -> Image:
    """The crop of an image file by an affine (3, 3), frame to crop, as realtime.crop cuts it.

    For training, a JPEG of which fewer than half of the pixels are needed in x and y is decoded at
    half the size, which is quicker: pixel p of the whole is (p + 0.5) / 2 - 0.5 there.
    """
    scale = np.sqrt(abs(np.linalg.det(affine[:2, :2])))
    half = bool(train and scale < 0.5 and path.suffix.lower() in (".jpg", ".jpeg"))
    image = images.read(path, half)
    if half:
        affine = affine @ np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    matrix = affine[:2].astype(np.float32)
    crop = cv2.warpAffine(
        image, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(crop, np.uint8)


# ---- light, lens and things before people -------------------------------------------------------


def disturb(crop: Image, config: Config, rng: np.random.Generator) -> Image:
    """The crop behind things, blurred, in other colours or in the dark, each at random."""
    if rng.random() < config.occlude:
        crop = occlude(crop, rng)
    if rng.random() < config.blur:
        crop = blur(crop, rng)
    if rng.random() < config.colour:
        crop = recolour(crop, rng)
    if rng.random() < config.dark:
        crop = darken(crop, rng)
    return crop


def occlude(crop: Image, rng: np.random.Generator) -> Image:
    """A copy with one or two rectangles covered by a grey, noise, or another part of the crop
    upside down. Joints below keep their labels: people can tell where they must be."""
    covered: Image = crop.copy()
    height, width = crop.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        w, h = (rng.uniform(0.12, 0.42, 2) * (width, height)).astype(int)
        x, y = (int(rng.integers(0, n)) for n in (width - w, height - h))
        kind = rng.integers(3)
        if kind == 0:
            covered[y : y + h, x : x + w] = rng.integers(0, 256, 3) // 2 + rng.integers(0, 128)
        elif kind == 1:
            covered[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
        else:
            u, v = (int(rng.integers(0, n)) for n in (width - w, height - h))
            covered[y : y + h, x : x + w] = crop[v : v + h, u : u + w][::-1]
    return covered


def blur(crop: Image, rng: np.random.Generator) -> Image:
    """Out of focus, moving, or from far away (few pixels enlarged)."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.6, 2.5)), np.uint8)
    if kind == 1:
        kernel = motion_kernel(rng.uniform(3, 13), rng.uniform(0, np.pi))
        return np.asarray(cv2.filter2D(crop, -1, kernel), np.uint8)
    height, width = crop.shape[:2]
    factor = rng.uniform(0.2, 0.6)
    small_wh = max(round(width * factor), 1), max(round(height * factor), 1)
    small = cv2.resize(crop, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def motion_kernel(length: float, angle: float) -> Float:
    """A straight line of this length in pixels, centred, summing to 1: float32 (odd, odd)."""
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 4 * reach + 1):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        kernel[round(y), round(x)] += 1
    kernel /= kernel.sum()
    return kernel


def recolour(crop: Image, rng: np.random.Generator) -> Image:
    """Other brightness and contrast; often other hue and saturation; now and then all grey."""
    ramp = np.arange(256)
    table = (ramp - 128) * rng.uniform(0.6, 1.4) + 128 + rng.uniform(-32, 32)
    picture: NDArray[Any] = crop
    if rng.random() < 0.12:
        picture = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    elif rng.random() < 0.6:
        hue, saturation = (ramp + rng.integers(-18, 19)) % 180, ramp * rng.uniform(0.5, 1.5)
        tables = np.stack([hue, np.clip(saturation, 0, 255), ramp], 1).astype(np.uint8)
        hsv = cv2.LUT(cv2.cvtColor(crop, cv2.COLOR_BGR2HSV), tables[:, None])
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return np.asarray(cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)), np.uint8)


def darken(crop: Image, rng: np.random.Generator) -> Image:
    """A dim scene: gamma 1.5 to 3, then sensor noise of sigma 4 to 12, in grains of one to three
    pixels, since a small person is enlarged with its noise."""
    table = 255 * (np.arange(256) / 255) ** rng.uniform(1.5, 3)
    dim = cv2.LUT(crop, table.astype(np.uint8))
    height, width = crop.shape[:2]
    grain = int(rng.integers(1, 4))
    shape = -(-height // grain), -(-width // grain), 3
    noise = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(4, 12))
    if grain > 1:
        noise = np.asarray(cv2.resize(noise, (width, height)), np.float32)
    return np.asarray(cv2.add(dim, noise, dtype=cv2.CV_8U), np.uint8)


# ---- order --------------------------------------------------------------------------------------


def mixed_index(datasets: Sequence[DataSet], seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch: indices into the people of all sets, one set after the other.

    Each person comes as often as the set's weight says; see mixed_order.
    """
    counts, weights = [len(d.people) for d in datasets], [d.weight for d in datasets]
    return mixed_order(counts, weights, seed, epoch)


def mixed_order(
    counts: Sequence[int], weights: Sequence[float], seed: int, epoch: int
) -> NDArray[np.int64]:
    """A shuffled order of things in sets of these counts, each weight times: the whole part of a
    weight for all, its fraction for that share, another draw each epoch. A pure function; every
    epoch has the same length."""
    rng = np.random.default_rng((seed, epoch, 0x6D6978))  # apart from the samples' generators
    parts, start = [np.zeros(0, np.int64)], 0
    for count, weight in zip(counts, weights):
        ids = np.arange(start, start + count, dtype=np.int64)
        parts += [ids] * int(weight)
        parts.append(rng.permutation(ids)[: round((weight - int(weight)) * count)])
        start += count
    return rng.permutation(np.concatenate(parts))
