"""Batch normalisation over the samples of all processes, on CPUs.

torch.nn.SyncBatchNorm does the same on GPUs, but not over gloo.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def over_all_processes(net: nn.Module) -> nn.Module:
    """net, whose batch normalisations from now on use the whole batch; each process has to have
    equally many samples of it. Parameters and their names stay."""
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = TeamBatchNorm
    return net


class TeamBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d that learns from the batch of all processes; the plain one when it is used."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.momentum is not None and self.running_mean is not None
        assert self.running_var is not None and self.num_batches_tracked is not None
        plain = input.to(torch.promote_types(input.dtype, torch.float32))
        var, mean = torch.var_mean(plain, (0, 2, 3), correction=0)
        mean, var = mean.double(), var.double()
        size = distributed.get_world_size()
        mean, square = _Sum.apply(torch.stack([mean, var + mean**2])) / size
        var = square - mean**2
        with torch.no_grad():
            count = input.numel() / input.shape[1] * size
            self.running_mean.lerp_(mean.float(), self.momentum)
            self.running_var.lerp_((var * count / (count - 1)).float(), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(var + self.eps).float()
        shift = self.bias - mean.float() * scale
        result: Tensor = plain * scale[:, None, None] + shift[:, None, None]
        return result.to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's loss depends on the values of all, so that its
    gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total
