"""Shadows of the demo scene: of its people, and of people who are not there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.records import Float, Image
from realtime.scene.cast import BLOCK, Camera, cast
from realtime.scene.paint import Light, overlap
from realtime.scene.people import Figure, draw
from realtime.scene.tailor import dress


@dataclass(frozen=True, slots=True)
class Sun:
    """How shadows fall: sideways and away from the viewer per unit of height; how dark (0..1)
    and how blurred, as a share of the picture's height."""

    aside: float
    back: float
    strength: float
    blur: float


def cast_shadow(image: Image, figure: Figure, sun: Sun) -> None:
    """Darken the ground where a person's shadow falls and under their feet, in place."""
    height = image.shape[0]
    mask, corner = fallen(figure, sun, sun.blur * height)
    darken(image, mask, corner, sun.strength)
    spot = soft_ellipse(0.3 * figure.scale, 0.07 * figure.scale)
    for foot_x, foot_y in figure.feet_xy:
        at = round(foot_x - spot.shape[1] / 2), round(foot_y - spot.shape[0] / 2)
        darken(image, spot, at, 0.5)


def darken(image: Image, mask: Image, corner_xy: tuple[int, int], strength: float) -> None:
    """Lay a shadow, uint8 (h, w), at this corner of the picture, in place."""
    part, mask = overlap(image, mask, corner_xy)
    if part.size:
        kept = cv2.merge([255 - (mask * strength).astype(np.uint8)] * 3)
        cv2.multiply(part, kept, dst=part, scale=1 / 255)


def haunt(
    rng: np.random.Generator, picture: Float, view: Camera, light: Light, low: int, indoors: bool
) -> None:
    """Shadows of people who are not there, on the wall and on the ground: traps."""
    ghosts = cast(int(rng.integers(1 << 30)), 0, view, 4)
    for ghost in ghosts[: rng.integers(1, 4)]:
        clothes = dress(rng, ghost.build, light, 60.0)
        figure = draw(ghost, (clothes,), view, float(rng.uniform(0, BLOCK)))
        height = view.size_wh[1]
        upright = indoors and rng.random() < 0.6
        sun = Sun(
            float(rng.uniform(-0.3, 0.3) if upright else rng.uniform(-1.4, 1.4)),
            float(rng.uniform(0.85, 1.1) if upright else rng.choice([-0.35, 0.25, 0.45])),
            0.0,
            0.0,
        )
        mask, (x, y) = fallen(figure, sun, float(rng.uniform(0.006, 0.02)) * height)
        shift = round(rng.uniform(-0.15, 0.25) * (low - y)) if upright else 0
        _darken_painting(picture, mask, (x, y + shift), float(rng.uniform(0.25, 0.6)))


def fallen(figure: Figure, sun: Sun, blur: float) -> tuple[Image, tuple[int, int]]:
    """A person's silhouette laid down by the sun: mask uint8 and its corner in the picture.

    Worked out at a quarter of the size, since it is blurred anyway.
    """
    alpha, (x, y) = figure.pixels[..., 3], figure.corner_xy
    height, width = alpha.shape
    pad = 2 * blur + 4
    foot = float(figure.feet_xy[:, 1].max()) - y
    tops = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    flat = np.stack(
        [tops[:, 0] + sun.aside * (foot - tops[:, 1]), foot - sun.back * (foot - tops[:, 1])], 1
    )
    origin = np.floor(flat.min(0) - pad)
    size = np.ceil((flat.max(0) + pad - origin) / 4).astype(int) + 1
    lay = np.array(
        [
            [0.25, -0.25 * sun.aside, 0.25 * (sun.aside * foot - origin[0])],
            [0.0, 0.25 * sun.back, 0.25 * (foot * (1 - sun.back) - origin[1])],
        ]
    )
    small = cv2.warpAffine(alpha, lay, (int(size[0]), int(size[1])), flags=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(blur / 4, 0.5))
    mask = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    return np.asarray(mask, np.uint8), (int(origin[0]) + x, int(origin[1]) + y)


def _darken_painting(
    picture: Float, mask: Image, corner_xy: tuple[int, int], strength: float
) -> None:
    """Lay a shadow: mask uint8 (h, w) at this corner, cut at the border, in place."""
    part, share = overlap(picture, mask, corner_xy)
    dark = share[..., None].astype(np.float32) / 255
    part *= 1 - strength * dark * np.array([0.85, 0.95, 1.0], np.float32)


def soft_ellipse(width: float, height: float) -> Image:
    """A blurred spot as a mask, for the ground under things."""
    shape = max(3, round(height * 1.6)), max(3, round(width * 1.6))
    y = np.linspace(-1.6, 1.6, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1.6, 1.6, shape[1], dtype=np.float32)[None]
    return np.asarray(255 * np.clip(1.2 - np.sqrt(x * x + y * y), 0, 1), np.uint8)
