"""Fewer channels in the deconvolutions of a pose network, without training.

Of the channels that a layer reads only some are kept. Which, and what the layer then makes of them,
is chosen so that its results on real crops stay as near as they can in the sense of least squares
(He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", arXiv:1707.06168;
chosen here by backward elimination). Joints are 17 maps made of 256 channels, so that the last
layers need far fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from engines.torch_nets import Widths
from train.onnx_weights import EPSILON
from train.pose_net import PoseNet
from train.pose_weights import Weights

ROUND = 16
"""Channels that go before those that are left are weighed anew."""
RIDGE = 1e-5
"""Of the mean square of what is read, added to every square: two channels may be the same."""


class Layer(Protocol):
    """What reads the maps of a deconvolution.

    read: what maps (B, C, h, w) show it, (N, C * T) with the T values of a channel together, for
    each kind of place one matrix; taps: T. matrices: its weights (C * T, O), which that is
    multiplied by. weight: the weights whose matrices these are.
    """

    @property
    def name(self) -> str: ...
    @property
    def taps(self) -> int: ...
    def read(self, maps: Tensor) -> list[Tensor]: ...
    def matrices(self, weight: Tensor) -> list[Tensor]: ...
    def weight(self, matrices: Sequence[Tensor]) -> Tensor: ...


class Final:
    """The 1x1 convolution, which reads each place alone. See Layer."""

    name, taps = "final", 1

    def read(self, maps: Tensor) -> list[Tensor]:
        return [maps.permute(0, 2, 3, 1).flatten(0, 2)]

    def matrices(self, weight: Tensor) -> list[Tensor]:
        return [weight.flatten(1).T]

    def weight(self, matrices: Sequence[Tensor]) -> Tensor:
        return matrices[0].T[..., None, None]


class Deconvolution:
    """One with a kernel of 4, stride 2 and padding 1: each result is of four places, and even and
    odd rows and columns of results are kinds of their own. See Layer."""

    taps = 4
    SIDES = ((1, 0), (3, -1)), ((2, 0), (0, 1))
    """For even and odd results, which elements of the kernel meet which place from there."""

    def __init__(self, name: str) -> None:
        self.name = name
        kinds = product(self.SIDES, self.SIDES)
        self._kinds = [[(y, x) for y in rows for x in columns] for rows, columns in kinds]

    def read(self, maps: Tensor) -> list[Tensor]:
        height, width = maps.shape[2:]
        around = pad(maps, (1, 1, 1, 1))

        def seen(y: int, x: int) -> Tensor:
            return around[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

        parts = [torch.stack([seen(y, x) for (_, y), (_, x) in k], -1) for k in self._kinds]
        return [part.permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 2) for part in parts]

    def matrices(self, weight: Tensor) -> list[Tensor]:
        parts = [[weight[:, :, i, j] for (i, _), (j, _) in kind] for kind in self._kinds]
        return [torch.stack(part, 1).flatten(0, 1) for part in parts]

    def weight(self, matrices: Sequence[Tensor]) -> Tensor:
        channels, outputs = len(matrices[0]) // 4, matrices[0].shape[1]
        weight = matrices[0].new_zeros(channels, outputs, 4, 4)
        for kind, matrix in zip(self._kinds, matrices):
            parts = matrix.reshape(channels, 4, outputs).unbind(1)
            for ((i, _), (j, _)), part in zip(kind, parts):
                weight[:, :, i, j] = part
        return weight


LAYERS: tuple[Layer, ...] = Deconvolution("deconv.3"), Deconvolution("deconv.6"), Final()
"""What reads the maps of each deconvolution; these are deconv.0, deconv.3 and deconv.6, each with
the batch normalisation after it."""


def slimmed(net: PoseNet, widths: Widths, crops: Iterable[Tensor]) -> Weights:
    """The weights of a PoseResNet of these widths, none above those of net, by its names.

    net: in eval mode. crops: batches uint8 (B, H, W, 3) BGR of what it is for.
    """
    weights = {name: tensor.clone() for name, tensor in net.net.state_dict().items()}
    squares = _squares(net, crops)
    for n in (2, 1, 0):  # the last first: results that nobody reads any more need not stay
        layer = LAYERS[n]
        matrices = layer.matrices(weights[f"{layer.name}.weight"].double())
        gain = _gain(weights, n + 1) if n < 2 else torch.ones(matrices[0].shape[1]).double()
        kept, found = eliminated(squares[n], [m * gain for m in matrices], layer.taps, widths[n])
        weights[f"{layer.name}.weight"] = layer.weight([m / gain for m in found]).float()
        weights[f"deconv.{3 * n}.weight"] = weights[f"deconv.{3 * n}.weight"][:, kept]
        for part in ("weight", "bias", "running_mean", "running_var"):
            name = f"deconv.{3 * n + 1}.{part}"
            weights[name] = weights[name][kept]
    return {name: tensor.contiguous() for name, tensor in weights.items()}


@torch.inference_mode()
def _squares(net: PoseNet, crops: Iterable[Tensor]) -> list[list[Tensor]]:
    """For each of LAYERS and kind of place the sum of x x^T over all that it reads."""
    sums: list[list[Tensor]] = []
    for batch in crops:
        levels = zip(LAYERS, net.levels(batch)[1:])
        new = [[(x.T @ x).double() for x in layer.read(maps)] for layer, maps in levels]
        sums = [[a + b for a, b in zip(*pair)] for pair in zip(sums, new)] if sums else new
    return sums


def _gain(weights: Weights, n: int) -> Tensor:
    """How much what reads the map of a deconvolution makes of each of its channels, (C,)."""
    norm = f"deconv.{3 * n + 1}."
    scale = weights[norm + "weight"] / (weights[norm + "running_var"] + EPSILON).sqrt()
    matrices = LAYERS[n].matrices(weights[f"{LAYERS[n].name}.weight"])
    made = sum((m**2).reshape(len(scale), -1).sum(1) for m in matrices)
    gain = scale.abs().double() * torch.as_tensor(made).double().sqrt()
    return gain.clamp(min=1e-6 * float(gain.max()))


def eliminated(
    squares: Sequence[Tensor], matrices: Sequence[Tensor], taps: int, count: int
) -> tuple[list[int], list[Tensor]]:
    """Which count of C channels to keep, and the matrices (count * T, O) that make of them what
    comes nearest to what those given, (C * T, O), make of all. taps: T.

    squares: (C * T, C * T), sums of x x^T over all x that are read; float64, as all is. Without a
    channel the squared error grows by tr(M^T S^-1 M): M its rows of the best matrix, S its block of
    the inverse of squares. Those with the least go, ROUND at a time.
    """
    kept = list(range(len(squares[0]) // taps))
    if count == len(kept):
        return kept, list(matrices)
    goals = [square @ matrix for square, matrix in zip(squares, matrices)]
    ridged = [s + RIDGE * s.diagonal().mean() * torch.eye(len(s)).double() for s in squares]
    while True:
        rows = (torch.tensor(kept)[:, None] * taps + torch.arange(taps)).flatten()
        inverses = [torch.linalg.inv(square[rows][:, rows]) for square in ridged]
        found = [inverse @ goal[rows] for inverse, goal in zip(inverses, goals)]
        if len(kept) == count:
            return kept, found
        pairs = zip(inverses, found)
        losses = torch.stack([_losses(*pair, taps) for pair in pairs]).sum(0)
        gone = set(losses.argsort()[: min(ROUND, len(kept) - count)].tolist())
        kept = [channel for n, channel in enumerate(kept) if n not in gone]


def _losses(inverse: Tensor, matrix: Tensor, taps: int) -> Tensor:
    """By how much the squared error grows without each of the channels (C,)."""
    count = len(inverse) // taps
    blocks = inverse.reshape(count, taps, count, taps).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    own = matrix.reshape(count, taps, -1)
    losses: Tensor = (own * torch.linalg.solve(blocks, own)).sum((1, 2))
    return losses
