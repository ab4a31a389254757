"""Several processes, on one machine or many, that train one network together (torchrun).

Each takes its share of every batch and all gradients are averaged, so that the weights stay equal;
the first process alone measures and writes. The result is that of one process with the whole batch:
batch normalisations take their statistics from all of it, and a loss divides by what counts in all
of it (see divisor).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from realtime.errors import StageError, UsageError
from train.batch_norm import over_all_processes

T = TypeVar("T")
PATIENCE = timedelta(hours=24)
"""How long the others wait while the first measures; a lost process is noticed at once."""


class ProcessLost(StageError):
    """Another process of the team ended before its work was done."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of this run. rank: which one this is; size: how many there are."""

    rank: int
    size: int
    device: torch.device
    control: Any = None

    @property
    def first(self) -> bool:
        """Whether this process measures, logs and writes."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """net, which is on the device, such that backward averages gradients over the team."""
        if self.size == 1:
            return net
        where = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(net, device_ids=where)

    def prepare(self, net: nn.Module) -> nn.Module:
        """net with batch normalisations over the whole batch."""
        if self.size == 1:
            return net
        if self.device.type != "cuda":
            return over_all_processes(net)
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        whole: nn.Module = convert(net)
        return whole

    def share(self, samples: range) -> range:
        """This process's part of a batch; what cannot be shared equally is left out.

        Raises UsageError where a batch has fewer samples than there are processes.
        """
        count = len(samples) // self.size
        if not count:
            raise UsageError(f"a batch of {len(samples)} for {self.size} processes; raise --batch")
        return samples[self.rank * count : (self.rank + 1) * count]

    def any(self, flag: bool) -> bool:
        """Whether the flag of any process is set; all have to call it."""
        if self.size == 1:
            return flag
        mine = torch.tensor([int(flag)])
        distributed.all_reduce(mine, distributed.ReduceOp.MAX, self.control)
        return bool(mine.item())

    def from_first(self, make: Callable[[], T]) -> T:
        """What make gives in the first process, which is the one that sees the run's folder."""
        if self.size == 1:
            return make()
        made = [make() if self.first else None]
        distributed.broadcast_object_list(made, 0, self.control)
        return cast(T, made[0])

    @contextmanager
    def telling_of_losses(self) -> Iterator[None]:
        """Turns the failure to reach another process, wherever it shows, into ProcessLost."""
        try:
            yield
        except RuntimeError as error:
            known = isinstance(error, distributed.DistError) or "peer" in str(error)
            if self.size == 1 or not known:
                raise
            raise ProcessLost(
                "another process of this job was lost; start it again to go on from the last "
                f"checkpoint ({str(error).splitlines()[0]})",
                "train",
            ) from error


def beside() -> int:
    """How many processes of this run are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def divisor(weight: Tensor) -> Tensor:
    """What a loss, a sum of values by weight, has to be divided by: one number without a gradient.

    weight: the sum of the weights in this process's share. The mean of the losses of all processes
    is then the mean by weight over the whole batch (of at least 1), though one share has more that
    counts than another. All processes have to call it.
    """
    total = weight.detach().clone()
    if not (distributed.is_available() and distributed.is_initialized()):
        return total.clamp(min=1)
    distributed.all_reduce(total)
    return total.clamp(min=1) / distributed.get_world_size()


@contextmanager
def team(device: str) -> Iterator[Team]:
    """The team that torchrun describes in the environment; one process without it.

    device: auto, cpu or cuda. Raises UsageError, ProcessLost.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = _place(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Team(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    try:
        yield Team(rank, size, place, _control(place))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _control(place: torch.device) -> Any:
    """Begin to talk to the others; the group for words, not gradients. Raises ProcessLost."""
    try:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return distributed.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:100]
        text = f"the processes of this job do not reach each other; start it again ({reason})"
        raise ProcessLost(text, "train") from error


def _place(device: str, local_rank: int) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise UsageError(f"--device cuda: {count} GPUs for process {local_rank} of this machine")
    return torch.device("cuda", local_rank)
