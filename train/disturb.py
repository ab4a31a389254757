"""What light, lens, sensor and things in front do to the crop of a person, at random.

Crops are uint8 (H, W, 3) BGR; nothing moves, so joints stay where they are.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image
from train.config import Config

DIMMEST = 24
"""Mean level that darkening leaves, before up to half of the light is taken away."""


def disturb(crop: Image, config: Config, rng: np.random.Generator) -> Image:
    """The crop behind things, blurred, in other colours or in the dark, each at random."""
    if rng.random() < config.occlude:
        crop = occlude(crop, rng)
    return relight(crop, config, rng)


def relight(picture: Image, config: Config, rng: np.random.Generator) -> Image:
    """A picture (H, W, 3) blurred, in other colours or in the dark, each at random."""
    if rng.random() < config.blur:
        picture = blur(picture, rng)
    if rng.random() < config.colour:
        picture = recolour(picture, rng)
    if rng.random() < config.dark:
        picture = darken(picture, rng)
    return picture


def occlude(crop: Image, rng: np.random.Generator) -> Image:
    """A copy with one or two rectangles covered by a grey, noise, or another part of the crop
    upside down. Joints below keep their labels: people can tell where they must be."""
    covered: Image = crop.copy()
    height, width = crop.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        w, h = (rng.uniform(0.12, 0.42, 2) * (width, height)).astype(int)
        x, y = (int(rng.integers(0, n)) for n in (width - w, height - h))
        kind = rng.integers(3)
        if kind == 0:
            covered[y : y + h, x : x + w] = rng.integers(0, 256, 3) // 2 + rng.integers(0, 128)
        elif kind == 1:
            covered[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
        else:
            u, v = (int(rng.integers(0, n)) for n in (width - w, height - h))
            covered[y : y + h, x : x + w] = crop[v : v + h, u : u + w][::-1]
    return covered


def blur(crop: Image, rng: np.random.Generator) -> Image:
    """Out of focus, moving, from far away (few pixels enlarged), or compressed too much."""
    kind = rng.integers(4)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.6, 2.5)), np.uint8)
    if kind == 1:
        kernel = motion_kernel(rng.uniform(3, 13), rng.uniform(0, np.pi))
        return np.asarray(cv2.filter2D(crop, -1, kernel), np.uint8)
    if kind == 2:
        return enlarge(crop, rng.uniform(0.2, 0.6))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 40))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], cv2.IMREAD_COLOR))


def enlarge(crop: Image, factor: float) -> Image:
    """The crop made smaller by a factor and large again."""
    height, width = crop.shape[:2]
    small_wh = max(round(width * factor), 1), max(round(height * factor), 1)
    small = cv2.resize(crop, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def motion_kernel(length: float, angle: float) -> Float:
    """A straight line of this length in pixels, centred, summing to 1: float32 (odd, odd)."""
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length / 2, length / 2, 4 * reach + 1):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        kernel[round(y), round(x)] += 1
    kernel /= kernel.sum()
    return kernel


def recolour(crop: Image, rng: np.random.Generator) -> Image:
    """Other brightness and contrast; often other hue and saturation; now and then all grey."""
    ramp = np.arange(256)
    table = (ramp - 128) * rng.uniform(0.6, 1.4) + 128 + rng.uniform(-32, 32)
    picture: NDArray[Any] = crop
    if rng.random() < 0.12:
        picture = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    elif rng.random() < 0.6:
        hue, saturation = (ramp + rng.integers(-18, 19)) % 180, ramp * rng.uniform(0.5, 1.5)
        tables = np.stack([hue, np.clip(saturation, 0, 255), ramp], 1).astype(np.uint8)
        hsv = cv2.LUT(cv2.cvtColor(crop, cv2.COLOR_BGR2HSV), tables[:, None])
        picture = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return np.asarray(cv2.LUT(picture, np.clip(table, 0, 255).astype(np.uint8)), np.uint8)


def darken(crop: Image, rng: np.random.Generator) -> Image:
    """A dim scene: gamma 1.5 to 3 and up to half of the light taken away, then sensor noise of
    sigma 4 to 12, in grains of one to three pixels, since a small person is enlarged with it.

    What is dim already gets a smaller gamma, which leaves about DIMMEST on average, so that there
    is something to be seen."""
    mean = np.clip(crop.mean(), 2, 250) / 255
    gamma = min(rng.uniform(1.5, 3), max(np.log(DIMMEST / 255) / np.log(mean), 1))
    level = (np.arange(256) / 255) ** gamma
    dim = cv2.LUT(crop, np.rint(255 * rng.uniform(0.5, 1) * level).astype(np.uint8))
    height, width = crop.shape[:2]
    grain = int(rng.integers(1, 4))
    shape = -(-height // grain), -(-width // grain), 3
    noise = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(4, 12))
    if grain > 1:
        noise = np.asarray(cv2.resize(noise, (width, height)), np.float32)
    return np.asarray(cv2.add(dim, noise, dtype=cv2.CV_8U), np.uint8)
