"""One person of a picture as a sample for the pose network: cut, moved and disturbed at random.

Everything that moves pixels is one affine, frame to crop, applied once, the way realtime.crop does
it; without augmentation the crop is the very one the pipeline makes for the same box. What changes
colours then works on the small crop. Coordinates follow realtime.geometry; all randomness comes
from the generator given, so the same generator gives the same sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.crop import warped
from realtime.records import Float, Image
from realtime.skeleton import MIRROR
from train.coco import Person
from train.config import Config
from train.disturb import disturb
from train.images import NO_CACHE, ImageCache, check_size, is_jpeg

Sample = dict[str, NDArray[Any]]
Affine = NDArray[np.float64]

UPPER = np.arange(17) < 11
"""Joints of head and arms; the others are hips and legs."""
HALF_MARGIN = 1.2
"""How much larger than its joints the box of half a person is, before the padding of all crops."""
TURNED = 0.6
"""Share of samples that are rotated at all."""


def pose_sample(
    person: Person,
    config: Config,
    rng: np.random.Generator,
    train: bool,
    images: ImageCache = NO_CACHE,
) -> Sample:
    """A crop of one person with its joints.

    crop: uint8 (H, W, 3) BGR of config.input_wh; clean: the same before its light was changed, it
    was blurred or a part was covered. joints: float32 (17, 2), crop pixels. visible:
    float32 (17,), 1 for joints that have a label and lie inside the crop, else 0. affine: float32
    (2, 3), frame to crop. train=False: nothing at random. Raises InputError for an image that
    cannot be read.
    """
    size_wh = config.input_wh
    joints, labelled = person.joints[:, :2], person.joints[:, 2] > 0
    affine = random_affine(person, config, rng) if train else placed(person.box_xyxy, config)
    if train and rng.random() < config.flip:
        affine = mirror(size_wh[0]) @ affine
        joints, labelled = joints[MIRROR], labelled[MIRROR]
    image, matrix = source(person, affine, train, images)
    crop = clean = cut(image, matrix, size_wh)
    if train:
        crop = relit(clean, matrix, image, config, rng)
    final: Float = affine[:2].astype(np.float32)
    moved = geometry.apply(final, joints)
    inside = ((moved >= -0.5) & (moved < np.array(size_wh) - 0.5)).all(1)
    visible = (labelled & inside).astype(np.float32)
    truth = {"joints": moved, "visible": visible, "affine": final}
    return {"crop": crop, "clean": clean, **truth}


# ---- place --------------------------------------------------------------------------------------


def placed(box_xyxy: Float, config: Config) -> Affine:
    """Frame to crop as float64 (3, 3), as the pipeline places a person box (4,) in its crop."""
    grown = geometry.crop_boxes(box_xyxy[None], config.input_wh, config.padding)
    to_crop = geometry.boxes_to_crop(grown, config.input_wh)[0]
    return np.vstack([to_crop, [0, 0, 1]]).astype(np.float64)


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
    affine = placed(box, config)
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


def source(person: Person, affine: Affine, train: bool, images: ImageCache) -> tuple[Image, Float]:
    """The image of a person and the affine (2, 3) from it to the crop, of one from the frame.

    For training, a JPEG of which fewer than half of the pixels are needed in x and y is decoded at
    half the size, which is quicker. Raises InputError for an image that cannot be read, or is of
    another size than its labels.
    """
    scale = np.sqrt(abs(np.linalg.det(affine[:2, :2])))
    half = bool(train and scale < 0.5 and is_jpeg(person.image))
    if half:  # undo (p + 0.5) / 2 - 0.5
        affine = affine @ np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    image = images.read(person.image, half)
    check_size(person.image, image, person.size_wh, half)
    return image, affine[:2].astype(np.float32)


def cut(image: Image, affine: Float, size_wh: tuple[int, int]) -> Image:
    """The crop of an image by an affine (2, 3), as realtime.crop cuts it."""
    one = affine[None]
    return np.asarray(warped([image], one, geometry.invert(one), size_wh)[0], np.uint8)


def relit(
    crop: Image, affine: Float, image: Image, config: Config, rng: np.random.Generator
) -> Image:
    """The crop disturbed at random (train.disturb); what lies outside of its image is black again,
    as it is in the pipeline in any light. affine (2, 3): image to crop."""
    disturbed = disturb(crop, config, rng)
    return disturbed if disturbed is crop else blacken(disturbed, affine, image)


def blacken(crop: Image, affine: Float, image: Image) -> Image:
    """The crop with black where its image does not reach; affine (2, 3): image to crop."""
    (height, width), (rows, columns) = image.shape[:2], crop.shape[:2]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    in_image = geometry.apply(geometry.invert(affine), corners * (columns - 1, rows - 1))
    if ((in_image >= 0) & (in_image <= np.array([width - 1, height - 1]))).all():
        return crop
    outline = geometry.apply(affine, corners * (width, height) - 0.5)
    inside = np.zeros((rows, columns), np.uint8)
    fixed = np.rint(np.clip(outline, -1e5, 1e5) * 256).astype(np.int32)
    cv2.fillConvexPoly(inside, fixed, 255, cv2.LINE_8, 8)
    return np.asarray(cv2.bitwise_and(crop, crop, mask=inside), np.uint8)


# ---- order --------------------------------------------------------------------------------------


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
