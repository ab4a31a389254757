"""Losses of the person detector, over what counts in the whole batch (parallel.divisor)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from train.hints import hint_loss
from train.parallel import divisor
from train.task import Batch

BOX_WEIGHT, JOINT_WEIGHT = 2.0, 100.0


def detector_loss(
    net: nn.Module, batch: Batch, taught: Sequence[Tensor] = (), hint_weight: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a train.detector_net.DetectorTrainer on train.detector_data samples.

    taught: what a teacher sees in them, see train.hints.
    """
    logits, sizes, joints, hints = net(batch["image"])
    centre = centre_loss(logits[:, 0].float(), batch["centres"].float(), batch["counted"].float())
    box = box_loss(sizes.float(), batch["edges"].float(), batch["share"].float())
    counted = batch["joints_counted"][:, None] * batch["joints_known"][:, :, None, None]
    joint = joint_loss(joints.float(), batch["joints"].float() / 255, counted.float())
    parts = {"centre": centre, "box": box, "joint": joint}
    loss = centre + BOX_WEIGHT * box + JOINT_WEIGHT * joint
    if taught:
        parts["hints"] = hint_loss(hints, taught)
        loss = loss + hint_weight * parts["hints"]
    return loss, parts


def centre_loss(logits: Tensor, centres: Tensor, counted: Tensor) -> Tensor:
    """Focal loss (Zhou et al., Objects as Points, 2019, eq. 1) of maps (B, h, w), per person."""
    found = torch.sigmoid(logits)
    peak = (centres == 1).float()
    hit = peak * (1 - found) ** 2 * logsigmoid(logits)
    miss = (1 - peak) * counted * (1 - centres) ** 4 * found**2 * logsigmoid(-logits)
    return -(hit + miss).sum() / divisor(peak.sum())


def box_loss(sizes: Tensor, edges: Tensor, share: Tensor) -> Tensor:
    """-ln IoU (Yu et al., UnitBox, 2016) and the log ratio of each edge; (B, 4, h, w), weighted by
    share (B, h, w). Boxes of one cell always overlap, so that the IoU has a gradient."""
    low, high = torch.minimum(sizes, edges), torch.maximum(sizes, edges)
    overlap = (low[:, 0] + low[:, 2]) * (low[:, 1] + low[:, 3])
    area = [(s[:, 0] + s[:, 2]) * (s[:, 1] + s[:, 3]) for s in (sizes, edges)]
    iou = overlap / (area[0] + area[1] - overlap).clamp(min=1e-6)
    uneven = torch.log((high + 1) / (low + 1)).mean(1)
    each = uneven - torch.log(iou.clamp(min=1e-4))
    return (each * share).sum() / divisor(share.sum())


def joint_loss(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy of maps (B, 17, h, w) with soft targets, over the cells that count."""
    each = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * counted).sum() / divisor(counted.sum())
