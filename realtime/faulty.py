"""Networks that give what POSESTREAM_FAULT asks for instead of their results; see faults.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, ModelSpec, Network
from realtime.detect import Detector
from realtime.errors import OutOfMemory
from realtime.faults import Fault
from realtime.halving import Halving
from realtime.records import Detections, Frame

VALUES = {"nan": np.nan, "inf": np.inf, "zero": 0.0}


class FaultyNetwork:
    """nan, inf, zero: every number of the results. oom:N: no memory for batches above N. See
    engines.base.Network."""

    def __init__(self, network: Network, fault: Fault) -> None:
        self._network, self._fault = network, fault
        self.spec: ModelSpec = network.spec
        self.engine, self.precision = network.engine, network.precision
        self.device, self.why = network.device, network.why

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        if self._fault.action == "oom" and len(batch) > self._fault.amount:
            raise OutOfMemory(f"{self.spec.name}: GPU memory is full; injected")
        outputs = self._network(batch)
        if self._fault.action in VALUES:
            return [np.full_like(array, VALUES[self._fault.action]) for array in outputs]
        return outputs

    def close(self) -> None:
        self._network.close()


class FaultyDetector(Detector):
    """crowd:N: N people side by side in every frame, of whom max_people are kept; 0 is nobody."""

    count = 0

    def __call__(self, frames: Sequence[Frame], share: float = 1.0) -> list[Detections]:
        return [self._crowd(frame) for frame in frames]

    def _crowd(self, frame: Frame) -> Detections:
        width, height = frame.size_wh
        left = np.linspace(0, width - 2, self.count, dtype=np.float32)
        boxes = np.stack([left, 0 * left, left + 1, 0 * left + height - 1], axis=1)
        scores = np.linspace(0.9, 0.8, self.count, dtype=np.float32)
        return self._best(Detections(boxes, scores))


def faulty(detector: Detector, pose: Network, fault: Fault | None) -> tuple[Detector, Network]:
    """The networks with the fault, if it is one of theirs."""
    if fault is None or fault.action not in (*VALUES, "oom", "crowd"):
        return detector, pose
    if fault.action == "crowd":
        crowd = FaultyDetector(detector.network, detector.min_score)
        crowd.count = int(fault.amount)
        return crowd, pose
    if fault.stage == "detect":
        return Detector(_with(fault, detector.network), detector.min_score), pose
    return detector, _with(fault, pose)


def _with(fault: Fault, network: Network) -> Network:
    return Halving(FaultyNetwork(network, fault))  # as realtime.opening does with a real one
