"""Losses of heatmaps (B, K, h, w) against Gaussians, one value for each joint: (B, K)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

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


LOSSES: dict[str, HeatmapLoss] = {"mse": squared, "softmax": spatial}


def weighted_mean(each: Tensor, weight: Tensor) -> Tensor:
    """The mean of each (B, K) by weight (B, K), 0 where all weights are 0; over the whole batch
    (parallel.divisor)."""
    return (each * weight).sum() / divisor(weight.sum())
