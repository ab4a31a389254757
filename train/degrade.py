"""Worse pictures to measure on: dim scenes and sensor noise, the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Image

GAMMA = 2.5
DARK_SIGMA = 8.0
"""Noise of the darkened pictures in grey levels, added after the darkening as a sensor does."""
NOISE_SIGMA = 20.0
"""Noise of the noisy pictures in grey levels: the light is good and the gain is up."""

Change = Callable[[Image, int], Image]
"""From a picture and the number that seeds its noise to the worse picture, of the same shape."""


def darkened(image: Image, seed: int) -> Image:
    """uint8 (H, W, 3) as 255 (x / 255)^GAMMA, then Gaussian noise of DARK_SIGMA."""
    levels = 255 * (np.arange(256) / 255) ** GAMMA
    return _noise(cv2.LUT(image, levels.astype(np.float32)), DARK_SIGMA, seed)


def noisy(image: Image, seed: int) -> Image:
    """uint8 (H, W, 3) with Gaussian noise of NOISE_SIGMA."""
    return _noise(image, NOISE_SIGMA, seed)


def _noise(image: NDArray[Any], sigma: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    levels = np.rint(image + np.float32(sigma) * noise)
    result: Image = np.clip(levels, 0, 255).astype(np.uint8)
    return result


CHANGES: dict[str, Change] = {"darkened": darkened, "noisy": noisy}
