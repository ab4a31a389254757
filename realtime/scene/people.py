"""Drawing one person of the demo scene: parts sorted by depth, with the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from realtime.records import Image
from realtime.scene.body import HAND_L, HEAD, HEEL_L, NECK, PELVIS, TOE_L
from realtime.scene.cast import Camera
from realtime.scene.easel import Easel
from realtime.scene.motion import Mover
from realtime.scene.paint import Points
from realtime.scene.tailor import Outfit
from realtime.skeleton import JOINT_COUNT

# Longitude of nose, eyes and ears on the head, and the cosine of the turn away from the viewer
# at which they go out of sight; nose and ears stand out from the head.
_FACE_AT = np.array([0.0, 0.43, -0.43, 1.65, -1.65])
_FACE_TURNED = np.array([-0.15, 0.15, 0.15, -0.3, -0.3])


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawn person.

    pixels: premultiplied BGRA uint8 (h, w, 4) at corner_xy of the picture, also beyond its border.
    joints_xy: float64 (17, 2) in picture pixels. seen: bool (17,), not hidden by the own body.
    feet_xy: float64 (2, 2), the middles of both soles. scale: pixels per metre. distance in metres,
        from the camera.
    """

    pixels: Image
    corner_xy: tuple[int, int]
    joints_xy: Points
    seen: NDArray[np.bool_]
    feet_xy: Points
    scale: float
    distance: float


@dataclass(frozen=True, slots=True)
class _Part:
    """name for the truth, sprite to draw, from one point to the other; larger depth is nearer."""

    name: str
    sprite: str
    start: Points
    end: Points
    depth: float


def draw(mover: Mover, outfits: tuple[Outfit, ...], view: Camera, time: float) -> Figure:
    """Draw a person at this time; outfits are the same clothes at falling densities."""
    place = mover.place(time)
    body = mover.points(time)
    xy, scales = view.project(place, body)
    scale = float(scales[PELVIS])
    outfit = next((o for o in reversed(outfits) if o.density >= 0.8 * scale), outfits[0])
    margin = 0.17 * mover.build.height * scale + 2
    corner = np.floor(xy.min(0) - margin).astype(int)
    width, height = (np.ceil(xy.max(0) + margin).astype(int) - corner).tolist()
    easel = Easel(outfit, np.zeros((height, width, 4), np.uint8), xy[:JOINT_COUNT] - corner)
    trunk, head, nod = mover.view(time)
    parts = _parts(outfit, body, head)
    ends = view.project(place, np.array([[part.start, part.end] for part in parts]))[0] - corner
    for part, (start, end) in zip(parts, ends):
        if part.sprite == "torso":
            easel.torso(start, end, scale, trunk)
        elif part.sprite == "head":
            easel.head(start, float(scales[HEAD]), head, nod)
        else:
            easel.limb(part.name, part.sprite, start, end, view.focal / (place[1] - part.depth))
    seen = easel.own_on_top()
    seen[:5] &= np.cos(head + _FACE_AT) > _FACE_TURNED
    both = [5, 6, 11, 12]
    seen[both] &= body[both, 2] > body[PELVIS, 2] - 0.055 * mover.build.height
    return Figure(
        easel.pixels,
        (int(corner[0]), int(corner[1])),
        xy[:JOINT_COUNT],
        seen,
        (xy[HEEL_L:TOE_L] + xy[TOE_L:]) / 2,
        scale,
        place[1],
    )


def _parts(outfit: Outfit, body: Points, head: float) -> list[_Part]:
    """The parts of a body (26, 3), the farthest first."""
    tall = outfit.build.height
    forward = np.array([sin(head), 0.0, cos(head)])
    trunk = (body[NECK] + body[PELVIS]) / 2
    parts = [
        _Part("torso", "torso", body[NECK], body[PELVIS], trunk[2]),
        _Part("neck", "neck", body[NECK] - (0, 0.01 * tall, 0), body[HEAD], trunk[2] - 0.001),
        _Part("head", "head", body[HEAD], body[HEAD], body[HEAD][2] + 0.02),
    ]
    for side in (0, 1):
        parts += _side(body, side, tall)
    nose = body[0] - forward * 0.018 * tall + (0, 0.012 * tall, 0)
    if forward[2] > -0.3:
        parts.append(_Part("nose", "nose", nose, body[0] - (0, 0.004 * tall, 0), body[0][2] + 0.03))
    parts += _extras(outfit, body, forward)
    return sorted(parts, key=lambda part: part.depth)


def _side(body: Points, side: int, tall: float) -> list[_Part]:
    """Arm, leg and ear of one side."""

    def part(name: str, a: Points, b: Points, nearer: float = 0.0) -> _Part:
        return _Part(f"{name}{side}", name, a, b, float((a[2] + b[2]) / 2) + nearer)

    shoulder, elbow, wrist, hip, knee, ankle = body[5 + side : 17 : 2]
    ear = body[3 + side]
    out = 0.35 * (shoulder - body[6 - side])
    arm = 0.02 if abs(out[2]) < 0.05 else 0.3 * out[2]
    return [
        part("upper", shoulder, elbow, arm),
        part("fore", elbow, wrist, arm + 0.02),
        part("hand", wrist, body[HAND_L + side], arm + 0.01),
        part("thigh", hip, knee, -0.075 * tall),
        part("shin", knee, ankle, -0.08 * tall),
        part("shoe", body[HEEL_L + side], body[TOE_L + side], -0.07 * tall),
        _Part(
            "ear",
            "ear",
            ear + (0, 0.01 * tall, 0),
            ear - (0, 0.008 * tall, 0),
            _ear_depth(body, side),
        ),
    ]


def _ear_depth(body: Points, side: int) -> float:
    """Before the head where the ear is on the near side, else behind it."""
    across = body[3 + side][2] - body[4 - side][2]
    return float(body[HEAD][2] + 0.02 + (0.01 if across > 0 else -0.04))


def _extras(outfit: Outfit, body: Points, forward: Points) -> list[_Part]:
    """Skirt, backpack and hair that hangs."""
    tall, cut = outfit.build.height, outfit.style.haircut
    trunk = body[NECK] - body[PELVIS]
    across = body[5] - body[6]
    back = np.array([across[2], 0.0, -across[0]])
    back = -back / max(np.linalg.norm(back), 1e-6)
    back = -back if back @ forward > 0 else back
    parts = []
    if outfit.style.skirt:
        knees = (body[13] + body[14]) / 2
        top = body[PELVIS] + trunk * 0.14
        low = top + (knees - body[PELVIS]) * (outfit.style.skirt / 0.46)
        parts.append(_Part("skirt", "skirt", top, low, float(max(body[13][2], body[14][2])) + 0.02))
    if outfit.style.backpack:
        top = body[NECK] - trunk * 0.22 + back * 0.1 * tall
        low = body[NECK] - trunk * 0.75 + back * 0.1 * tall
        parts.append(_Part("pack", "pack", top, low, float((top[2] + low[2]) / 2)))
    behind = body[HEAD] - forward * 0.04 * tall
    down = np.array([0.0, tall, 0.0])
    if cut == "bun":
        bun = behind - forward * 0.028 * tall + down * 0.025
        parts.append(_Part("bun", "bun", bun, bun - down * 0.005, float(bun[2] + 0.02)))
    elif cut == "tail":
        tail = behind - forward * 0.03 * tall
        parts.append(_Part("tail", "tail", tail, tail - down * 0.11, float(tail[2] + 0.02)))
    elif cut == "long":
        mane = behind + forward * 0.01 * tall
        parts.append(
            _Part(
                "mane",
                "mane",
                mane,
                mane - down * 0.1,
                float(mane[2] - 0.03 + 0.06 * (forward[2] < 0)),
            )
        )
    return parts
