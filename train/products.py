"""What a run leaves for use: best.safetensors and model.onnx, of the best measured epoch."""

from __future__ import annotations

import copy
import importlib.util
import logging
from pathlib import Path
from time import monotonic

import torch
from torch import nn

from realtime import atomic
from train import checkpoint
from train.config import Config
from train.task import Task

log = logging.getLogger("train")
BEST = "best.safetensors"
MODEL = "model.onnx"


class Products:
    """Writes both files into out. seconds: since the model file was written last."""

    def __init__(self, task: Task, config: Config, out: Path) -> None:
        self._task, self._config, self._out = task, config, out
        self._written = 0.0
        self._able = importlib.util.find_spec("onnx") is not None
        if not self._able:
            log.info("%s is left out: onnx is not installed", MODEL)

    @property
    def seconds(self) -> float:
        return monotonic() - self._written

    def write_best(self, net: nn.Module, epoch: int, numbers: dict[str, float]) -> None:
        """The weights of net, as float32, with what they are. Raises OutputError."""
        about = {
            "config": self._config.to_json(),
            "epoch": str(epoch),
            **{name: repr(value) for name, value in numbers.items()},
        }
        data = checkpoint.weights_bytes(net.state_dict(), about)
        atomic.replace(self._out / BEST, data)

    def write_model(self, like: nn.Module, epoch: int) -> None:
        """The network of best.safetensors, which is like another, as ONNX. Raises OutputError."""
        if not self._able:
            return
        self._written = monotonic()
        net = copy.deepcopy(like).cpu().to(memory_format=torch.contiguous_format)
        net.load_state_dict(checkpoint.read_weights(self._out / BEST))
        data = ", ".join(self._config.data) or "no named data"
        trained = f"epoch {epoch} of {self._config.epochs} on {data}"
        try:
            atomic.replace_by(self._out / MODEL, lambda to: self._task.write(net, str(to), trained))
        except ValueError as error:  # a weight too large for fp16
            log.warning("warning: %s is left out: %s", MODEL, error)
