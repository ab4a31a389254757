"""Batches of any size through networks that take only certain sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, ModelSpec

Run = Callable[[NDArray[np.uint8]], Arrays]


def blank(spec: ModelSpec, count: int) -> NDArray[np.uint8]:
    """count black pictures as the network takes them, uint8 (count, H, W, 3)."""
    width, height = spec.input_wh
    return np.zeros((count, height, width, 3), np.uint8)


def in_steps(batch: NDArray[np.uint8], size: int | None, run: Run) -> Arrays:
    """The outputs of run for a batch (B > 0) in calls of exactly size pictures, the last filled
    up with black; one call of B pictures when size is None."""
    if size is None:
        return run(batch)
    parts = []
    for at in range(0, len(batch), size):
        part = batch[at : at + size]
        missing = size - len(part)
        if missing:
            part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.uint8)])
        parts.append([array[: size - missing] for array in run(part)])
    return join(parts)


def sizes_of(run: Run) -> Callable[[int, int], list[tuple[int, ...]]]:
    """For engines.base.step_of: by running the network."""

    def sizes(width: int, height: int) -> list[tuple[int, ...]]:
        return [array.shape for array in run(np.zeros((1, height, width, 3), np.uint8))]

    return sizes


def join(parts: list[Arrays]) -> Arrays:
    """The outputs of several calls as one batch; lists of unequal length (detections after NMS)
    are filled with zeros, which score nothing."""
    if len(parts) == 1:
        return parts[0]
    joined = []
    for arrays in zip(*parts):
        count = sum(len(a) for a in arrays)
        shape = np.max([a.shape[1:] for a in arrays], axis=0)
        whole, at = np.zeros((count, *shape), np.float32), 0
        for a in arrays:
            place = [slice(at, at + len(a)), *(slice(n) for n in a.shape[1:])]
            whole[tuple(place)] = a
            at += len(a)
        joined.append(whole)
    return joined
