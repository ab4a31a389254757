"""What people wear: the colours of trunk and thighs, by which the tracker tells apart people who
are at the same place and knows again who comes back.

Colours are CIELAB (ISO/CIE 11664-4), whose differences are about as large as people see them;
lightness counts half, because people walk through shadows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Float, Image, Poses

SURE = 0.3
"""Score that the joints around a part must have for its colour to be known."""
ACROSS, DOWN = 4, 8
"""Points of the trunk that are looked at; of a thigh DOWN, along its middle."""
TRUNK = (5, 6, 11, 12)
THIGHS = (11, 13), (12, 14)
HIDDEN = 0.4
"""Share of trunk and thighs inside the box of somebody nearer from which their colour may be that
of the other person."""
SPREAD = 12.0, 8.0
"""How much the colour of trunk and of thighs of one person varies (standard deviation)."""


def looks(image: Image, poses: Poses) -> Float:
    """Colours (N, 2, 3) of trunk and thighs: half the lightness, and a and b of CIELAB.

    image: (H, W, 3) BGR. The median over the points of a part; NaN where its joints are not sure,
    or where somebody whose box ends lower in the picture, who is nearer, is in front.
    """
    if not len(poses):
        return np.zeros((0, 2, 3), np.float32)
    joints = poses.joints_xy
    points = np.concatenate([_trunk(joints), *(_thigh(joints, *pair) for pair in THIGHS)], 1)
    last = np.array([image.shape[1] - 1, image.shape[0] - 1])
    x, y = np.moveaxis(np.clip(np.rint(points), 0, last).astype(np.int64), 2, 0)
    lab = cv2.cvtColor(image[y, x].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    halves = np.split(np.asarray(lab) * np.array([0.5, 1, 1], np.float32), [ACROSS * DOWN], axis=1)
    colours = np.stack([np.median(part, 1) for part in halves], 1).astype(np.float32)
    for n, needed in enumerate((TRUNK, [joint for pair in THIGHS for joint in pair])):
        colours[poses.joint_scores[:, list(needed)].min(1) < SURE, n] = np.nan
    colours[_hidden(poses)] = np.nan
    return colours


def differences(a: Float, b: Float) -> Float:
    """How different every looks of a (T, 2, 3) is from every one of b (N, 2, 3): (T, N), half the
    mean square over the parts known of both, in units of SPREAD; 0 where none is."""
    apart = np.linalg.norm(a[:, None] - b[None], axis=3) / np.array(SPREAD, np.float32)
    known = np.isfinite(apart)
    total = np.where(known, apart, 0) ** 2
    result: Float = (total.sum(2) / np.maximum(known.sum(2), 1) / 2).astype(np.float32)
    return result


def _hidden(poses: Poses) -> NDArray[np.bool_]:
    """Behind whom (N,) there is somebody nearer."""
    joints = poses.joints_xy[:, [*TRUNK, *(knee for _, knee in THIGHS)]]
    parts = np.concatenate([joints.min(1), joints.max(1)], 1)
    bottom = poses.boxes_xyxy[:, 3]
    nearer = bottom[None] > bottom[:, None]
    inside = geometry.within(parts, poses.boxes_xyxy) > HIDDEN
    return np.asarray((inside & nearer).any(1), np.bool_)


def _trunk(joints: Float) -> NDArray[np.float64]:
    """Points (N, ACROSS * DOWN, 2) between shoulders and hips, not at the edges."""
    u = ((np.arange(ACROSS) + 1) / (ACROSS + 1))[:, None]
    v = ((np.arange(DOWN) + 0.5) / DOWN)[:, None, None]
    left, right, low_left, low_right = (joints[:, None, k] for k in TRUNK)
    top, bottom = left + u * (right - left), low_left + u * (low_right - low_left)
    grid = top[:, None] + v * (bottom - top)[:, None]
    return np.asarray(grid.reshape(len(joints), -1, 2), np.float64)


def _thigh(joints: Float, hip: int, knee: int) -> NDArray[np.float64]:
    """Points (N, DOWN, 2) along the middle of a thigh."""
    v = ((np.arange(DOWN) + 0.5) / DOWN)[:, None]
    return np.asarray(joints[:, None, hip] * (1 - v) + joints[:, None, knee] * v, np.float64)
