"""Angles at the joints, from the picture.

The angle at a joint is the one between its two bones, in degrees from 0 to 180; 180 is straight.
Knee: hip, knee, ankle. Hip: shoulder, hip, knee. Elbow: shoulder, elbow, wrist. Shoulder: hip,
shoulder, elbow (0 with the arm along the trunk). They are angles of the picture: right for
movement in a plane facing the camera, too small or too large otherwise.
"""

from __future__ import annotations

import numpy as np

from realtime.records import Float, Poses
from realtime.skeleton import JOINTS

LEAST_SCORE = 0.3
"""An angle is given when its three joints are at least this sure."""

_BONES = {
    "elbow": ("shoulder", "elbow", "wrist"),
    "shoulder": ("hip", "shoulder", "elbow"),
    "hip": ("shoulder", "hip", "knee"),
    "knee": ("hip", "knee", "ankle"),
}
ANGLES = tuple(f"{side}_{name}" for name in _BONES for side in ("left", "right"))
"""Names of the eight angles; each is at the joint of that name."""
AT_JOINT = tuple(JOINTS.index(name) for name in ANGLES)
_TRIPLES = np.array(
    [
        [JOINTS.index(f"{side}_{joint}") for joint in bones]
        for bones in _BONES.values()
        for side in ("left", "right")
    ]
)


def joint_angles(poses: Poses, least_score: float = LEAST_SCORE, aspect: float = 1.0) -> Float:
    """Degrees, float32 (N, 8), in the order of ANGLES. aspect: width of a pixel by its height.

    nan where one of the three joints scores below least_score or a bone has no length.
    """
    points = poses.joints_xy.astype(np.float64)[:, _TRIPLES] * (aspect, 1)  # N, 8, 3, 2
    first, second = points[:, :, 0] - points[:, :, 1], points[:, :, 2] - points[:, :, 1]
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    angles = np.degrees(np.arctan2(np.abs(cross), (first * second).sum(-1)))
    known = (poses.joint_scores[:, _TRIPLES] >= least_score).all(-1)
    known &= first.any(-1) & second.any(-1)
    return np.where(known, angles, np.nan).astype(np.float32)
