"""Public checkpoints of the same network, by the names of engines.torch_nets.PoseResNet.

- pytorchcv's simplepose_resnet18_coco and its relatives with a plain ResNet (trained by GluonCV),
- Microsoft's pose_resnet (human-pose-estimation.pytorch, Xiao et al., ECCV 2018),
- MMPose's top-down ResNet with a heatmap head, before and after version 1.0,
- a ResNet of torchvision's, which is a backbone without a head.

All three kinds of pose networks were trained with targets at joint / stride, the grid "corner" of
engines.base.ModelSpec, MMPose's UDP configurations at joint * (w - 1) / (W - 1), "udp"; which of
these, a file does not say. Microsoft's pictures were BGR, normalised by the RGB mean and std in
that order (its JointsDataset); the others are RGB. Sigma is 2 cells at a height of 256 pixels and
grows with it. Microsoft's and MMPose's "caffe" style has its strides in other layers of the same
shapes: the files look the same, and come out wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from realtime.errors import ModelError
from train import safe_pickle
from train.pose_weights import INPUT, Metadata, Weights, check, plain

MICROSOFT_INPUT: Metadata = {**INPUT, "rgb": False}
"""The RGB mean and std on BGR pictures, as trained."""

Rule = tuple[str, str]
UNIT = r"backbone\.(\d)\.unit(\d+)\."
DECODER: tuple[Rule, ...] = tuple(
    (rf"decoder\.unit{n}\.{part}\.(.+)", rf"deconv.{3 * (n - 1) + at}.\1")
    for n in (1, 2, 3)
    for at, part in enumerate(("conv", "bn"))
)
HEAD: tuple[Rule, ...] = (
    (r"(?:keypoint_head|head)\.deconv_layers\.(\d)\.(.+)", r"deconv.\1.\2"),
    (r"(?:keypoint_head|head)\.final_layer\.(?:0\.)?(weight|bias)", r"final.\1"),
)
BACKBONE: tuple[Rule, ...] = ((r"((?:conv1|bn1|layer\d)\..+)", r"backbone.\1"),)
FAMILIES: dict[str, tuple[str, tuple[Rule, ...]]] = {
    "pytorchcv": (
        r"decoder\.unit1\.conv\.weight",
        (
            (r"backbone\.0\.conv\.(conv|bn)\.(.+)", r"backbone.\g<1>1.\2"),
            (UNIT + r"body\.conv(\d)\.(conv|bn)\.(.+)", r"backbone.layer\1.<\2>.\4\3.\5"),
            (UNIT + r"identity_conv\.conv\.(.+)", r"backbone.layer\1.<\2>.downsample.0.\3"),
            (UNIT + r"identity_conv\.bn\.(.+)", r"backbone.layer\1.<\2>.downsample.1.\3"),
            *DECODER,
            (r"decoder\.final_block\.(.+)", r"final.\1"),
        ),
    ),
    "mmpose": (
        r"(?:keypoint_head|head)\.deconv_layers\.0\.weight",
        ((r"(backbone\..+)", r"\1"), *HEAD),
    ),
    "microsoft": (
        r"deconv_layers\.0\.weight",
        (
            *BACKBONE,
            (r"deconv_layers\.(\d)\.(.+)", r"deconv.\1.\2"),
            (r"final_layer\.(.+)", r"final.\1"),
        ),
    ),
    "posestream": (r"deconv\.0\.weight", ((r"((?:backbone|deconv|final)\..+)", r"\1"),)),
    "torchvision": (r"layer4\.0\.conv1\.weight", BACKBONE),
}
"""For each family a name that only it has, and how its names become ours; <n> is n - 1."""
WITHOUT_USE = re.compile(r"fc\.(weight|bias)|data_preprocessor\..+")
"""ImageNet's classes, and what MMPose keeps of the pictures."""
INSIDE = ("state_dict", "model", "network")
"""Where training programs put the weights in a checkpoint, in order of preference."""


def read_public(path: Path) -> tuple[Weights, Metadata]:
    """The weights in a public checkpoint, and "family", "rgb", "mean", "std" and "grid".

    A pickle (.pth, .tar, ...), read by train.safe_pickle, or the same names in .safetensors.
    Raises ModelError for a file that is missing, damaged, refused or of another network.
    """
    if path.suffix.lower() == ".safetensors":
        from train.weights import read_safetensors

        tensors, known = read_safetensors(path)
    else:
        tensors, known = _tensors(path, safe_pickle.load(path)), {}
    weights, family = canonical(tensors)
    if not family:
        raise ModelError(
            f"model {path}: of an unknown network, with {min(tensors)}; known are pytorchcv's "
            "simplepose, Microsoft's pose_resnet and MMPose's top-down ResNet"
        )
    if family == "torchvision":
        return weights, {**INPUT, "family": family}
    check(weights, path)
    made = MICROSOFT_INPUT if family == "microsoft" else INPUT
    grid = "pixel_centre" if family == "posestream" else "corner"
    return weights, {**made, "grid": grid, **known, "family": family}


def canonical(tensors: Weights) -> tuple[Weights, str]:
    """The tensors by our names as float32, and their family, "" where it is not known.

    A name no rule knows stays as it is, so that check() finds it.
    """
    tensors = plain(tensors)
    for family, (mark, rules) in FAMILIES.items():
        if any(re.fullmatch(mark, name) for name in tensors):
            kept = {n: t for n, t in tensors.items() if not WITHOUT_USE.fullmatch(n)}
            return _biases_moved({_renamed(n, rules): t for n, t in kept.items()}), family
    return tensors, ""


def _renamed(name: str, rules: tuple[Rule, ...]) -> str:
    for pattern, ours in rules:
        if found := re.fullmatch(pattern, name):
            return re.sub(r"<(\d+)>", lambda n: str(int(n[1]) - 1), found.expand(ours))
    return name


def _biases_moved(weights: Weights) -> Weights:
    """Deconvolutions without biases: the running mean of the normalisation after takes them up."""
    weights = dict(weights)
    for layer in (0, 3, 6):
        mean = f"deconv.{layer + 1}.running_mean"
        if f"deconv.{layer}.bias" in weights and mean in weights:
            weights[mean] = weights[mean] - weights.pop(f"deconv.{layer}.bias")
    return weights


def _tensors(path: Path, content: Any) -> Weights:
    """The dictionary of tensors in a checkpoint; raises ModelError where there is none."""
    for key in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"model {path}: holds no dictionary of weights")
    tensors = {str(name): tensor for name, tensor in content.items() if _is_dense(tensor)}
    if len(tensors) < len(content):
        raise ModelError(f"model {path}: holds more than named weights; save its state_dict alone")
    return tensors


def _is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
