"""Crops to heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Begin, Begun, Network, takes_narrow
from realtime.decode import Method
from realtime.geometry import narrow_columns
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

    def run(batch: Image) -> Done:
        return Done(network(batch))

    return Estimate(run, crops, takes_narrow(network), max_batch, alive).heatmaps()


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
    """Heatmaps on their way, as from estimate(); begun when this is made.

    narrow: the network takes the middle columns of slim people's crops alone, which is a third less
    work; beside these the maps are 0.
    """

    def __init__(
        self,
        begin: Begin,
        crops: Crops,
        narrow: bool = False,
        max_batch: int = MAX_BATCH,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._count, height, width, _ = crops.pixels.shape
        middle = narrow_columns((width, height))
        self._margin = middle.start / width
        self._parts: list[tuple[NDArray[np.int64], bool, Begun]] = []
        for slim in (False, True):
            mine = np.flatnonzero(crops.slim & narrow == slim)
            for start in range(0, len(mine), max_batch):
                alive()
                some = mine[start : start + max_batch]
                pixels = crops.pixels[some, :, middle] if slim else crops.pixels[some]
                self._parts.append((some, slim, begin(pixels)))

    @property
    def ready(self) -> bool:
        """Whether heatmaps() need not wait."""
        return all(begun.ready for _, _, begun in self._parts)

    def heatmaps(self) -> Float:
        """(M, 17, h, w). Raises ModelError."""
        whole = np.zeros((self._count, JOINT_COUNT, 1, 1), np.float32)
        for some, slim, begun in self._parts:
            self._alive()
            maps = begun.outputs()[0]
            if slim:
                beside = round(maps.shape[3] * self._margin / (1 - 2 * self._margin))
                maps = np.pad(maps, [(0, 0)] * 3 + [(beside, beside)])
            if len(some) == self._count:
                return maps
            if maps.shape[2:] != whole.shape[2:]:
                whole = np.empty((self._count, *maps.shape[1:]), np.float32)
            whole[some] = maps
        return whole
