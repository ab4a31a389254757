"""Drawing one person of the demo scene: parts sorted by depth, with the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image
from realtime.scene_cast import Camera
from realtime.scene_motion import (
    HAND_L,
    HEAD,
    HEEL_L,
    NECK,
    PELVIS,
    TOE_L,
    Mover,
    Points,
)  # fmt: skip
from realtime.scene_paint import Light, paste, premultiplied, stroke, warped
from realtime.scene_tailor import Outfit
from realtime.skeleton import JOINT_COUNT

# Names of the parts that a joint is part of: where one of them is on top, the joint is seen.
_OWN: tuple[tuple[str, ...], ...] = (
    *[("head", "nose")] * 3,
    *[("head", "ear")] * 2,
    *[("torso", f"upper{s}") for s in (0, 1)],
    *[(f"upper{s}", f"fore{s}") for s in (0, 1)],
    *[(f"fore{s}", f"hand{s}") for s in (0, 1)],
    *[("torso", "skirt", f"thigh{s}") for s in (0, 1)],
    *[(f"thigh{s}", f"shin{s}", "skirt") for s in (0, 1)],
    *[(f"shin{s}", f"shoe{s}") for s in (0, 1)],
)
# Longitude of nose, eyes and ears on the head, and the cosine of the turn away from the viewer
# at which they go out of sight; nose and ears stand out from the head.
_FACE_AT = np.array([0.0, 0.43, -0.43, 1.65, -1.65])
_FACE_TURNED = np.array([-0.15, 0.15, 0.15, -0.3, -0.3])
_HEAD_RADII = np.array([0.059, 0.049, 0.069])  # forward, left, up; shares of the height


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
    easel = _Easel(outfit, np.zeros((height, width, 4), np.uint8), xy[:JOINT_COUNT] - corner)
    trunk, head, nod = mover.view(time)
    parts = _parts(outfit, body, head)
    ends = view.project(place, np.array([[part.start, part.end] for part in parts]))[0] - corner
    for part, (start, end) in zip(parts, ends):
        if part.sprite == "torso":
            easel.torso(start, end, scale, trunk)
        elif part.sprite == "head":
            easel.head(start, float(scales[HEAD]), head, nod)
        else:
            easel.limb(part, start, end, view.focal / (place[1] - part.depth))
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


@dataclass
class _Easel:
    """A canvas, and which part is on top at each joint (17, 2) in canvas pixels."""

    outfit: Outfit
    pixels: Image
    joints: Points

    def __post_init__(self) -> None:
        self._top = [""] * JOINT_COUNT
        self._at = np.rint(self.joints).astype(int).tolist()

    def limb(self, part: _Part, start: Points, end: Points, scale: float) -> None:
        """Draw a limb between two canvas points, scale in pixels per metre."""
        sprite = self.outfit.limbs[part.sprite]
        self._note(part.name, *stroke(self.pixels, sprite, start, end, scale))

    def torso(self, neck: Points, pelvis: Points, scale: float, heading: float) -> None:
        """Draw the trunk: its texture wrapped around a body that is wider than it is deep."""
        build, texture = self.outfit.build, self.outfit.torso
        tall = build.height
        rows = texture.shape[0]
        down = (np.arange(rows, dtype=np.float32) + 0.5) / rows
        half = _trunk_radius(down, self.outfit, heading)
        wide = float(half.max())
        columns = max(6, round(2 * wide * self.outfit.density))
        x = ((np.arange(columns, dtype=np.float32) + 0.5) / columns * 2 - 1) * wide
        across = np.clip(x / half[:, None], -1, 1).astype(np.float32)
        lon = np.arcsin(np.clip(x / wide, -1, 1)) - heading
        column = (((lon / (2 * pi) + 0.5) % 1) * texture.shape[1]).astype(int) % texture.shape[1]
        alpha = np.clip((half[:, None] - np.abs(x)) * self.outfit.density + 0.5, 0, 1)
        alpha *= np.clip((1 - down) / 0.05, 0, 1)[:, None]  # no edge on the thighs
        colour = texture[:, column] * self.outfit.light.shade(across)[..., None]
        pixels = premultiplied(colour, alpha)
        along = pelvis - neck
        seen = max(float(np.hypot(*along)), 1e-3)
        way = along / seen
        top, low = neck - way * 0.025 * tall * scale, pelvis + way * 0.045 * tall * scale
        step_x = np.array([way[1], -way[0]]) * (2 * wide * scale / columns)
        step_y = (low - top) / rows
        corner = top - step_x * (columns / 2) + 0.5 * (step_x + step_y)
        affine = np.stack([step_x, step_y, corner], 1)
        self._lay("torso", *warped(pixels, affine))

    def head(self, centre: Points, scale: float, heading: float, nod: float) -> None:
        """Draw the head: skin and, a little larger, hair, as textured ellipsoids."""
        radii = _HEAD_RADII * self.outfit.build.height * self.outfit.build.head * scale
        light = self.outfit.light
        for texture, grow in ((self.outfit.skin, 1.0), (self.outfit.hair, 1.1)):
            pixels, x, y = _ellipsoid(texture, centre, radii * grow, heading, nod, light)
            self._lay("head", pixels, x, y)

    def _lay(self, name: str, pixels: Image, x: int, y: int) -> None:
        paste(self.pixels, pixels, x, y)
        self._note(name, pixels, x, y)

    def _note(self, name: str, pixels: Image, x: int, y: int) -> None:
        """Remember the joints that these pixels, just laid at this corner, now cover."""
        height, width = pixels.shape[:2]
        for joint, (joint_x, joint_y) in enumerate(self._at):
            inside = 0 <= joint_x - x < width and 0 <= joint_y - y < height
            if inside and pixels[joint_y - y, joint_x - x, 3] > 127:
                self._top[joint] = name

    def own_on_top(self) -> NDArray[np.bool_]:
        """Whether the part on top at each joint is one that the joint belongs to (17,)."""
        return np.array([top in own for top, own in zip(self._top, _OWN)])


def _trunk_radius(down: Float, outfit: Outfit, heading: float) -> Float:
    """Half the width in metres of the trunk's silhouette at shares from neck to crotch."""
    build = outfit.build
    marks = (0.0, 0.05, 0.13, 0.3, 0.55, 0.84, 1.0)
    front = np.array((0.033, 0.062, 0.120, 0.103, 0.084, 0.096, 0.080)) * build.height
    deep = np.array((0.030, 0.040, 0.052, 0.066, 0.056, 0.066, 0.055)) * build.height
    chest, seat = build.shoulders, build.hips**0.5 * build.bulk**0.5
    front *= (chest, chest, chest, chest, build.bulk, seat, seat)
    deep *= build.bulk
    wide = np.hypot(
        np.interp(down, marks, front) * cos(heading), np.interp(down, marks, deep) * sin(heading)
    )
    return np.asarray(wide, np.float32)


def _ellipsoid(
    texture: Image, centre: Points, radii: Points, heading: float, nod: float, light: Light
) -> tuple[Image, int, int]:
    """A turned ellipsoid with a texture all around, seen from far away: pixels and corner.

    radii are forward, left and up in pixels. Each pixel's ray meets |M (x, y, z)| = 1 where M
    turns into the head's axes and divides by the radii; the nearer of both solutions is seen.
    """
    turn = np.array([[sin(heading), 0, cos(heading)], [cos(heading), 0, -sin(heading)], [0, 1, 0]])
    tilt = np.array([[cos(nod), 0, sin(nod)], [0, 1, 0], [-sin(nod), 0, cos(nod)]])
    axes = (tilt @ turn) / radii[:, None]
    reach = int(np.ceil(radii.max())) + 2
    x0, y0 = np.rint(centre).astype(int) - reach
    grid = np.arange(2 * reach + 1, dtype=np.float32)
    x = (grid + np.float32(x0 - centre[0]))[None]
    y = -(grid + np.float32(y0 - centre[1]))[:, None]
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = (axes.T @ axes).tolist()
    b = xz * x + yz * y
    inside = b * b - zz * (xx * x * x + 2 * xy * x * y + yy * y * y - 1)
    z = (np.sqrt(np.clip(inside, 0, None)) - b) / zz
    forward, left, up = (m[0] * x + m[1] * y + m[2] * z for m in axes.tolist())
    height, width = texture.shape[:2]
    u = (np.arctan2(left, forward) / (2 * pi) + 0.5) * width - 0.5
    v = (0.5 - np.arcsin(np.clip(up, -1, 1)) / pi) * height - 0.5
    colours = cv2.remap(
        texture, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    ).astype(np.float32)  # fmt: skip
    rim = np.sqrt(np.clip(1 - inside / zz, 0, None))  # 1 on the silhouette
    alpha = np.clip((1 - rim) * radii.min() + 0.5, 0, 1)
    if texture.shape[2] == 4:
        alpha = alpha * colours[..., 3] / 255
    across = np.clip(x / radii[:2].mean(), -1, 1) * np.ones_like(rim)
    shaded = (
        colours[..., :3]
        * (light.shade(across.astype(np.float32)) * (1.08 - 0.25 * rim**4))[..., None]
    )
    return premultiplied(shaded, alpha.astype(np.float32)), int(x0), int(y0)
