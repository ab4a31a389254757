"""What the training loop needs to know of what it trains: pose or detector, or another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Sample = dict[str, NDArray[Any]]
"""Arrays of one sample by name; samples of one task have equal shapes and stack to a batch."""
Batch = dict[str, Tensor]
"""Stacked samples (B, ...), on the device of the network."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What an epoch reached: numbers by name (for curves and logs), which of them decides what
    the best epoch is (larger is better), and a picture sheet, uint8 (H, W, 3) BGR."""

    numbers: dict[str, float]
    best_by: str
    sheet: NDArray[np.uint8]


class Task(Protocol):
    """A network, its samples, its loss and its validation."""

    def work_on(self, place: torch.device) -> None:
        """Told before network(): where it will be, so that a teacher can be there as well."""
        ...

    def network(self, there: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The network to train, with its starting weights, float32, on the CPU. there: the weights
        of a checkpoint, which it gets afterwards: it has their shape, and no others are read.

        forward: uint8 (B, H, W, 3) BGR to its outputs; normalisation is inside.
        """
        ...

    def __len__(self) -> int:
        """Samples in an epoch."""
        ...

    def keep_pictures(self, limit_bytes: int) -> None:
        """Told before the first sample: how many bytes of decoded pictures each process that makes
        samples may keep."""
        ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Sample index of an epoch: the same arrays in any process at any time."""
        ...

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, a float32 scalar, and its parts by name for the log.

        net is called as a whole (it may be wrapped for several processes), under autocast.
        """
        ...

    def validate(self, net: nn.Module) -> Validation:
        """Measure a network in eval mode on the validation data."""
        ...

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        """Write the network as its canonical ONNX file; trained says on what and how long."""
        ...
