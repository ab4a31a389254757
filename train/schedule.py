"""The learning rate of each step, the optimiser and the average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from train.config import Config
from train.muon import Muon

FLOOR = 0.02
"""What cosine ends at, as a share of the peak: the last steps still learn."""


def rate_at(step: int, steps: int, config: Config) -> float:
    """The learning rate of step (from 0) of steps.

    warmup steps rise in a line; then the cosine, the stairs (a tenth from 65 %, a hundredth from
    90 % of all steps on) or the peak.
    """
    done = step / max(steps, 1)
    if config.schedule == "cosine":
        share = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
    elif config.schedule == "step":
        share = 1.0 if done < 0.65 else 0.1 if done < 0.9 else 0.01
    else:
        share = 1.0
    return config.rate * share * min(1.0, (step + 1) / max(config.warmup, 1))


def optimiser(net: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon over all weights of net; norms and biases are not decayed."""
    if config.optimiser == "muon":
        return Muon(net, config.rate, config.weight_decay)
    weights = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind([group for group in groups if group["params"]], lr=config.rate, fused=True)


class Ema:
    """An exponential average of a network's weights and buffers.

    net: the averaged network, in eval mode. The decay starts low, because the first weights are
    not worth remembering.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Move towards net after step steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine, theirs = [], []
        for old, new in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if old.is_floating_point():
                mine.append(old)
                theirs.append(new)
            else:
                old.copy_(new)
        torch._foreach_lerp_(mine, theirs, 1 - decay)
