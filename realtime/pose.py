"""Crops to heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Begin, Begun, Network
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
    return Estimate(lambda batch: Done(network(batch)), crops, max_batch, alive).heatmaps()


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that was computed when it was begun; see engines.base.Begun."""

    arrays: Arrays
    ready = True

    def outputs(self) -> Arrays:
        return self.arrays


def begin_of(network: Network) -> Begin:
    """How to begin batches of a network; most are done then."""
    begin: Begin | None = getattr(network, "begin", None)
    return begin or (lambda batch: Done(network(batch)))


class Estimate:
    """Heatmaps on their way, as from estimate(); begun when this is made."""

    def __init__(
        self,
        begin: Begin,
        crops: Crops,
        max_batch: int = MAX_BATCH,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._parts: list[Begun] = []
        for start in range(0, len(crops), max_batch):
            alive()
            self._parts.append(begin(crops.pixels[start : start + max_batch]))

    @property
    def ready(self) -> bool:
        """Whether heatmaps() need not wait."""
        return all(part.ready for part in self._parts)

    def heatmaps(self) -> Float:
        """(M, 17, h, w). Raises ModelError."""
        parts = []
        for part in self._parts:
            self._alive()
            parts.append(part.outputs()[0])
        if not parts:
            return np.zeros((0, JOINT_COUNT, 1, 1), np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
