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
TRUNK = [5, 6, 11, 12]
THIGHS = (11, 13), (12, 14)
HIDDEN = 0.4
"""Share of trunk and thighs inside the box of somebody nearer from which their colour may be that
of the other person."""
SPREAD: Float = np.array([12.0, 8.0], np.float32)
"""How much the colour of trunk and of thighs of one person varies (standard deviation)."""

_WEIGHTS: Float = np.array([0.5, 1, 1], np.float32)
_U = ((np.arange(ACROSS) + 1) / (ACROSS + 1))[:, None]
_V = ((np.arange(DOWN) + 0.5) / DOWN)[:, None]
_LEGS = [joint for pair in zip(*THIGHS) for joint in pair]


def looks(image: Image, poses: Poses) -> Float:
    """Colours (N, 2, 3) of trunk and thighs: half the lightness, and a and b of CIELAB.

    image: (H, W, 3) BGR. The median over the points of a part; NaN where its joints are not sure,
    or where somebody whose box ends lower in the picture, who is nearer, is in front.
    """
    if not len(poses):
        return np.zeros((0, 2, 3), np.float32)
    joints = poses.joints_xy
    points = np.concatenate([_trunk(joints), _thighs(joints)], 1)
    last = np.array([image.shape[1] - 1, image.shape[0] - 1])
    at = np.minimum(np.maximum(np.rint(points), 0), last).astype(np.int64)
    lab = cv2.cvtColor(image[at[..., 1], at[..., 0]].astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    seen = np.asarray(lab, np.float32) * _WEIGHTS
    trunk, thighs = seen[:, : ACROSS * DOWN], seen[:, ACROSS * DOWN :]
    colours = np.stack([_median(trunk), _median(thighs)], 1)
    for n, needed in enumerate((TRUNK, _LEGS)):
        colours[poses.joint_scores[:, needed].min(1) < SURE, n] = np.nan
    if len(poses) > 1:
        colours[_hidden(poses)] = np.nan
    return colours


def prepare() -> None:
    """OpenCV makes the tables of its conversion at the first one, which takes 0.1 s: better done
    before a camera delivers."""
    cv2.cvtColor(np.zeros((1, 1, 3), np.float32), cv2.COLOR_BGR2LAB)


def differences(a: Float, b: Float) -> Float:
    """How different every looks of a (T, 2, 3) is from every one of b (N, 2, 3): (T, N), half the
    mean square over the parts known of both, in units of SPREAD; 0 where none is."""
    return difference(a[:, None], b[None])


def difference(a: Float, b: Float) -> Float:
    """The same of looks (..., 2, 3) that belong together: (...)."""
    apart = np.sqrt(((a - b) ** 2).sum(-1)) / SPREAD
    known = np.isfinite(apart)
    total = np.where(known, apart, 0) ** 2
    result: Float = (total.sum(-1) / np.maximum(known.sum(-1), 1) / 2).astype(np.float32)
    return result


def _median(colours: Float) -> Float:
    """The median (N, 3) of an even number of colours (N, K, 3); for so few np.median is slow."""
    half = colours.shape[1] // 2
    middle = np.partition(colours, (half - 1, half), 1)[:, half - 1 : half + 1]
    median: Float = ((middle[:, 0] + middle[:, 1]) / 2).astype(np.float32)
    return median


def _hidden(poses: Poses) -> NDArray[np.bool_]:
    """Behind whom (N,) there is somebody nearer."""
    joints = poses.joints_xy[:, [*TRUNK, *(knee for _, knee in THIGHS)]]
    parts = np.concatenate([joints.min(1), joints.max(1)], 1)
    boxes = poses.search_xyxy
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    inside = geometry.within(parts, boxes) > HIDDEN
    return np.asarray((inside & nearer).any(1), np.bool_)


def _trunk(joints: Float) -> NDArray[np.float64]:
    """Points (N, ACROSS * DOWN, 2) between shoulders and hips, not at the edges."""
    left, right, low_left, low_right = (joints[:, None, k] for k in TRUNK)
    top, bottom = left + _U * (right - left), low_left + _U * (low_right - low_left)
    grid = top[:, None] + _V[..., None] * (bottom - top)[:, None]
    return np.asarray(grid.reshape(len(joints), -1, 2), np.float64)


def _thighs(joints: Float) -> NDArray[np.float64]:
    """Points (N, 2 * DOWN, 2) along the middle of both thighs."""
    hips, knees = joints[:, _LEGS[:2], None], joints[:, _LEGS[2:], None]
    grid = hips * (1 - _V) + knees * _V
    return np.asarray(grid.reshape(len(joints), -1, 2), np.float64)
