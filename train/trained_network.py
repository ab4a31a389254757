"""The network of a training, run as the engines run a model file, so that it can be measured."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.base import Arrays, ModelSpec, Options, check_batch, opened
from engines.torch import device_of, whole_float32
from engines.torch_locate import explained
from realtime.errors import ModelError
from train.detector_net import PersonDetector
from train.pose_weights import Metadata, Weights, pose_net
from train.weights import load_weights

DTYPES = {"auto": torch.float32, "f32": torch.float32, "bf16": torch.bfloat16}
DETECTOR = "detector."
"""Prefix of the detector's weights beside those it is only trained with."""


class TrainedNetwork:
    """Weights that train has written, through PyTorch. See engines.base.Network.

    path: what train.weights.load_weights takes: the folder of a training or of a checkpoint, or a
    weights file. task: what it must be. Raises ModelError.
    """

    engine = "torch"
    why = "weights of a training"

    def __init__(self, path: Path, task: str, options: Options) -> None:
        weights, known = load_weights(path)
        found = known.get("task", "pose")
        if found != task:
            raise ModelError(f"model {path}: a {found} network, give it with --{found}")
        if options.precision not in DTYPES:
            choices = ", ".join(DTYPES)
            raise ModelError(f"model {path}: in precision {options.precision}; choose {choices}")
        self.spec = _spec(path, found, known)
        self.narrow = self.spec.narrow
        self.precision = "bf16" if options.precision == "bf16" else "f32"
        self._place = device_of(options.compute)
        self.device = str(self._place)
        if self._place.type == "cpu" and options.threads is not None:
            torch.set_num_threads(options.threads)
        if self.precision == "f32":
            whole_float32(self._place)
        net = network_of(weights, known, path).eval()
        net = net.to(self._place, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net: nn.Module | None = net

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch, narrow=self.narrow)
        low = self.precision == "bf16"
        autocast = torch.autocast(self._place.type, torch.bfloat16, low)
        with explained(self.spec), torch.inference_mode(), autocast:
            outputs = opened(self._net, self.spec)(torch.tensor(batch, device=self._place))
            parts = [outputs] if isinstance(outputs, Tensor) else outputs
            return [part.float().contiguous().cpu().numpy() for part in parts]

    def close(self) -> None:
        """Let the network go."""
        self._net = None


def network_of(weights: Weights, known: Metadata, path: Path) -> nn.Module:
    """The network of these weights, pose or detector; see train.weights.load_weights."""
    if known.get("task", "pose") == "pose":
        return pose_net(weights, known, path)
    return _detector(weights, path)


def _spec(path: Path, task: str, known: dict[str, Any]) -> ModelSpec:
    names = {field.name for field in fields(ModelSpec)}
    given = {name: value for name, value in known.items() if name in names}
    if "input_wh" not in given:
        raise ModelError(f"model {path}: does not say its input size; give its training")
    style = "heatmaps" if task == "pose" else "centers"
    given |= {"task": task, "format": style, "path": path, "sha256": ""}
    given["input_wh"] = tuple(given["input_wh"])
    return ModelSpec(**{"name": path.name, **given})


def _detector(weights: dict[str, Tensor], path: Path) -> nn.Module:
    net = PersonDetector()
    if any(name.startswith(DETECTOR) for name in weights):
        weights = {n[len(DETECTOR) :]: t for n, t in weights.items() if n.startswith(DETECTOR)}
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise ModelError(f"model {path}: not the weights of a person detector: {reason}") from error
    return net
