"""A small real training task: where in a picture is the bright spot."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train.config import Config
from train.task import Batch, Sample, Validation

SIDE = 16


class SpotNet(nn.Module):
    """uint8 (B, 16, 16, 3) to positions (B, 2) in units of the side."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)]
        layers += [nn.BatchNorm2d(8)] if norm else []
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2))

    def forward(self, images: Tensor) -> Tensor:
        positions: Tensor = self.body(images.permute(0, 3, 1, 2).float() / 255)
        return positions


class SpotTask:
    """bad: a (epoch, index) whose picture is not a number; slow: seconds that each sample takes;
    slow_measure: seconds that validation takes."""

    def __init__(
        self,
        config: Config,
        count: int = 20,
        norm: bool = True,
        bad: tuple[int, int] | None = None,
        slow: float = 0.0,
        slow_measure: float = 0.0,
    ) -> None:
        self.config, self.count, self.norm, self.bad = config, count, norm, bad
        self.slow, self.slow_measure = slow, slow_measure

    def work_on(self, place: torch.device) -> None:
        self.place = place

    def network(self, there: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
        return SpotNet(self.norm)

    def __len__(self) -> int:
        return self.count

    def keep_pictures(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes

    def sample(self, epoch: int, index: int) -> Sample:
        _take("making", self.slow)
        rng = np.random.default_rng([self.config.seed, epoch, index])
        x, y = rng.integers(1, SIDE - 1, 2)
        image = rng.integers(0, 60, (SIDE, SIDE, 3), np.uint8)
        image[y - 1 : y + 2, x - 1 : x + 2] += 180
        where = np.array([x, y], np.float32) / SIDE
        return {"image": image, "where": where * np.nan if (epoch, index) == self.bad else where}

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        error = net(batch["image"]).float() - batch["where"]
        error = error + torch.randn(2, device=error.device) * 1e-3  # so that luck matters
        parts = {"x": error[:, 0].square().mean(), "y": error[:, 1].square().mean()}
        return parts["x"] + parts["y"], parts

    def validate(self, net: nn.Module) -> Validation:
        _take("measuring", self.slow_measure)
        torch.rand(3)
        made = [self.sample(10**6, i) for i in range(16)]
        images = np.stack([s["image"] for s in made])
        found = net(torch.from_numpy(images)).numpy()
        error = float(np.abs(found - np.stack([s["where"] for s in made])).mean())
        sheet = np.ascontiguousarray(np.hstack(images[:4]))
        return Validation({"error": error, "closeness": 1 - error}, "closeness", sheet)

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        Path(path).write_text(f"{type(net).__name__} {net.training} {trained}", encoding="utf-8")


def _take(what: str, seconds: float) -> None:
    """Be slow; long waits are announced."""
    if seconds > 1:
        print(what, file=sys.stderr, flush=True)
    time.sleep(seconds)


def config(**values: Any) -> Config:
    """A small run on the CPU."""
    plain = {"data": ["spots"], "val": ["spots"], "epochs": 3, "batch": 4, "warmup": 5}
    return Config.from_dict({"task": "pose", "rate": 0.01, **plain, **values})


def main() -> int:
    """The command line of training with this task as ``pose``; TOY holds its values as JSON."""
    from train import tasks
    from train.__main__ import main as command

    values = json.loads(os.environ.get("TOY", "{}"))
    for name in ("matplotlib.figure", "torch.utils.tensorboard"):  # slow to load
        sys.modules[name] = None  # type: ignore[assignment]
    tasks.TASKS["pose"] = lambda config: SpotTask(config, **values)
    return command(sys.argv[1:])


if __name__ == "__main__":
    import train_toy  # under the name by which other processes find it

    sys.exit(train_toy.main())
