"""A network that is being trained: run as the engines run it, written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.base import Arrays, Format
from train.config import Config


class Runner:
    """Pictures uint8 (B, H, W, 3) to the outputs of net, float32 (B, ...)."""

    def __init__(self, net: nn.Module) -> None:
        self._net, self._device = net, next(net.parameters()).device

    def __call__(self, images: NDArray[np.uint8]) -> Arrays:
        with torch.inference_mode():
            out = self._net(torch.from_numpy(images).to(self._device))
        return [o.float().cpu().numpy() for o in ((out,) if isinstance(out, Tensor) else out)]


def write(net: nn.Module, config: Config, path: Path, style: Format, trained: str) -> None:
    """The canonical ONNX file of a network of the task; see train.task.Task.write."""
    from train.export import to_onnx

    width, height = config.input_wh
    spec = {
        "name": config.task,
        "task": config.task,
        "format": style,
        "input_wh": [width, height],
        "nhwc": True,
        "rgb": False,
        "grid": "pixel_centre",
        "sigma": config.sigma,
        "padding": config.padding,
        "narrow": config.narrow > 0,
        "licence": "see its model card",
        "trained": trained,
    }
    example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
    outputs = ("heatmaps",) if style == "heatmaps" else ("centers", "sizes")
    to_onnx(net, spec, path, example, outputs=outputs)
