"""Crops to heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Begin, Begun, Network, takes_narrow
from realtime.decode import Method
from realtime.geometry import narrow_columns, narrow_width
from realtime.records import Crops, Float, Image
from realtime.skeleton import JOINT_COUNT

Locator = Callable[[Sequence[Image], Float, NDArray[np.int64], Method], tuple[Float, Float]]
"""From pictures and the places of people to joints and scores, without crops and heatmaps between
that the CPU sees; what networks on a GPU have as ``locate``, see engines.torch_locate.Locate."""
Cutter = Callable[[NDArray[np.int64], bool], Image]
"""From the numbers (B,) of people, and whether narrow ones are enough, to crops (B, H, W, 3)."""
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
        alive()
        return Done(network(batch))

    crop_wh = crops.pixels.shape[2], crops.pixels.shape[1]
    slim = crops.slim & takes_narrow(network)
    return Estimate(run, cutter_of(crops), slim, crop_wh, max_batch, alive).heatmaps()


def cutter_of(crops: Crops) -> Cutter:
    """For crops that have been cut; see realtime.crop.Cuts for others."""
    middle = narrow_columns((crops.pixels.shape[2], crops.pixels.shape[1]))

    def some(which: NDArray[np.int64], narrow: bool) -> Image:
        return crops.pixels[which, :, middle] if narrow else crops.pixels[which]

    return some


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
    """Heatmaps on their way; begun when this is made.

    crops: asked for a batch at a time, so that the network has something to do meanwhile.
    slim: (M,) of whom narrow crops are enough, which is a third less work; beside these the maps
    are 0. crop_wh: size of the whole ones.
    """

    def __init__(
        self,
        begin: Begin,
        crops: Cutter,
        slim: NDArray[np.bool_],
        crop_wh: tuple[int, int],
        max_batch: int = MAX_BATCH,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._margin = narrow_columns(crop_wh).start / narrow_width(crop_wh)
        self._begun: list[tuple[NDArray[np.int64], bool, Begun]] = []
        for narrow in (False, True):
            mine = np.flatnonzero(slim == narrow)
            for start in range(0, len(mine), max_batch):
                which = mine[start : start + max_batch]
                self._begun.append((which, narrow, begin(crops(which, narrow))))

    @property
    def ready(self) -> bool:
        """Whether wait() would return at once."""
        return all(begun.ready for _, _, begun in self._begun)

    def wait(self) -> None:
        """Until all is computed. Raises ModelError."""
        for _, _, begun in self._begun:
            self._alive()
            begun.outputs()

    def parts(self) -> Generator[tuple[NDArray[np.int64], Float], None, None]:
        """The numbers (B,) of some people and their maps (B, 17, h, w), batch after batch, which
        are good until the next ones are asked for. Raises ModelError."""
        wide: Float = np.zeros((0, 0, 0, 0), np.float32)
        for which, narrow, begun in self._begun:
            self._alive()
            maps = begun.outputs()[0]
            if narrow:
                beside, width = round(maps.shape[3] * self._margin), maps.shape[3]
                if not len(wide):  # the first batch of a kind is as large as any
                    wide = np.zeros((*maps.shape[:3], width + 2 * beside), np.float32)
                wide[: len(maps), ..., beside : beside + width] = maps
                maps = wide[: len(maps)]
            yield which, maps

    def read(self, how: Callable[[Float], tuple[Any, ...]]) -> tuple[Any, ...]:
        """The arrays (B, ...) that how makes of the maps of each batch, of all people together
        (M, ...). Raises ModelError."""
        found = [(which, how(maps)) for which, maps in self.parts()]
        if not found:
            return how(np.zeros((0, JOINT_COUNT, 1, 1), np.float32))
        batches, arrays = zip(*found)
        back = np.argsort(np.concatenate(batches))
        return tuple(np.concatenate(some)[back] for some in zip(*arrays))

    def heatmaps(self) -> Float:
        """(M, 17, h, w); (0, 17, 1, 1) of nobody. Raises ModelError."""
        whole: Float = self.read(lambda maps: (maps.copy(),))[0]
        return whole
