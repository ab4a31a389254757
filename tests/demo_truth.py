"""The truth of the demo scene as the poses of a perfect network, and with its mistakes put in."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtime.records import Float, Poses
from realtime.scene import Scene

RATE = 30.0
SIZE_WH = (320, 180)
"""Small, because the scene is rendered for its truth; joints are exact at any size."""
SEEN, HIDDEN = 0.9, 0.4
"""Scores of joints that are visible and of those that are not: these a network guesses."""
FOUND = 6
"""Visible joints from which a person is found at all."""


@lru_cache
def perfect(seed: int, frames: int = 120, rate: float = RATE) -> tuple[Poses, ...]:
    """The people of the first frames of a scene; ids are the true ones."""
    scene = Scene(seed, frames, SIZE_WH, rate)
    return tuple(_poses(scene, index) for index in range(frames))


def _poses(scene: Scene, index: int) -> Poses:
    truth = scene.truth(index)
    scores = np.where(truth.visible, SEEN, HIDDEN).astype(np.float32)
    poses = Poses(truth.joints_xy, scores, truth.boxes_xyxy, scores.mean(1), truth.ids)
    return poses[truth.visible.sum(1) >= FOUND]


def sizes(poses: Poses) -> Float:
    """The longer side of each box."""
    return np.asarray((poses.boxes_xyxy[:, 2:] - poses.boxes_xyxy[:, :2]).max(1), np.float32)


def noisy(poses: Poses, rng: np.random.Generator, share: float) -> Poses:
    """With Gaussian noise on every joint: its standard deviation is so much of the person's size,
    three times as much for joints that are not visible."""
    noise = rng.normal(0, 1, poses.joints_xy.shape) * share * sizes(poses)[:, None, None]
    noise *= np.where(poses.joint_scores == np.float32(SEEN), 1, 3)[..., None]
    joints = (poses.joints_xy + noise).astype(np.float32)
    return Poses(joints, poses.joint_scores, poses.boxes_xyxy, poses.scores, poses.ids)
