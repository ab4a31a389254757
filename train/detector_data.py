"""Parts of pictures with the people in them as samples for the person detector.

Coordinates follow realtime.geometry. Where nobody knows whether there is a person (crowds, people
half out of the sample, pictures in which not everybody has a box), nothing is asked.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Float, Image
from realtime.skeleton import JOINT_COUNT, MIRROR
from train.augment import mirror
from train.centres import STRIDE, box_maps, bumps, moved
from train.coco import Picture
from train.config import Config
from train.detector_net import GREY
from train.disturb import relight
from train.images import NO_CACHE, ImageCache, check_size
from train.task import Sample

ZOOM = 0.6, 1.5
"""People are so much larger or smaller than in the whole picture brought into the input."""
AT_PERSON = 0.8
"""Share of windows placed so that they show somebody."""
LEAST_SEEN = 0.4
"""Share of a box inside the sample from which on a person is asked for."""
LEAST_WH = (4.0, 7.0)
"""Pixels of a box from which on a person is asked for."""


def detector_sample(
    picture: Picture, config: Config, rng: np.random.Generator, images: ImageCache = NO_CACHE
) -> Sample:
    """image uint8 (H, W, 3) BGR of config.sample_wh; the rest on the grid (h, w), a quarter of it.

    centres float16: 1 at the centre of a person's box, falling off around it. counted uint8: 0
    where nothing is asked. edges float16 (4, h, w): distances to the edges in pixels, valid where
    share float16 is not 0, which sums to 1 for each person. joints uint8 (17, h, w): Gaussians
    times 255. joints_counted uint8 (h, w), joints_known uint8 (17,): where and which of them are
    asked. Raises InputError for an image that cannot be read.
    """
    size_wh = config.sample_wh
    image = images.read(picture.path)
    check_size(picture.path, image, picture.size_wh)
    affine = _window((image.shape[1], image.shape[0]), picture, config, rng)
    mirrored = rng.random() < config.flip
    if mirrored:
        affine = mirror(size_wh[0]) @ affine
    matrix = affine[:2].astype(np.float32)
    pixels = relight(_cut(image, matrix, size_wh), config, rng)
    inside = _inside(matrix, (image.shape[1], image.shape[0]), size_wh)
    pixels = _pad(pixels, inside)
    return {"image": pixels, **_targets(picture, matrix, mirrored, inside, size_wh)}


# ---- pixels -------------------------------------------------------------------------------------


def _window(
    frame_wh: tuple[int, int], picture: Picture, config: Config, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Frame to sample as (3, 3): the letterbox scaled at random, a random part of it in view."""
    size = np.array(config.sample_wh)
    whole = np.vstack([geometry.letterbox(frame_wh, config.input_wh), [0, 0, 1]])
    scale = np.exp(rng.uniform(*np.log(ZOOM)))
    affine = np.diag([scale, scale, 1.0]) @ whole
    if picture.people and rng.random() < AT_PERSON:
        box = picture.people[int(rng.integers(len(picture.people)))].box_xyxy
        centre = geometry.apply(affine[:2].astype(np.float32), box.reshape(2, 2)).mean(0)
        corner = centre - rng.uniform(0.1, 0.9, 2) * size
    else:
        corner = rng.uniform(-0.1, 1.1, 2) * np.maximum(_extent(affine, frame_wh) - size, 0)
    # Not beyond the picture by more than a tenth, where there is enough of it.
    room = _extent(affine, frame_wh) - size
    low, high = np.minimum(room, 0) - 0.1 * size, np.maximum(room, 0) + 0.1 * size
    affine[:2, 2] -= np.clip(corner, low, high)
    return np.asarray(affine, np.float64)


def _extent(affine: NDArray[np.float64], frame_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Size (w, h) of the frame after the affine."""
    size: NDArray[np.float64] = np.diag(affine)[:2] * np.array(frame_wh)
    return size


def _cut(image: Image, matrix: Float, size_wh: tuple[int, int]) -> Image:
    """Bilinear without smoothing, as at run time."""
    grey = (GREY,) * 3
    return np.asarray(cv2.warpAffine(image, matrix, size_wh, borderValue=grey), np.uint8)


def _inside(matrix: Float, frame_wh: tuple[int, int], size_wh: tuple[int, int]) -> Float:
    """The part (4,) of the sample that shows the frame."""
    whole = np.array([[-0.5, -0.5], [frame_wh[0] - 0.5, frame_wh[1] - 0.5]], np.float32)
    corners = geometry.apply(matrix, whole)
    box = np.concatenate([corners.min(0), corners.max(0)])
    limit = np.array([size_wh[0] - 0.5, size_wh[1] - 0.5] * 2, np.float32)
    return np.asarray(np.clip(box, -0.5, limit), np.float32)


def _pad(pixels: Image, inside: Float) -> Image:
    """What lies outside of the frame is grey in any light, as the letterbox makes it."""
    x0, y0, x1, y1 = np.round(inside + 0.5).astype(int)
    for part in (pixels[:y0], pixels[y1:], pixels[:, :x0], pixels[:, x1:]):
        part[:] = GREY
    return pixels


# ---- targets ------------------------------------------------------------------------------------


def _targets(
    picture: Picture,
    matrix: Float,
    mirrored: bool,
    inside: Float,
    size_wh: tuple[int, int],
) -> Sample:
    people = picture.people
    boxes = moved(np.array([p.box_xyxy for p in people], np.float32).reshape(-1, 4), matrix)
    cut = np.clip(boxes, np.tile(inside[:2], 2), np.tile(inside[2:], 2))
    seen = geometry.areas(cut) / np.maximum(geometry.areas(boxes), 1e-6)
    size = cut[:, 2:] - cut[:, :2]
    asked = (
        (seen >= LEAST_SEEN)
        & (size >= LEAST_WH).all(1)
        & ~np.array([p.crowd for p in people], bool)
    )
    sample = _centre_targets(cut, asked, seen > 0, size_wh, picture.complete)
    joints = np.array([p.joints for p in people], np.float32).reshape(-1, JOINT_COUNT, 3)
    labelled = np.array([p.labelled > 0 for p in people], bool)
    maps, known = _joint_maps(joints, labelled & (seen > 0), cut, matrix, mirrored, size_wh)
    unknown = cut[~labelled & (seen > 0)]
    counted: NDArray[np.bool_] = ~_region(unknown, size_wh)
    if not picture.complete:
        counted &= _region(cut[labelled & (seen > 0)], size_wh)
    return {
        **sample,
        "joints": maps,
        "joints_counted": counted.astype(np.uint8),
        "joints_known": known.astype(np.uint8),
    }


def _centre_targets(
    cut: Float,
    asked: NDArray[np.bool_],
    present: NDArray[np.bool_],
    size_wh: tuple[int, int],
    complete: bool,
) -> Sample:
    """centres, counted, edges, share; see detector_sample."""
    maps = bumps(cut, size_wh)
    centres = maps[asked].max(0, initial=0)
    counted = np.ones(centres.shape, bool) if complete else _region(cut[asked], size_wh)
    counted &= ~_region(cut[present & ~asked], size_wh)
    counted |= centres > 0.5
    order = np.flatnonzero(asked)
    order = order[np.argsort(-geometry.areas(cut[order]))]  # the small are written last
    edges, share = box_maps(cut[order], maps[order], size_wh)
    return {
        "centres": centres.astype(np.float16),
        "counted": counted.astype(np.uint8),
        "edges": edges.astype(np.float16),
        "share": share.astype(np.float16),
    }


def _region(boxes_xyxy: Float, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The cells (h, w) whose centre lies in one of the boxes, which are taken to be a cell large at
    least, so that each has one."""
    x, y = (np.arange(n // STRIDE) * STRIDE + (STRIDE - 1) / 2 for n in size_wh)
    short = np.maximum(STRIDE - (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]), 0) / 2
    low, high = boxes_xyxy[:, :2] - short, boxes_xyxy[:, 2:] + short
    in_x = (x >= low[:, :1]) & (x <= high[:, :1])
    in_y = (y >= low[:, 1:]) & (y <= high[:, 1:])
    return np.asarray((in_y[:, :, None] & in_x[:, None]).any(0), np.bool_)


def _joint_maps(
    joints: Float,
    shown: NDArray[np.bool_],
    cut: Float,
    matrix: Float,
    mirrored: bool,
    size_wh: tuple[int, int],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Gaussians (17, h, w) times 255 of the joints (N, 17, 3) of people who are shown, and which
    joints (17,) the labels of this picture know at all."""
    joints, cut = joints[shown], cut[shown]
    points = geometry.apply(matrix, joints[..., :2].reshape(-1, 2)).reshape(-1, JOINT_COUNT, 2)
    labelled = joints[..., 2] > 0
    # In data without face joints nobody has them; in COCO a missing joint is one that is not seen.
    body_only = bool(len(joints)) and not labelled[:, :5].any() and len(joints) == 1
    known = np.ones(JOINT_COUNT, bool)
    known[:5] = not body_only
    if mirrored:
        points, labelled = points[:, MIRROR], labelled[:, MIRROR]
    tall = np.maximum(cut[:, 3] - cut[:, 1], cut[:, 2] - cut[:, 0])
    sigma = np.clip(0.03 * tall / STRIDE, 0.8, 2.5)[:, None, None]
    cells = (points + 0.5) / STRIDE - 0.5
    x, y = (np.arange(n // STRIDE, dtype=np.float32) for n in size_wh)
    across = np.exp(-((x - cells[..., :1]) ** 2) / (2 * sigma**2)) * labelled[..., None]
    down = np.exp(-((y - cells[..., 1:]) ** 2) / (2 * sigma**2))
    maps = np.zeros((JOINT_COUNT, len(y), len(x)), np.float32)
    for n in range(len(joints)):
        np.maximum(maps, down[n][:, :, None] * across[n][:, None], out=maps)
    return np.rint(maps * 255).astype(np.uint8), known
