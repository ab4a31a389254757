"""One network called by several threads: everybody gets their own results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Lock
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import Arrays, ModelSpec
from engines.shared import MOST, Shared
from realtime.errors import ModelError


class Sums:
    """A network whose outputs are the sum of each picture and its double; it notes its batches,
    fails where a picture is all 255, and never lets two threads in."""

    engine = precision = device = why = ""

    def __init__(self) -> None:
        self.spec = ModelSpec("sums", "pose", "heatmaps", (2, 2), Path(), "")
        self.batches: list[int] = []
        self.closed = 0
        self.gate = Event()
        self.gate.set()
        self._inside = Lock()

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        assert self._inside.acquire(blocking=False), "two threads at once"
        try:
            self.gate.wait(5)
            self.batches.append(len(batch))
            if (batch == 255).all((1, 2, 3)).any():
                raise ModelError("poisoned")
            sums = batch.astype(np.float32).sum((1, 2, 3))
            return [sums, 2 * sums[:, None]]
        finally:
            self._inside.release()

    def close(self) -> None:
        self.closed += 1


def pictures(count: int, value: int) -> NDArray[np.uint8]:
    return np.full((count, 2, 2, 3), value, np.uint8)


def ask(shared: Any, count: int, value: int) -> None:
    sums, twice = shared(pictures(count, value))
    np.testing.assert_array_equal(sums, np.full(count, 12.0 * value, np.float32))
    np.testing.assert_array_equal(twice, np.full((count, 1), 24.0 * value, np.float32))


def test_many_threads_get_their_own_results() -> None:
    network = Sums()
    shared = Shared(network, 1)
    barrier = Barrier(8)

    def work(thread: int) -> None:
        rng = np.random.default_rng(thread)
        barrier.wait()
        for _ in range(200):
            ask(shared, int(rng.integers(0, 4)), int(rng.integers(0, 250)))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, thread) for thread in range(8)]:
            done.result(30)
    assert max(network.batches) <= MOST


def test_what_waits_is_one_batch() -> None:
    """The first caller runs alone; the others, who come while it runs, together after it."""
    network = Sums()
    shared = Shared(network, 1)
    network.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, shared, 2, 1)
        while not shared._turn.locked():
            pass
        while shared._waiting:
            pass
        others = [pool.submit(ask, shared, 3, 10 * n) for n in range(1, 4)]
        while len(shared._waiting) < 3:
            pass
        network.gate.set()
        for done in (first, *others):
            done.result(10)
    assert network.batches == [2, 9]


def test_a_large_batch_runs_alone_and_undivided() -> None:
    network = Sums()
    ask(Shared(network, 1), 3 * MOST, 7)
    assert network.batches == [3 * MOST]


def test_errors_reach_those_who_asked_and_nobody_hangs() -> None:
    shared = Shared(Sums(), 1)
    with pytest.raises(ModelError, match="poisoned"):
        shared(pictures(1, 255))
    ask(shared, 1, 3)
    with pytest.raises(ModelError, match="expected uint8"):
        shared(np.zeros((1, 3, 2, 3), np.uint8))
    ask(shared, 0, 3)


def test_closed_when_everybody_has_closed_it() -> None:
    network = Sums()
    shared = Shared(network, 3)
    shared.close()
    shared.close()
    assert network.closed == 0
    shared.close()
    assert network.closed == 1
