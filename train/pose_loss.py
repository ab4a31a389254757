"""Losses of heatmaps (B, K, h, w) against Gaussians, one value for each joint: (B, K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from train.parallel import divisor

HeatmapLoss = Callable[[Tensor, Tensor, float], Tensor]


def squared(out: Tensor, target: Tensor, peak_weight: float) -> Tensor:
    """Mean squared error times 100, cells weighted 1 + peak_weight * target.

    The weight makes up for there being 50 times more background than peak.
    """
    return ((out - target) ** 2 * (1 + peak_weight * target)).mean((2, 3)) * 100


def spatial(out: Tensor, target: Tensor, peak_weight: float) -> Tensor:
    """Cross-entropy of the softmax over all cells with the target as a distribution; 0 where the
    target is empty. The scale of out is free, so it learns places from the first step but no
    scores; peak_weight is not used."""
    flat = target.flatten(2)
    share = flat / flat.sum(2, keepdim=True).clamp(min=1e-6)
    result: Tensor = -(share * out.flatten(2).log_softmax(2)).sum(2)
    return result


def hint_loss(hints: Sequence[Tensor], taught: Sequence[Tensor]) -> Tensor:
    """Mean squared error of maps (B, C, h, w) at each stride, averaged over the strides: of all
    processes alike, since their samples have one size."""
    each = [mse_loss(own.float(), theirs) for own, theirs in zip(hints, taught, strict=True)]
    return torch.stack(each).mean()


LOSSES: dict[str, HeatmapLoss] = {"mse": squared, "softmax": spatial}


def weighted_mean(each: Tensor, weight: Tensor) -> Tensor:
    """The mean of each (B, K) by weight (B, K), 0 where all weights are 0; over the whole batch
    (parallel.divisor)."""
    return (each * weight).sum() / divisor(weight.sum())
