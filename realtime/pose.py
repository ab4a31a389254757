"""Crops to heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.base import Network
from realtime.decode import Method
from realtime.records import Crops, Float, Image
from realtime.skeleton import JOINT_COUNT

Locator = Callable[[Sequence[Image], Float, NDArray[np.int64], Method], tuple[Float, Float]]
"""From pictures and the places of people to joints and scores, without crops and heatmaps between
that the CPU sees; what networks on a GPU have as ``locate``, see engines.torch_locate.Locate."""
MAX_BATCH = 16
"""Crops in one call of the network: memory stays bounded however many people there are."""


def estimate(
    network: Network,
    crops: Crops,
    max_batch: int = MAX_BATCH,
    alive: Callable[[], None] = lambda: None,
) -> Float:
    """Heatmaps (M, 17, h, w) of M crops, by as few calls as max_batch allows, none for none.

    Nobody gives (0, 17, 1, 1). alive is called before each call of the network: the crops of a
    crowd may take long without anything being wrong. Raises ModelError.
    """
    parts = []
    for start in range(0, len(crops), max_batch):
        alive()
        parts.append(network(crops.pixels[start : start + max_batch])[0])
    if not parts:
        return np.zeros((0, JOINT_COUNT, 1, 1), np.float32)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
