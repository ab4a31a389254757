"""What the people of the demo scene walk through: a place with its things, light and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image
from realtime.scene import place, props
from realtime.scene.cast import Camera
from realtime.scene.paint import Light, fractal, overlap, paste
from realtime.scene.people import Figure
from realtime.scene.shadows import Sun, cast_shadow, darken, haunt, soft_ellipse

NOISE_TILE = 400
NOISE_REACH = 64
"""How far the noise tiles reach beyond the picture, so that every frame can take another part."""

SHARPEST = 0.14
"""Pixels per metre, as a share of the picture's height, up to which things are painted sharply."""


@dataclass(frozen=True, slots=True)
class Occluder:
    """A thing of the place: premultiplied BGRA at corner_xy of the picture, distance in metres.
    mask: where it hides what is behind it."""

    pixels: Image
    mask: NDArray[np.bool_]
    corner_xy: tuple[int, int]
    distance: float


@dataclass(frozen=True, slots=True)
class Set:
    """A place without people, BGR uint8 (H, W, 3), and what is needed to put people in it.

    occluders: the things that people can be behind. softness: blur of the lens in pixels.
    """

    image: Image
    occluders: tuple[Occluder, ...]
    light: Light
    sun: Sun
    softness: float
    noise: tuple[Image, Image]
    seed: int

    def noisy(self, image: Image, index: int) -> Image:
        """A copy of image with the sensor noise of this frame."""
        height, width = image.shape[:2]
        x, y = np.random.default_rng([self.seed, 15, index]).integers(0, NOISE_REACH, 2)
        more, less = (tile[y : y + height, x : x + width] for tile in self.noise)
        return np.asarray(cv2.subtract(cv2.add(image, more), less), np.uint8)

    def focused(self, figure: Figure) -> Image:
        """A person as sharp as the place."""
        return np.asarray(cv2.GaussianBlur(figure.pixels, (3, 3), self.softness), np.uint8)

    def shade(self, image: Image, figure: Figure) -> None:
        """Darken the ground where a person's shadow falls, in place."""
        cast_shadow(image, figure, self.sun)


def build(seed: int, view: Camera) -> Set:
    """The place of a scene."""
    rng = np.random.default_rng([seed, 14])
    kind = place.KINDS[seed % len(place.KINDS)]
    dusk = float(rng.uniform(0.3, 1)) if not kind.indoors and rng.random() < 0.3 else 0.0
    light = _light(rng, kind.indoors, dusk)
    sun = _sun(rng, kind.indoors, dusk)
    picture, low = _empty(rng, view, kind, dusk)
    haunt(rng, picture, view, light, low, kind.indoors)
    picture, occluders = _furnish(rng, picture, view, kind, light, sun, low)
    softness = float(rng.uniform(0.45, 0.95)) * max(view.size_wh[1] / 720, 0.5)
    image = _photograph(rng, picture, light, softness, dusk)
    return Set(image, occluders, light, sun, softness, _noise(rng, view, dusk), seed)


def _light(rng: np.random.Generator, indoors: bool, dusk: float) -> Light:
    warm = rng.normal(0, 0.06) + 0.1 * dusk
    level = (rng.uniform(0.72, 0.98) if indoors else rng.uniform(0.8, 1.08)) * (1 - 0.4 * dusk)
    tint = level * np.array([1 - warm, 1.0, 1 + warm])
    return Light(tint.astype(np.float32), float(rng.uniform(-1, 1)), float(rng.uniform(0.3, 0.6)))


def _sun(rng: np.random.Generator, indoors: bool, dusk: float) -> Sun:
    if indoors or rng.random() < 0.3:
        return Sun(rng.uniform(-0.2, 0.2), rng.uniform(0.04, 0.1), rng.uniform(0.25, 0.5), 0.012)
    aside = rng.uniform(-0.9, 0.9) * (1 + dusk)
    back = rng.uniform(0.08, 0.3) * rng.choice([-0.6, 1.0])
    return Sun(aside, back, rng.uniform(0.35, 0.6), rng.uniform(0.002, 0.006))


def _empty(
    rng: np.random.Generator, view: Camera, kind: place.Kind, dusk: float
) -> tuple[Float, int]:
    """The place without things, and the row where the ground begins."""
    height = view.size_wh[1]
    away = view.nearest * rng.uniform(3.6, 5.0)
    low = view.horizon_xy[1] + (view.focal * view.height / away if kind.indoors else 2)
    row = min(round(low), height - 2)
    picture = place.sky(rng, view, dusk)
    if kind.indoors:
        place.wall(rng, picture, view, row)
    elif kind.name != "park" or rng.random() < 0.3:
        place.houses(rng, picture, view)
    else:
        _wood(rng, picture, view)
    place.floor(rng, picture, view, row, str(rng.choice(kind.floors)))
    if not kind.indoors:
        _fade(picture, row, rng)
    return picture, row


def _wood(rng: np.random.Generator, picture: Float, view: Camera) -> None:
    """Far trees, as a dark, ragged band above the horizon."""
    width, height = view.size_wh
    edge = 1 + 0.3 * fractal(rng, (width, 8), 9, 5)[1]
    top = view.horizon_xy[1] - edge * height * rng.uniform(0.1, 0.2)
    rows = np.arange(height, dtype=np.float32)[:, None]
    ragged = top[None] + 0.012 * height * fractal(rng, (width, height), 60, 3)
    alpha = np.clip(rows - ragged, 0, 1)[..., None]
    tone = 1 + 0.13 * (fractal(rng, (width, height), 30, 4) + fractal(rng, (width, height), 150, 2))
    tone = tone[..., None]
    green = np.array([48, 78, 62], np.float32) * np.float32(rng.uniform(0.7, 1.3)) * tone
    picture[:] = picture * (1 - alpha) + green * alpha


def _fade(picture: Float, row: int, rng: np.random.Generator) -> None:
    """Haze on the far ground."""
    depth = np.arange(len(picture) - row, dtype=np.float32)[:, None, None]
    share = 0.45 * np.exp(-depth / (0.03 * len(picture)))
    haze = picture[max(row - 3, 0)].mean(0)
    picture[row:] += share * (haze - picture[row:])


def _furnish(
    rng: np.random.Generator,
    picture: Float,
    view: Camera,
    kind: place.Kind,
    light: Light,
    sun: Sun,
    low: int,
) -> tuple[Float, tuple[Occluder, ...]]:
    """Put things into the place, the far ones first; those among the people can hide them."""
    makers = props.THINGS[kind.name]
    small = tuple(maker for maker in makers if maker not in props.LARGE)
    farthest = (
        9.0 if not kind.indoors else view.focal * view.height / max(low - view.horizon_xy[1], 1)
    )
    count = int(rng.integers(6, 15))
    behind = view.nearest * rng.uniform(2.2, max(farthest / view.nearest, 2.3), count)
    among = view.nearest * rng.uniform(0.8, 2.2, int(rng.integers(0, 4)))
    image = np.clip(picture, 0, 255).astype(np.uint8)
    occluders = []
    for distance in np.sort(np.concatenate([behind, among]))[::-1]:
        scale = view.focal / distance
        choice = makers if distance > 1.9 * view.nearest else small
        maker = choice[rng.integers(len(choice))]
        fine = min(scale, SHARPEST * view.size_wh[1])
        thing = maker(rng, light, float(fine)).larger(float(scale / fine))
        x = rng.uniform(0, view.size_wh[0])
        foot = view.horizon_xy[1] + view.height * scale
        corner = round(x - thing.foot_xy[0]), round(foot - thing.foot_xy[1])
        spot = soft_ellipse(thing.width * scale, max(0.16 * thing.width * scale, 3))
        at = round(x - spot.shape[1] / 2), round(foot - spot.shape[0] / 2)
        darken(image, spot, at, 0.5)
        paste(image, thing.pixels, *corner)
        if distance < view.nearest * 4:
            _, inside = overlap(image, thing.pixels, corner)
            corner = max(corner[0], 0), max(corner[1], 0)
            occluders.append(Occluder(inside.copy(), inside[..., 3] > 127, corner, float(distance)))
    return image.astype(np.float32), tuple(occluders)


def _photograph(
    rng: np.random.Generator, picture: Float, light: Light, softness: float, dusk: float
) -> Image:
    """Light, vignette and blur: from a painting to a photograph."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0.05, 0.22) * (x * x + y * y) / 2
    cloudy = 1 + 0.05 * fractal(rng, (width, height), 2, 2)
    picture = picture * (vignette * cloudy * (1 - 0.35 * dusk))[..., None]
    image = np.clip(picture, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), softness), np.uint8)
    image.flags.writeable = False
    return image


def _noise(rng: np.random.Generator, view: Camera, dusk: float) -> tuple[Image, Image]:
    """What the sensor adds and what it takes away, larger than the picture; it repeats itself."""
    deviation = rng.uniform(2.0, 5.0) * (1 + 0.6 * dusk)
    tile = rng.standard_normal((NOISE_TILE, NOISE_TILE, 3), np.float32) * np.float32(deviation)
    width, height = (n + NOISE_REACH for n in view.size_wh)
    repeats = -(-height // NOISE_TILE), -(-width // NOISE_TILE), 1

    def part(noise: Float) -> Image:
        whole = np.tile(np.clip(noise, 0, 99).astype(np.uint8), repeats)
        return np.ascontiguousarray(whole[:height, :width])

    return part(tile), part(-tile)
