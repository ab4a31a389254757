"""Where the strokes of people lie in a picture: the geometry of drawing, without drawing.

Everything is computed for all people at once and given in the 1/16 pixel integers that OpenCV
draws with, so that strokes move and grow smoothly from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.records import Poses
from realtime.skeleton import JOINT_COUNT, LEFT, LIMBS, RIGHT

Array = NDArray[Any]

FACE_JOINTS = 5  # nose, eyes, ears come first in COCO order
FACE_SHARE = 0.34  # how wide a stroke of the face is, of the person's limb width
SIZE_PER_WIDTH = 80  # a person of this many pixels has limbs one pixel wide
SURE = 0.8  # joint score from which limbs have their full width
CORE_FROM = 3.0  # narrowest limb, in pixels, that has room for a dark core
CORE_SHARE = 0.24  # of the limb
RING_FROM = 3.0  # smallest joint radius, in pixels, that has room for a hole
SHIFT = 4  # binary digits of the fraction: 1/16 pixel

LIMB_ENDS = np.array([(a, b) for a, b in LIMBS if (a < FACE_JOINTS) == (b < FACE_JOINTS)])
"""The limbs that are drawn, (L, 2): all but ear to shoulder, which would hide the neck."""

JOINT_IS_LEFT = np.isin(np.arange(JOINT_COUNT), LEFT)
JOINT_IS_RIGHT = np.isin(np.arange(JOINT_COUNT), RIGHT)
# A limb belongs to a side when one end does and no end to the other; nose to eye does.
LIMB_IS_LEFT = JOINT_IS_LEFT[LIMB_ENDS].any(1) & ~JOINT_IS_RIGHT[LIMB_ENDS].any(1)
LIMB_IS_RIGHT = JOINT_IS_RIGHT[LIMB_ENDS].any(1) & ~JOINT_IS_LEFT[LIMB_ENDS].any(1)

_A, _B = LIMB_ENDS.T
_SHARE = np.where(np.arange(JOINT_COUNT) < FACE_JOINTS, FACE_SHARE, 1.0)


@dataclass(frozen=True, slots=True)
class Visible:
    """People placed in a picture of size_wh: the geometry that everything drawn shares.

    joints_xy: float64 (N, 17, 2), mirrored already; shown: bool (N, 17).
    sure: float64 (N, 17), 0 for a joint just good enough to be shown, 1 for a sure one.
    boxes_xyxy: float64 (N, 4), mirrored and cut at the picture's border.
    sizes: float64 (N,), longer side of the box in pixels, at most 1.5 times the shorter side of
        the picture.
    """

    joints_xy: Array
    shown: Array
    sure: Array
    boxes_xyxy: Array
    sizes: Array

    @property
    def widths(self) -> Array:
        """Limb widths (N,) in pixels, at least 1."""
        return np.maximum(self.sizes / SIZE_PER_WIDTH, 1.0)

    @property
    def rims(self) -> Array:
        """Widths (N,) in pixels of the dark outline around limbs and joints, at least 1."""
        return np.maximum(self.widths * 0.3, 1.0)


def place(poses: Poses, size_wh: tuple[int, int], min_joint_score: float, mirror: bool) -> Visible:
    """People as they will be drawn in a picture of size_wh, flipped left to right if mirror.

    Joints with a score under min_joint_score, or that are not finite, are hidden.
    """
    joints = poses.joints_xy.astype(np.float64)
    boxes = poses.boxes_xyxy.astype(np.float64)
    if mirror:
        joints[..., 0] = size_wh[0] - 1 - joints[..., 0]
        boxes[:, [0, 2]] = size_wh[0] - 1 - boxes[:, [2, 0]]
    shown = (poses.joint_scores >= min_joint_score) & np.isfinite(joints).all(-1)
    span = max(SURE - min_joint_score, 1e-6)
    sure = np.clip((np.where(shown, poses.joint_scores, 0) - min_joint_score) / span, 0, 1)
    boxes = np.clip(np.nan_to_num(boxes), -1e6, 1e6)
    longest = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    sizes = np.clip(longest, 1, 1.5 * min(size_wh))
    boxes = np.clip(boxes, 0, np.array([*size_wh, *size_wh]) - 1.0)
    return Visible(np.where(shown[..., None], joints, 0), shown, sure, boxes, sizes)


@dataclass(frozen=True, slots=True)
class Limbs:
    """Tapering bars, one for each of LIMB_ENDS.

    drawn, cored: bool (N, L). outline, fill, core: int32 (N, L, 4, 2), corners in 1/16 pixel.
    sure: float64 (N, L), of the less sure end.
    """

    drawn: Array
    cored: Array
    outline: Array
    fill: Array
    core: Array
    sure: Array


def limbs_of(people: Visible, size_wh: tuple[int, int]) -> Limbs:
    """Limbs between shown joints, cut a little outside the picture."""
    half = people.widths[:, None] * _SHARE * (0.5 + 0.5 * people.sure) / 2
    rim = people.rims[:, None]
    start, end = people.joints_xy[:, _A], people.joints_xy[:, _B]
    t0, t1 = clip_segments(start, end, 4 * people.widths.max(initial=1.0) + 4, size_wh)
    along, slope = end - start, half[:, _B] - half[:, _A]
    end, half_b = start + t1[..., None] * along, half[:, _A] + t1 * slope
    start, half_a = start + t0[..., None] * along, half[:, _A] + t0 * slope
    drawn = people.shown[:, _A] & people.shown[:, _B] & (t0 <= t1)
    side = np.where(drawn[..., None], _unit_normal(start, end), 0)
    return Limbs(
        drawn,
        drawn & LIMB_IS_RIGHT & (2 * np.minimum(half_a, half_b) >= CORE_FROM),
        _bars(start, end, side, half_a + rim, half_b + rim),
        _bars(start, end, side, half_a, half_b),
        _bars(start, end, side, half_a * CORE_SHARE, half_b * CORE_SHARE),
        np.minimum(people.sure[:, _A], people.sure[:, _B]),
    )


@dataclass(frozen=True, slots=True)
class Dots:
    """Discs, one for each joint, and the holes that make rings of those on the right.

    drawn, holed: bool (N, 17). centre: int32 (N, 17, 2) and outline, fill, hole: int32 (N, 17),
    radii, all in 1/16 pixel.
    """

    drawn: Array
    holed: Array
    centre: Array
    outline: Array
    fill: Array
    hole: Array


def dots_of(people: Visible, size_wh: tuple[int, int]) -> Dots:
    """Shown joints that reach into the picture; those of the face only where there is room."""
    radius = people.widths[:, None] * _SHARE * (0.55 + 0.4 * people.sure)
    outline = radius + people.rims[:, None]
    reach = outline[..., None]
    near = (people.joints_xy > -reach) & (people.joints_xy < np.array(size_wh) + reach)
    room = (radius >= 1.0) | (_SHARE == 1.0)
    drawn = people.shown & near.all(-1) & room
    return Dots(
        drawn,
        drawn & JOINT_IS_RIGHT & (radius >= RING_FROM),
        _fixed(people.joints_xy),
        _fixed(outline),
        _fixed(radius),
        _fixed(radius * 0.5),
    )


def clip_segments(
    start: Array, end: Array, margin: float, size_wh: tuple[int, int]
) -> tuple[Array, Array]:
    """Where segments (..., 2) enter and leave the picture grown by margin, each (...) in 0..1.

    Segments that stay outside have enter > leave (Liang and Barsky, "A new concept and method
    for line clipping", 1984). cv2 takes 32-bit coordinates only; these may be of any size.
    """
    low, high = -margin, np.array(size_wh) + margin
    along = end - start
    still = abs(along) < 1e-9  # pixels
    step = np.where(still, 1.0, along)
    to_low, to_high = (low - start) / step, (high - start) / step
    inside = (start >= low) & (start <= high)
    enter = np.where(still, np.where(inside, 0.0, 2.0), np.minimum(to_low, to_high))
    leave = np.where(still, 1.0, np.maximum(to_low, to_high))
    return np.clip(enter.max(-1), 0, 2), np.clip(leave.min(-1), -1, 1)


def _unit_normal(start: Array, end: Array) -> Array:
    along = end - start
    length = np.hypot(along[..., 0], along[..., 1])[..., None]
    normal: Array = np.stack([-along[..., 1], along[..., 0]], -1) / np.maximum(length, 1e-9)
    return normal


def _bars(start: Array, end: Array, side: Array, half_a: Array, half_b: Array) -> Array:
    """Corners (..., 4, 2), given half the widths (...) at both ends and the unit normals."""
    # An anti-aliased polygon comes out half a pixel larger on each side than its corners say.
    a = np.maximum(half_a - 0.5, 0)[..., None] * side
    b = np.maximum(half_b - 0.5, 0)[..., None] * side
    return _fixed(np.stack([start + a, end + b, end - b, start - a], -2))


def _fixed(values: Array) -> Array:
    """Pixels as the 1/16 pixel integers that cv2 takes with shift=SHIFT."""
    fixed: Array = np.rint(np.clip(values, -1e6, 1e6) * (1 << SHIFT)).astype(np.int32)
    return fixed
