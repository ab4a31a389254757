"""The bodies of the demo scene: bones in metres, walks and gestures.

Body frame: forward f, left l, up u, with the ground at u = 0 and the pelvis above the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from realtime.scene.paint import Points
from realtime.skeleton import JOINT_COUNT

# Points of a body beyond the 17 joints of COCO.
NECK, PELVIS, HEAD, HAND_L, HAND_R, HEEL_L, HEEL_R, TOE_L, TOE_R = range(17, 26)
POINT_COUNT = JOINT_COUNT + 9

# A pose is a flat vector, so that two poses blend by a weighted sum.
HIP, SPREAD, KNEE = slice(0, 2), slice(2, 4), slice(4, 6)  # radians, left and right leg
ARMS = slice(6, 18)  # directions (forward, outward, up): upper left, lower left, then right
LEAN, TWIST, LOOK, NOD = 18, 19, 20, 21  # radians: trunk forward, shoulders, head left, head up
POSE_SIZE = 22

GESTURES = (
    "stand", "wave", "wave_left", "cheer", "hips", "phone", "crossed",
    "stretch", "squat", "jacks", "march", "clap", "point",
)  # fmt: skip

_REST = (0.06, 0.16, -1.0), (0.25, 0.02, -1.0)
_ARMS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hips": ((-0.25, 0.75, -0.8), (0.5, -0.75, -0.35)),
    "phone": ((0.4, 0.25, -0.9), (0.25, -0.2, 0.95)),
    "crossed": ((0.35, 0.2, -0.95), (0.6, -0.9, 0.1)),
    "point": ((0.5, 0.85, 0.05), (0.4, 0.9, 0.1)),
}


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions of one body. height in metres; the rest are factors around 1."""

    height: float
    shoulders: float
    hips: float
    bulk: float
    legs: float
    head: float
    pace: float  # steps of a walk, faster or slower
    swing: float  # how far arms and legs swing


def ease(share: float) -> float:
    """0 before 0, 1 after 1, smooth between."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)


def gait(speed: float, build: Build, walked: float, phase: float) -> Points:
    """A walk, or a run from about 2.2 m/s; walked is in metres."""
    run = ease((speed - 1.8) / 0.8)
    legs = build.height * 0.53
    stride = legs * (1.45 + 0.75 * run) * build.pace
    cycle = 2 * pi * walked / stride + phase
    pose = np.zeros(POSE_SIZE)
    for side, at in enumerate((cycle, cycle + pi)):
        pose[HIP][side] = (0.42 + 0.18 * run) * build.swing * sin(at) + 0.06 + 0.12 * run
        lift = max(0.0, cos(at - 0.3)) ** 1.5
        pose[KNEE][side] = 0.1 + 0.15 * run + (0.95 + 0.7 * run) * lift
        pose[SPREAD][side] = 0.02
        swing = -(0.45 + 0.25 * run) * build.swing * sin(at)
        bend = 0.2 + 1.25 * run + 0.25 * max(0.0, swing)
        start = 6 + 6 * side
        pose[start : start + 6] = (
            sin(swing), 0.14 + 0.1 * run, -cos(swing),
            sin(swing + bend), -0.04 - 0.2 * run, -cos(swing + bend),
        )  # fmt: skip
    pose[LEAN] = 0.03 + 0.12 * run
    pose[TWIST] = 0.12 * build.swing * sin(cycle)
    return pose


def gesture(name: str, time: float) -> Points:
    """A pose on the spot at this time in seconds; see GESTURES."""
    pose = np.zeros(POSE_SIZE)
    beat = sin(2 * pi * 1.5 * time)
    sway = sin(1.3 * time)
    pose[SPREAD] = 0.05
    pose[HIP] = 0.03 * sway, -0.03 * sway
    pose[KNEE] = 0.05
    pose[LOOK], pose[NOD] = 0.25 * sin(0.9 * time), 0.05 * sin(1.7 * time)
    left = right = _ARMS.get(name, _REST)
    wave = (0.12, 0.75, 0.35 + 0.08 * beat), (0.15, 0.15 + 0.5 * beat, 1.0)
    if name == "wave":
        right, left = wave, _REST
    elif name == "wave_left":
        left, right = wave, _REST
    elif name in ("phone", "point"):
        left = _REST
    elif name == "cheer":
        left = right = ((0.1, 0.5, 0.9), (0.1, 0.12 + 0.25 * beat, 1.0))
    elif name == "stretch":
        left = right = ((0.05, 1.0, 0.1 + 0.3 * sway), (0.0, 1.0, 0.1 + 0.35 * sway))
    elif name == "clap":
        left = right = ((0.5, 0.25, -0.75), (0.9, -0.3 + 0.3 * beat, 0.4))
    elif name in ("squat", "jacks", "march"):
        left = right = _exercise(name, time, pose)
    pose[ARMS] = np.array([left, right]).ravel()
    return pose


def _exercise(
    name: str, time: float, pose: Points
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Sets legs and trunk of an exercise in pose; returns the directions of both arms."""
    down = 0.5 - 0.5 * cos(2 * pi * 0.45 * time)
    if name == "squat":
        pose[HIP], pose[KNEE], pose[LEAN] = 0.05 + 1.25 * down, 0.08 + 1.9 * down, 0.55 * down
        pose[SPREAD] = 0.18
        return (0.2 + 0.9 * down, 0.1, -1 + down), (0.3 + 0.8 * down, 0.0, -1 + down)
    if name == "jacks":
        out = 0.5 - 0.5 * cos(2 * pi * 0.9 * time)
        pose[SPREAD] = 0.04 + 0.36 * out
        angle = 0.15 + 2.6 * out
        return (0.05, sin(angle), -cos(angle)), (0.1, sin(angle + 0.2), -cos(angle + 0.2))
    for side, at in enumerate((0.0, pi)):
        up = max(0.0, sin(2 * pi * 0.8 * time + at))
        pose[HIP][side], pose[KNEE][side] = 1.3 * up, 1.6 * up
    return (0.3 * sin(5 * time), 0.2, -1.0), (0.9, 0.0, -0.3)


def skeleton(build: Build, pose: Points) -> Points:
    """Body points (26, 3) in the body frame, the lower foot on the ground, in metres."""
    tall = build.height
    thigh, shin = 0.245 * tall * build.legs, 0.24 * tall * build.legs
    trunk = tall * (0.815 - 0.53 - 0.485 * (build.legs - 1))
    points = np.zeros((POINT_COUNT, 3))
    lean = np.array([sin(pose[LEAN]), 0.0, cos(pose[LEAN])])
    points[NECK] = lean * trunk
    points[HEAD] = lean * trunk + _head_offset(tall, pose)
    across = np.array([-sin(pose[TWIST]), cos(pose[TWIST]), 0.0])
    for side, sign in enumerate((1.0, -1.0)):
        shoulder = (
            points[NECK] - lean * 0.022 * tall + sign * across * 0.104 * tall * build.shoulders
        )
        _arm(points, side, sign, shoulder, tall, pose)
        hip = np.array([0.0, sign * 0.058 * tall * build.hips, 0.0])
        _leg(points, side, sign, hip, (thigh, shin, tall), pose)
    _face(points, tall * build.head, pose)
    soles = np.concatenate([points[15:17, 2] - 0.045 * tall, points[HEEL_L : TOE_R + 1, 2]])
    points[:, 2] -= soles.min() - 0.012 * tall
    return points


def _head_offset(tall: float, pose: Points) -> Points:
    bow = pose[LEAN] * 0.6 - 0.3 * pose[NOD]
    return np.array([0.012 + 0.107 * sin(bow), 0.0, 0.107 * cos(bow)]) * tall


def _arm(
    points: Points, side: int, sign: float, shoulder: Points, tall: float, pose: Points
) -> None:
    way = pose[ARMS].reshape(2, 2, 3)[side] * (1.0, sign, 1.0)
    way = way / np.linalg.norm(way, axis=1, keepdims=True)
    points[5 + side] = shoulder
    points[7 + side] = shoulder + way[0] * 0.168 * tall
    points[9 + side] = points[7 + side] + way[1] * 0.15 * tall
    points[HAND_L + side] = points[9 + side] + way[1] * 0.075 * tall


def _leg(
    points: Points,
    side: int,
    sign: float,
    hip: Points,
    sizes: tuple[float, float, float],
    pose: Points,
) -> None:
    thigh, shin, tall = sizes
    flex, spread = pose[HIP][side], pose[SPREAD][side]
    below = flex - pose[KNEE][side]
    points[11 + side] = hip
    points[13 + side] = hip + thigh * _down(flex, sign * spread)
    points[15 + side] = points[13 + side] + shin * _down(below, sign * spread)
    pitch = min(0.3, 0.7 * below)
    out = sign * 0.2
    toe = np.array([cos(pitch) * cos(out), cos(pitch) * sin(out), sin(pitch)])
    drop = np.array([sin(pitch), 0.0, -cos(pitch)]) * 0.028 * tall
    points[TOE_L + side] = points[15 + side] + toe * 0.095 * tall + drop
    points[HEEL_L + side] = points[15 + side] - toe * 0.028 * tall + drop


def _down(flex: float, spread: float) -> Points:
    return np.array([sin(flex), sin(spread) * cos(flex), -cos(flex) * cos(spread)])


FACE = np.array(
    [[0.067, 0.0, -0.004], [0.0525, 0.020, 0.011], [0.0525, -0.020, 0.011],
     [-0.004, 0.049, 0.0], [-0.004, -0.049, 0.0]]
)  # fmt: skip
"""Nose, eyes and ears (5, 3) around the centre of the head, as shares of the height."""


def _face(points: Points, size: float, pose: Points) -> None:
    look, nod = pose[LOOK], pose[NOD] - 0.4 * pose[LEAN]
    f, left, u = (FACE * size).T
    f, u = f * cos(nod) - u * sin(nod), f * sin(nod) + u * cos(nod)
    f, left = f * cos(look) - left * sin(look), f * sin(look) + left * cos(look)
    points[:5] = points[HEAD] + np.stack([f, left, u], 1)
