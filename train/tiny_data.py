"""Training data of the tiny networks: renders of the demo scene, augmented, and their targets.

Coordinates follow realtime.geometry: pixel centres at integers, affines (2, 3) act on (x, y).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Float, Image
from realtime.scene import Scene
from realtime.skeleton import JOINT_COUNT, MIRROR
from train.centres import STRIDE, box_maps, bumps, gaussians, moved

DETECTOR_WH = (320, 192)
POSE_WH = (192, 256)
SIGMA = 2.0
"""Of the pose heatmaps, in cells."""

OWN_PEAK, HIDDEN_PEAK = 0.7, 0.2
"""Peaks of the targets of joints that are not seen: behind the own body (COCO labels those too),
and behind somebody else or on the far side of the head. The places are learned; at a cut of 0.4
the first are kept, the second are not."""

GREY = 114
"""Padding of the letterbox (realtime.detect); crops are padded black (realtime.crop)."""

RENDER_SIZES = ((960, 540), (640, 360), (1280, 720), (640, 480), (960, 540), (640, 360))
CAST = 300
"""Frames after which new people come on, at 30 frames per second."""


@dataclass(frozen=True, slots=True)
class Render:
    """One frame of a scene and its truth; see realtime.scene.Truth for the arrays."""

    image: Image
    joints_xy: Float
    visible: NDArray[np.bool_]
    boxes_xyxy: Float
    visible_share: Float


def render(scene: Scene, index: int, people: bool = True) -> Render:
    """Frame index of the scene with its truth, or the empty scene with nobody in the truth."""
    image = scene.image(index, people=people)  # before the truth, which drawing leaves behind
    truth = scene.truth(index)
    keep = slice(None) if people else slice(0)
    return Render(
        image,
        truth.joints_xy[keep],
        truth.visible[keep],
        truth.boxes_xyxy[keep],
        truth.visible_share[keep],
    )


def render_scenes(seeds: Iterable[int], each: int) -> Iterator[Render]:
    """each frames of the scene of every seed, each frame with a new cast, and one without people;
    the size and the number of people vary with the seed."""
    for seed in seeds:
        size_wh = RENDER_SIZES[seed % len(RENDER_SIZES)]
        scene = Scene(seed, each * CAST, size_wh, 30.0, (None, None, 5)[seed // 6 % 3])
        for n in range(each):
            yield render(scene, n * CAST + seed * 37 % CAST)
        yield render(scene, 0, people=False)


# ---- both networks ------------------------------------------------------------------------------


def chain(second: Float, first: Float) -> Float:
    """The affine (2, 3) that applies first, then second."""
    full = np.vstack([first, [0, 0, 1]])
    both: Float = (np.vstack([second, [0, 0, 1]]) @ full)[:2].astype(np.float32)
    return both


def flip(width: int) -> Float:
    """The affine that mirrors a picture of this width left to right."""
    return np.array([[-1, 0, width - 1], [0, 1, 0]], np.float32)


def discolour(image: Image, rng: np.random.Generator) -> Image:
    """The picture in other light: gain, offset and tint; sometimes noise or blur."""
    tint = rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    table = np.arange(256)[:, None, None] * tint + rng.uniform(-12, 12)
    light = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8))
    if rng.random() < 0.1:
        noise = rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(1, 6))
        light = cv2.add(light, noise, dtype=cv2.CV_8U)  # clips
    if rng.random() < 0.1:
        light = cv2.GaussianBlur(light, (3, 3), rng.uniform(0.3, 1.0))
    return light.astype(np.uint8, copy=False)


def warp(image: Image, affine: Float, size_wh: tuple[int, int], border: int) -> Image:
    """The picture moved by affine as the product does it, grey level border around it."""
    warped = cv2.warpAffine(
        image, affine, size_wh, flags=cv2.INTER_LINEAR, borderValue=(border,) * 3
    )
    return warped.astype(np.uint8)


# ---- detector -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DetectorSample:
    """image uint8 (h * 4, w * 4, 3); the rest float32 on the grid (h, w).

    centres: 1 at the cell of a box centre, falling off around it. counted: 0 where a person is
    too hidden or too small to ask for, 1 elsewhere. edges (4, h, w): the targets of ``sizes``,
    valid where share is not 0; share sums to 1 for every person.
    """

    image: Image
    centres: Float
    counted: Float
    edges: Float
    share: Float


def detector_sample(
    source: Render, rng: np.random.Generator, size_wh: tuple[int, int] = DETECTOR_WH
) -> DetectorSample:
    """An augmented frame with its targets.

    In full size half of the frames are only letterboxed and mirrored; a smaller size_wh shows a
    part of the frame, people at half to full size.
    """
    height, width = source.image.shape[:2]
    affine = geometry.letterbox((width, height), DETECTOR_WH)
    if size_wh != DETECTOR_WH:
        affine = _zoom(affine, (width, height), size_wh, (0.5, 1.0), rng)
    elif rng.random() < 0.5:
        affine = _zoom(affine, (width, height), size_wh, (0.7, 1.6), rng)
    if rng.random() < 0.5:
        affine = chain(affine, flip(width))
    image = discolour(warp(source.image, affine, size_wh, GREY), rng)
    whole = np.array([[0, 0, width - 1, height - 1]], np.float32)
    inside = geometry.clip_boxes(moved(whole, affine), size_wh)[0]
    _pad(image, inside)
    boxes = moved(source.boxes_xyxy, affine)
    return DetectorSample(image, *detector_targets(boxes, source.visible_share, inside, size_wh))


def _pad(image: Image, inside_xyxy: Float) -> None:
    """Paint what lies outside grey: the padding is the same in any light."""
    x0, y0, x1, y1 = np.round(inside_xyxy).astype(int)
    for part in (image[:y0], image[y1 + 1 :], image[:, :x0], image[:, x1 + 1 :]):
        part[:] = GREY


def _zoom(
    letterbox: Float,
    frame_wh: tuple[int, int],
    size_wh: tuple[int, int],
    between: tuple[float, float],
    rng: np.random.Generator,
) -> Float:
    """Frame to input: the letterbox scaled by a factor between these and shifted at random, so
    that a part of the frame is seen."""
    scale = float(np.exp(rng.uniform(*np.log(between))))
    frame = geometry.apply(letterbox, np.array([frame_wh], np.float32))[0] * scale
    room = np.array(size_wh) - frame
    shift = rng.uniform(np.minimum(room, 0) - 10, np.maximum(room, 0) + 10)
    return chain(np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32), letterbox)


def detector_targets(
    boxes_xyxy: Float, visible_share: Float, inside_xyxy: Float, size_wh: tuple[int, int]
) -> tuple[Float, Float, Float, Float]:
    """centres, counted, edges and share (see DetectorSample) of boxes in network pixels.

    Boxes are cut at inside_xyxy, the part of the input that shows the frame. A person of whom
    too little is left (share seen below 0.45, box below 5 x 8 pixels) is neither asked for nor
    forbidden.
    """
    cut = np.clip(boxes_xyxy, np.tile(inside_xyxy[:2], 2), np.tile(inside_xyxy[2:], 2))
    seen = visible_share * geometry.areas(cut) / np.maximum(geometry.areas(boxes_xyxy), 1e-6)
    asked = (seen >= 0.45) & (cut[:, 2:] - cut[:, :2] >= (5, 8)).all(1)
    maps = bumps(cut, size_wh)
    centres = maps[asked].max(0, initial=0)
    counted = ~(maps[~asked] > 0.1).any(0) | (centres > 0.5)
    order = np.flatnonzero(asked)
    order = order[np.argsort(seen[order])]  # who is seen best is written last
    edges, share = box_maps(cut[order], maps[order], size_wh)
    return centres, counted.astype(np.float32), edges, share


# ---- pose ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoseSample:
    """crop uint8 (h * 4, w * 4, 3); heatmaps float32 (17, h, w), 0 for joints outside the frame."""

    crop: Image
    heatmaps: Float


def pose_sample(
    source: Render, person: int, rng: np.random.Generator, size_wh: tuple[int, int] = POSE_WH
) -> PoseSample:
    """An augmented crop of one person of a frame with its targets."""
    affine = _crop_affine(source.boxes_xyxy[person], size_wh, rng)
    joints, peaks = source.joints_xy[person], target_peaks(source, person)
    if rng.random() < 0.5:
        affine = chain(flip(size_wh[0]), affine)
        joints, peaks = joints[MIRROR], peaks[MIRROR]
    crop = discolour(warp(source.image, affine, size_wh, 0), rng)
    return PoseSample(crop, pose_targets(geometry.apply(affine, joints), peaks, size_wh))


def target_peaks(source: Render, person: int) -> Float:
    """How high (17,) the heatmaps of a person's joints should be: 1 for what is seen, OWN_PEAK
    and HIDDEN_PEAK for what is not, 0 outside the frame.

    The truth does not say what hides a joint; somebody of whom all is seen hides it himself.
    """
    joints = source.joints_xy[person]
    height, width = source.image.shape[:2]
    inside = ((joints > -0.5) & (joints < np.array([width, height]) - 0.5)).all(1)
    others = np.delete(source.boxes_xyxy, person, 0)[:, None]
    covered = ((joints >= others[..., :2]) & (joints <= others[..., 2:])).all(2).any(0)
    covered |= source.visible_share[person] < 0.97
    hidden = np.where(covered | (np.arange(JOINT_COUNT) < 5), HIDDEN_PEAK, OWN_PEAK)
    peaks: Float = (np.where(source.visible[person], 1.0, hidden) * inside).astype(np.float32)
    return peaks


def _crop_affine(box_xyxy: Float, size_wh: tuple[int, int], rng: np.random.Generator) -> Float:
    """Frame to crop for one box (4,), as at run time but jittered: shift, +-30 % size, rotation."""
    centre, size = (box_xyxy[:2] + box_xyxy[2:]) / 2, box_xyxy[2:] - box_xyxy[:2]
    if rng.random() < 0.8:  # the rest stays exact
        centre = centre + rng.uniform(-0.1, 0.1, 2) * size
        size = size * rng.uniform(0.7, 1.3)
    box = np.concatenate([centre - size / 2, centre + size / 2])[None].astype(np.float32)
    affine: Float = geometry.boxes_to_crop(geometry.crop_boxes(box, size_wh), size_wh)[0]
    if rng.random() < 0.3:
        middle = ((size_wh[0] - 1) / 2, (size_wh[1] - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, rng.uniform(-20, 20), 1.0)
        affine = chain(turn.astype(np.float32), affine)
    return affine


def pose_targets(joints_xy: Float, peaks: Any, size_wh: tuple[int, int] = POSE_WH) -> Float:
    """Heatmaps (17, h / 4, w / 4) of joints (17, 2) in pixels of a crop (w, h), peaks (17,)."""
    maps = gaussians((joints_xy + 0.5) / STRIDE - 0.5, SIGMA, size_wh)
    return maps * np.asarray(peaks, np.float32)[:, None, None]
