"""Heads of the people of the demo scene, as textures around an ellipsoid."""

from __future__ import annotations

from math import pi

import numpy as np

from realtime.records import Float, Image
from realtime.scene.body import Build
from realtime.scene.paint import Colour, Light, fractal, middles
from realtime.scene.wardrobe import Style

_EYEBALL = np.full(3, 205, np.float32)
_PUPIL = np.array([25, 25, 30], np.float32)
_LIPS = np.array([0.32, 0.32, 0.68], np.float32)  # factors on the skin
_CHEEKS = np.array([0.95, 0.93, 1.03], np.float32)


def _sphere(build: Build, density: float) -> tuple[Float, Float]:
    """Latitude and longitude in radians of every texel of the head."""
    rows = max(24, round(0.2 * build.height * density))
    lat, lon = (0.5 - middles(rows)) * pi, (middles(2 * rows) * 2 - 1) * pi
    down, around = np.meshgrid(lat, lon, indexing="ij")
    return down.astype(np.float32), around.astype(np.float32)


def face(style: Style, build: Build, light: Light, density: float) -> Image:
    """The head: eyes with brows, a shadow under the nose, lips, cheeks, beard, glasses."""
    lat, lon = _sphere(build, density)
    side = np.abs(lon)
    colour = np.ones((*lat.shape, 3), np.float32) * style.skin
    if style.beard:
        colour[(lat < -0.3) & (side < 1.5)] = style.hair * 0.9 + 8

    def blob(at: float, high: float, wide: float, tall: float, paint: Colour, mix: float) -> None:
        near = ((side - at) / wide) ** 2 + ((lat - high) / tall) ** 2
        share = (mix * np.clip(1.6 - 1.2 * near, 0, 1))[..., None]
        colour[:] = colour * (1 - share) + paint * share

    lips = style.skin * _LIPS
    blob(0.75, -0.2, 0.3, 0.3, style.skin * _CHEEKS, 0.5)
    blob(0.43, 0.17, 0.26, 0.16, style.skin * 0.74, 0.8)  # eye sockets
    blob(0.43, 0.16, 0.135, 0.052, _EYEBALL, 0.8)
    blob(0.43, 0.16, 0.06, 0.065, _PUPIL, 1.0)
    blob(0.43, 0.34, 0.2, 0.04, style.hair * 0.6, 0.9)
    blob(0.0, -0.19, 0.16, 0.05, style.skin * 0.5, 0.6)  # under the nose
    blob(0.0, -0.42, 0.24, 0.045, lips, 0.9)
    if style.glasses:
        ring = np.abs(np.hypot((side - 0.43) / 0.3, (lat - 0.15) / 0.2) - 1) < 0.16
        temple = (np.abs(lat - 0.2) < 0.03) & (side > 0.7) & (side < 1.6)
        colour[ring | temple] = 25
    return np.asarray(np.clip(colour * light.colour, 0, 255), np.uint8)


def hair(
    rng: np.random.Generator, style: Style, build: Build, light: Light, density: float
) -> Image:
    """What lies over the head: hair, a cap or a beanie, with alpha 0 where the face is."""
    lat, lon = _sphere(build, density)
    back = np.abs(lon) / pi
    above, falls = {
        "bald": (9.0, 0.0), "bun": (0.6, 1.1), "long": (0.62, 2.0), "cap": (0.42, 0.35),
        "beanie": (0.36, 0.3),
    }.get(style.haircut, (0.62, 1.15))  # fmt: skip
    line = above - falls * back
    alpha = np.clip((lat - line) / 0.06 + 0.5, 0, 1)
    strands = fractal(rng, (lat.shape[1], lat.shape[0]), 40, 2)
    colour = style.hair * (1 + 0.14 * strands[..., None])
    if style.haircut in ("cap", "beanie"):
        seam = 1 - 0.25 * (np.abs(lat - line) < 0.1)
        colour = style.second * seam[..., None]
    colour = colour * light.colour * (0.82 + 0.25 * np.clip(lat, 0, 1.4)[..., None])
    hair = np.concatenate([np.clip(colour, 0, 255), 255 * alpha[..., None]], 2)
    return hair.astype(np.uint8)
