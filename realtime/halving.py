"""Less at once when the memory of the GPU is full."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Begin, ModelSpec, Network, opened, size_step_of, takes_narrow
from engines.batches import join
from realtime.errors import OutOfMemory
from realtime.pose import Locator

logger = logging.getLogger(__name__)


class Halving:
    """A network that, when a batch does not fit into the memory of its device, runs it in two
    halves, and from then on never more than that at once. See engines.base.Network.

    Tried once: raises OutOfMemory when half a batch is too much as well, or one picture.
    """

    def __init__(self, network: Network) -> None:
        self._network: Network | None = network
        self.spec: ModelSpec = network.spec
        self.engine, self.precision = network.engine, network.precision
        self.device, self.why = network.device, network.why
        self.locate: Locator | None = getattr(network, "locate", None)  # which halves itself
        self.begin: Begin | None = getattr(network, "begin", None)  # of CPUs alone
        self.size_step, self.narrow = size_step_of(network), takes_narrow(network)
        self._most: int | None = None  # pictures in one call

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        network = opened(self._network, self.spec)
        if self._most is None:
            try:
                return network(batch)
            except OutOfMemory as error:
                if len(batch) < 2:
                    raise
                self._most = (len(batch) + 1) // 2
                logger.warning("%s; going on with batches of %d", error, self._most)
        if len(batch) <= self._most:
            return network(batch)
        starts = range(0, len(batch), self._most)
        return join([network(batch[n : n + self._most]) for n in starts])

    def close(self) -> None:
        """Close the network and let it go."""
        if self._network is not None:
            self._network.close()
        self._network = self.locate = self.begin = None
