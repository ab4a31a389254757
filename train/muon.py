"""The Muon optimiser: convolutions change by orthogonal matrices, all else by AdamW.

K. Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024), with the step size
of J. Liu et al., Muon is Scalable for LLM Training (2025), so that rates are those of AdamW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engines.torch import has_bf16

MOMENTUM = 0.95
ROUNDS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)
"""a x + b x^3 + c x^5 brings singular values from 0..1 near 1 in ROUNDS rounds (Jordan et al.)."""
LIKE_ADAMW = 0.2
"""Root mean square of AdamW's usual steps at rate 1 (Liu et al.)."""
LEAST_CHANNELS = 18
"""Weights from or to fewer, which is first and last layers, are left to AdamW."""


class Muon(torch.optim.Optimizer):
    """Optimiser of all weights of net; norms and biases are not decayed.

    The matrix of a weight is its first dimension against all others.
    """

    def __init__(self, net: nn.Module, rate: float, weight_decay: float) -> None:
        weights = [p for p in net.parameters() if p.requires_grad]
        inner = [p for p in weights if _is_inner(p)]
        outer = [p for p in weights if p.ndim > 1 and not _is_inner(p)]
        groups: list[dict[str, Any]] = [
            {"params": inner, "weight_decay": weight_decay, "inner": True},
            {"params": outer, "weight_decay": weight_decay, "inner": False},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0, "inner": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": rate})
        others = [group for group in self.param_groups if not group["inner"]]
        self._adamw = torch.optim.AdamW(others, lr=rate, fused=True) if others else None
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change the weights by their gradients."""
        for group in self.param_groups:
            if group["inner"]:
                for weights in group["params"]:
                    if weights.grad is not None:
                        self._turn(weights, weights.grad, group["lr"], group["weight_decay"])
        if self._adamw:
            self._adamw.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """AdamW works on the groups and the state of this optimiser, which saves them."""
        if self._adamw:
            self._adamw.param_groups = [g for g in self.param_groups if not g["inner"]]
            self._adamw.state = self.state

    def _turn(self, weights: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weights]
        if not state:
            state["momentum"] = torch.zeros_like(weights)
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        change = orthogonal(gradient.lerp(momentum, MOMENTUM).flatten(1))
        size = rate * LIKE_ADAMW * max(change.shape) ** 0.5
        weights.mul_(1 - rate * decay)
        weights.add_(change.view(weights.shape).to(weights.dtype), alpha=-size)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of a matrix, in bf16 where that is
    faster, else in float32.

    Singular values above about 1 % of the norm come out between 0.6 and 1.3.
    """
    short = matrix.bfloat16() if has_bf16(matrix.device) else matrix.float()
    wide = short if matrix.shape[0] <= matrix.shape[1] else short.T
    x = wide / (wide.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    result: Tensor = x if matrix.shape[0] <= matrix.shape[1] else x.T.contiguous()
    return result


def _is_inner(weights: Tensor) -> bool:
    return weights.ndim > 1 and min(weights.shape[:2]) >= LEAST_CHANNELS
