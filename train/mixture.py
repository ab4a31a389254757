"""What comes in which order in an epoch, from several data sets mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.augment import mixed_order

Item = TypeVar("Item")


class Mixture(Generic[Item]):
    """People or pictures of several sets, each set with how often its items come in an epoch.

    The order is a pure function of seed and epoch; every epoch has the same length.
    """

    def __init__(self, sets: Sequence[tuple[Sequence[Item], float]], seed: int) -> None:
        self._items = [item for items, _ in sets for item in items]
        self._counts, self._weights = [len(items) for items, _ in sets], [w for _, w in sets]
        self._seed = seed
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self._of(0))

    def item(self, epoch: int, index: int) -> Item:
        """Item index of an epoch."""
        return self._items[int(self._of(epoch)[index])]

    def _of(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            order = mixed_order(self._counts, self._weights, self._seed, epoch)
            self._order = (epoch, order)
        return self._order[1]
