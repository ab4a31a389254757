"""One network for several threads: what they ask for at about the same time is one batch."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Condition, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, ModelSpec, Network, check_batch, size_step_of, takes_narrow
from realtime.records import Float

MOST = 16
"""Pictures of several callers in one call; one caller's own batch is never divided."""


@dataclass(slots=True, eq=False)
class _Asked:
    batch: NDArray[np.uint8]
    outputs: Arrays | None = None
    failure: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.failure is not None


class Shared:
    """A network that any number of threads call at once. See engines.base.Network.

    Nobody waits for a batch to fill: whoever comes while the network is free runs it with all that
    is waiting, and what comes meanwhile is the next batch. So a lone caller is as quick as without
    it, and the busier the network, the larger its batches. An error is raised to all callers of
    its batch. users: the network is closed when so many have closed it.
    """

    def __init__(self, network: Network, users: int) -> None:
        self._network = network
        self.spec: ModelSpec = network.spec
        self.engine, self.precision = network.engine, network.precision
        self.device, self.why = network.device, network.why
        self.size_step, self.narrow = size_step_of(network), takes_narrow(network)
        self.locate = self._locate if getattr(network, "locate", None) else None
        self._users = users
        self._waiting: list[_Asked] = []
        self._changed = Condition()
        self._turn = Lock()  # held by the thread that runs the network

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        # A wrong one must not spoil what others ask for.
        check_batch(self.spec, batch, self.size_step, self.narrow)
        mine = _Asked(batch)
        with self._changed:
            self._waiting.append(mine)
        while not mine.done:
            if self._turn.acquire(blocking=False):
                try:
                    self._run(self._take())
                finally:
                    self._turn.release()
                    self._tell()
            else:
                with self._changed:
                    self._changed.wait_for(lambda: mine.done or not self._turn.locked())
        if mine.failure is not None:
            raise mine.failure
        assert mine.outputs is not None
        return mine.outputs

    def _locate(self, *asked: Any) -> tuple[Float, Float]:
        """See engines.torch_locate.Locate; one caller after the other."""
        try:
            with self._turn:
                return self._network.locate(*asked)  # type: ignore[attr-defined, no-any-return]
        finally:
            self._tell()

    def close(self) -> None:
        """Closes the network when everybody has."""
        with self._changed:
            self._users -= 1
            last = self._users == 0
        if last:
            self.locate = None
            self._network.close()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _take(self) -> list[_Asked]:
        """Those who have waited longest, as many as fit into one call, which has one size."""
        with self._changed:
            first = self._waiting[:1] and self._waiting[0].batch.shape[1:]
            alike = [asked for asked in self._waiting if asked.batch.shape[1:] == first]
            sizes = np.cumsum([len(asked.batch) for asked in alike])
            taken = alike[: max(1, int(np.searchsorted(sizes, MOST, side="right")))]
            self._waiting = [asked for asked in self._waiting if asked not in taken]
            return taken

    def _run(self, group: list[_Asked]) -> None:
        if not group:
            return
        try:
            batches = [asked.batch for asked in group]
            outputs = self._network(batches[0] if len(group) == 1 else np.concatenate(batches))
        except BaseException as error:  # noqa: BLE001 - those who asked raise it
            for asked in group:
                asked.failure = error
            return
        ends = np.cumsum([len(asked.batch) for asked in group])[:-1]
        parts = [np.split(array, ends) for array in outputs]
        for n, asked in enumerate(group):
            asked.outputs = [part[n] for part in parts]
