"""Where one person of the demo scene is drawn, part by part, keeping account of what is on top."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image
from realtime.scene.paint import Light, Points, paste, premultiplied, stroke, warped
from realtime.scene.tailor import Outfit
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
_HEAD_RADII = np.array([0.059, 0.049, 0.069])  # forward, left, up; shares of the height


@dataclass
class Easel:
    """A canvas, and which part is on top at each joint (17, 2) in canvas pixels."""

    outfit: Outfit
    pixels: Image
    joints: Points

    def __post_init__(self) -> None:
        self._top = [""] * JOINT_COUNT
        self._at = np.rint(self.joints).astype(int).tolist()

    def limb(self, name: str, limb: str, start: Points, end: Points, scale: float) -> None:
        """Draw a limb between two canvas points, scale in pixels per metre."""
        sprite = self.outfit.limbs[limb]
        self._note(name, *stroke(self.pixels, sprite, start, end, scale))

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
