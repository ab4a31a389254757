"""Pose networks as a training could leave them, for the tests of what is written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.pose_net import PoseNet

METADATA: dict[str, Any] = {
    "name": "pose-test",
    "input_wh": (64, 64),
    "grid": "pixel_centre",
    "sigma": 1.5,
    "padding": 1.1,
    "licence": "Apache-2.0",
    "trained": "never",
}


def unsettle(net: nn.Module) -> Any:
    """Give batch normalisations the values a trained network could have; net in eval mode."""
    generator = torch.Generator().manual_seed(3)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low, high in (
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 2.0),
                (part.weight, 0.7, 1.3),
                (part.bias, -0.3, 0.3),
            ):
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
    return net.eval()


def pose_net(depth: int = 18) -> PoseNet:
    """A network with random weights; the same in every run."""
    torch.manual_seed(depth)
    net: PoseNet = unsettle(PoseNet(depth))
    return net


def crops(count: int = 2, size: int = 64) -> torch.Tensor:
    """Pictures uint8 (count, size, size, 3)."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=generator)


def damage(path: Path, folder: Path) -> list[Path]:
    """What can go wrong with a file: cut at several places, empty, a web page, other bytes."""
    data = path.read_bytes()
    contents = [data[: len(data) * share // 100] for share in (0, 1, 40, 99)]
    contents += [b"<!DOCTYPE html><html><body>404</body></html>", b"\0" * 4096, b"no model " * 99]
    files = []
    for number, content in enumerate(contents):
        files.append(folder / f"damaged{number}{path.suffix}")
        files[-1].write_bytes(content)
    return files
