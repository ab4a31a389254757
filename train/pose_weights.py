"""The pose network's weights as plain tensors: their names, their check, and the way back.

Weights are float32 by the names of engines.torch_nets.PoseResNet. What else is known about them
is a dictionary by the field names of engines.base.ModelSpec ("rgb", "mean" and "std" are of the
weights, also where a file does that itself), and "trained".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.base import ModelSpec
from engines.registry import IMAGENET_MEAN, IMAGENET_STD
from engines.torch_nets import PoseResNet, depth_of, widths_of
from realtime.errors import ModelError
from realtime.skeleton import JOINT_COUNT
from train.pose_net import PoseNet

Weights = dict[str, Tensor]
Metadata = dict[str, Any]

PREFIXES = ("module.", "pose.", "net.")
"""What wrappers put before all names: DistributedDataParallel, PoseTrainer, PoseNet."""
ONLY_TO_LEARN = "hints."
"""What weights begin with that learn from a teacher (train.hints) and are of no use afterwards."""
COUNTER = "num_batches_tracked"
"""Batch normalisation counts; no result depends on it and not all files keep it."""
INPUT: Metadata = {"rgb": True, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def plain(weights: Weights) -> Weights:
    """The same weights as float32 where they are numbers, without the prefix of a wrapper."""
    for prefix in PREFIXES:
        if weights and all(name.startswith((prefix, ONLY_TO_LEARN)) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in weights.items()
    }


def check(weights: Weights, path: Path) -> int:
    """The depth of the PoseResNet whose weights these are; raises ModelError where not."""
    depth = depth_of(weights)
    if depth is None or "final.weight" not in weights:
        raise ModelError(f"model {path}: not the weights of a ResNet pose network")
    with torch.device("meta"):
        wanted = PoseResNet(depth, widths_of(weights)).state_dict()
    joints = weights["final.weight"].shape[0]
    if joints != JOINT_COUNT:
        raise ModelError(f"model {path}: a network for {joints} joints, not COCO's {JOINT_COUNT}")
    wrong = [n for n, t in weights.items() if n not in wanted or wanted[n].shape != t.shape]
    wrong += [n for n in wanted if n not in weights and not n.endswith(COUNTER)]
    if wrong:
        raise ModelError(
            f"model {path}: not the weights of a ResNet{depth} pose network: {len(wrong)} "
            f"tensors differ, {wrong[0]} first"
        )
    if broken := [n for n, t in weights.items() if not torch.isfinite(t).all()]:
        raise ModelError(f"model {path}: weights that are not finite, {broken[0]} first")
    return depth


def pose_net(weights: Weights, metadata: Metadata, path: Path) -> PoseNet:
    """A network in eval mode with exactly these weights and their normalisation.

    Raises ModelError unless they are those of a PoseResNet; path is for its message.
    """
    rgb, mean, std = ({**INPUT, **metadata}[name] for name in INPUT)
    depth = check(weights, path)
    net = PoseNet(depth, rgb, tuple(mean), tuple(std), widths_of(weights))
    counters = {n: t for n, t in net.net.state_dict().items() if n.endswith(COUNTER)}
    net.net.load_state_dict({**counters, **weights})
    return net.eval()


def renormalised(weights: Weights, metadata: Metadata, wanted: Metadata = INPUT) -> Weights:
    """The same network for another normalisation of its input.

    Both are affine in the pixel, so that the first convolution and the running mean after it take
    up the difference: exact but near the border, where the padding is another grey.
    """
    theirs = {**INPUT, **metadata}
    if all(theirs[name] == wanted[name] for name in INPUT):
        return weights
    kernel = weights["backbone.conv1.weight"]
    mean, std = torch.tensor(theirs["mean"]), torch.tensor(theirs["std"])
    if theirs["rgb"] != wanted["rgb"]:
        mean, std, kernel = mean.flip(0), std.flip(0), kernel.flip(1)
    shift = (torch.tensor(wanted["mean"]) - mean) / std
    gain = torch.tensor(wanted["std"]) / std
    moved = weights["backbone.bn1.running_mean"] - (kernel.sum((2, 3)) * shift).sum(1)
    kernel = (kernel * gain[:, None, None]).contiguous()
    return {**weights, "backbone.conv1.weight": kernel, "backbone.bn1.running_mean": moved}


def of_spec(spec: ModelSpec) -> Metadata:
    """What a spec says about the weights, as plain values."""
    names = "name", "task", "input_wh", "rgb", "mean", "std", "grid", "sigma", "padding", "narrow"
    return {name: getattr(spec, name) for name in (*names, "licence")}
