"""Metres from pixels, by how tall somebody is: for movement in one plane that faces the camera.

One scale for the whole recording. Nobody is nearer or farther for it than the plane, and the camera
is level; what moves out of the plane is too short.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.skeleton import JOINTS

Floats = NDArray[np.float64]

CHAIN = 0.75
"""From shoulder over hip and knee to ankle, as a share of how tall somebody is. Tables have 0.78 to
the tip of the shoulder (Winter, Biomechanics and Motor Control of Human Movement, figure 4.1); the
labels of 99 upright people in COCO's training set have 0.72 of their boxes (quartiles 0.68 and
0.74), in which hair, shoes and toes are."""
ANKLE = 0.039
"""How high the ankle is above the floor, as a share of how tall somebody is (the same figure)."""
LOWEST = 99
"""Percentile of all ankles that is taken for that of a foot on the floor."""
_PARTS = ("shoulder", "hip", "knee", "ankle")
_CHAINS = [[JOINTS.index(f"{side}_{part}") for part in _PARTS] for side in ("left", "right")]
_ANKLES = [chain[-1] for chain in _CHAINS]


@dataclass(frozen=True, slots=True)
class Scale:
    """metres: of a pixel. floor: y of the floor in pixels. spread: how far the scales of single
    frames are from it, the middle half of them, as a share."""

    metres: float
    floor: float
    spread: float

    def __call__(self, points: Floats) -> Floats:
        """x, y in pixels (..., 2) as metres: x right from the left edge of the picture, y up from
        the floor."""
        return (points - [0.0, self.floor]) * [self.metres, -self.metres]


def measure(points: Floats, height: float) -> Scale:
    """The scale of a person of this height (metres) with the joints (T, 17, 2), nan where they are
    not known. Each part of the body has the median of its length over both sides and all frames.
    Raises ValueError where one is never seen."""
    bones = np.linalg.norm(np.diff(points[:, _CHAINS], axis=2), axis=3)  # T, side, part
    if not np.isfinite(bones).any((0, 1)).all():
        raise ValueError("no frame shows shoulder, hip, knee and ankle, which --height is taken of")
    tall = float(np.nanmedian(bones, (0, 1)).sum()) / CHAIN
    if not tall > 0:
        raise ValueError("somebody without a length cannot be measured for --height")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without a whole side
        each = np.nanmean(bones.sum(2), 1)
    each = each[np.isfinite(each)] / (tall * CHAIN)
    low, high = np.percentile(each, [25, 75]) if len(each) else (1.0, 1.0)
    lowest = float(np.nanpercentile(points[:, _ANKLES, 1], LOWEST))
    return Scale(height / tall, lowest + ANKLE * tall, float(max(1 - low, high - 1)))
