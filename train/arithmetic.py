"""How numbers are computed: the precision of the forward pass, and whether they stay finite."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.torch import has_bf16
from train.config import Amp

DELAY = 4
"""Steps on a GPU after which its numbers are looked at: sooner would make it wait."""


def autocast_type(amp: Amp, device: torch.device) -> torch.dtype | None:
    """What autocast computes in, None for plain float32."""
    if amp == "auto":
        return torch.bfloat16 if has_bf16(device) else None
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On the CPU the same steps give the same bits; on a GPU the fastest kernels are looked for."""
    filling: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        filling.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(device.type == "cpu")
    filling.fill_uninitialized_memory = False  # costs time, changes nothing here
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        filling.fill_uninitialized_memory = before[1]
        torch.backends.cudnn.benchmark = before[2]


class NotFinite(Exception):
    """A loss or gradient that is not a number; step says of which step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"{value}")
        self.step = step
        self.value = value


@dataclass(slots=True)
class _Asked:
    step: int
    value: Tensor
    ready: Any


class Watch:
    """Looks whether numbers of the steps are finite, without making a GPU wait for each."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._asked: deque[_Asked] = deque()

    def add(self, step: int, value: Tensor) -> None:
        """Look at a scalar: at once on the CPU, some steps later on a GPU. Raises NotFinite."""
        if not self._gpu:
            _look(step, value)
            return
        cuda: Any = torch.cuda
        copied = value.detach().to("cpu", non_blocking=True)
        ready: Any = cuda.Event()
        ready.record()
        self._asked.append(_Asked(step, copied, ready))
        self.drain(DELAY)

    def drain(self, left: int = 0) -> None:
        """Look at all numbers but the last left ones, waiting for them. Raises NotFinite."""
        while len(self._asked) > left:
            asked = self._asked.popleft()
            asked.ready.synchronize()
            _look(asked.step, asked.value)


def _look(step: int, value: Tensor) -> None:
    number = float(value.detach())
    if not number - number == 0:  # infinities and NaN
        raise NotFinite(step, number)
