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
    """A network that, when a batch does not fit into the memory of its device, runs it in halves,
    and from then on never more than that at once; again where those do not fit either, as others
    may have taken the memory. See engines.base.Network.

    Raises OutOfMemory when one picture is too much.
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
        outputs = None
        while outputs is None:  # the halves are not within the clause, whose error holds memory
            try:
                outputs = self._run(batch)
            except OutOfMemory as error:
                most = self._at_once(batch)
                if most < 2:
                    raise
                self._most = (most + 1) // 2
                logger.warning("%s; going on with batches of %d", error, self._most)
        return outputs

    def _at_once(self, batch: NDArray[np.uint8]) -> int:
        """Pictures of a batch that go into one call."""
        return len(batch) if self._most is None else min(self._most, len(batch))

    def _run(self, batch: NDArray[np.uint8]) -> Arrays:
        network, most = opened(self._network, self.spec), self._at_once(batch)
        if most == len(batch):
            return network(batch)
        return join([network(batch[n : n + most]) for n in range(0, len(batch), most)])

    def close(self) -> None:
        """Close the network and let it go."""
        if self._network is not None:
            self._network.close()
        self._network = self.locate = self.begin = None
