"""The detector task: whole pictures to the boxes of people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from realtime import geometry
from realtime.errors import UsageError
from realtime.records import Image
from train.coco import Picture, open_set
from train.config import Config
from train.detector_data import boxes_of, detector_sample
from train.detector_loss import detector_loss
from train.detector_net import DetectorTrainer
from train.images import ImageCache
from train.measured import Run, Running, open_frame, spread
from train.mixture import Mixture
from train.task import Batch, Sample, Validation

CACHE_BYTES = 1 << 30
"""Of decoded pictures kept in memory by each process."""
SHOWN = 12
"""Pictures on the sheet."""
DRAWN_SCORE = 0.3


class DetectorTask:
    """See train.task.Task. Raises InputError, UsageError for data that cannot be used."""

    def __init__(self, config: Config) -> None:
        if not config.data:
            raise UsageError("--data: give at least one FILE.json[,IMAGES[,WEIGHT]] to learn from")
        if config.teacher or config.unlabelled:
            raise UsageError("--teacher, --unlabelled: not for the detector")
        self.config = config
        sets = [open_set(text) for text in config.data]
        self._pictures = Mixture([(each.pictures, each.weight) for each in sets], config.seed)
        self._val = [picture for text in config.val for picture in open_set(text).pictures]
        self._images = ImageCache(CACHE_BYTES)

    def network(self) -> nn.Module:
        net = DetectorTrainer()
        if self.config.start:
            from train.weights import start_weights

            start_weights(net, self.config.start)
        return net

    def __len__(self) -> int:
        return len(self._pictures)

    def sample(self, epoch: int, index: int) -> Sample:
        """See train.detector_data.detector_sample."""
        picture = self._pictures.item(epoch, index)
        rng = np.random.default_rng((self.config.seed, epoch, index))
        return detector_sample(picture, self.config, rng, self._images)

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return detector_loss(net, batch)

    def validate(self, net: nn.Module) -> Validation:
        """The numbers of train.eval_detector.detector_numbers on all validation pictures."""
        from train.eval_detector import detector_numbers

        run, wh = _runner(net), self.config.input_wh
        numbers = detector_numbers(run, self._val, input_wh=wh)
        best_by = "AP50_large" if "AP50_large" in numbers else "f1_large"
        numbers.setdefault(best_by, 0.0)
        return Validation(numbers, best_by, _sheet(run, self._val, wh))

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        from train.export import to_onnx

        width, height = self.config.input_wh
        spec = {
            "name": "detector",
            "task": "detector",
            "format": "centers",
            "input_wh": [width, height],
            "nhwc": True,
            "rgb": False,
            "licence": "see its model card",
            "trained": trained,
        }
        example = torch.zeros((2, height, width, 3), dtype=torch.uint8)
        detector: nn.Module = net.detector  # type: ignore[assignment]
        to_onnx(detector, spec, Path(path), example, outputs=("centers", "sizes"))


def _runner(net: nn.Module) -> Run:
    device = next(net.parameters()).device
    detector: nn.Module = net.detector  # type: ignore[assignment]

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            return [o.float().cpu().numpy() for o in detector(torch.from_numpy(images).to(device))]

    return run


def _sheet(run: Run, pictures: list[Picture], input_wh: tuple[int, int]) -> Image:
    """Letterboxed pictures with the boxes found (score) and labelled (green), each over its map of
    centres."""
    from train import sheet
    from train.eval_detector import find_people

    shown = spread(pictures, SHOWN)
    if not shown:
        return np.zeros((64, 64, 3), np.uint8)
    found = find_people(Running(run, "detector", input_wh), shown)
    tiles = []
    for picture, people in zip(shown, found):
        small, affine = sheet.letterboxed(open_frame(picture).image, input_wh, 114)
        maps = run(small[None])
        heat = sheet.glow(small, np.asarray(maps[0])[0, 0])
        sheet.boxes(small, _moved(affine, boxes_of(picture.people)), None)
        sure = people.scores >= DRAWN_SCORE
        sheet.boxes(small, _moved(affine, people.boxes_xyxy[sure]), people.scores[sure])
        tiles.append(np.asarray(cv2.vconcat([small, heat]), np.uint8))
    return sheet.grid(tiles, 6)


def _moved(affine: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return geometry.apply(affine, boxes.reshape(-1, 2)).reshape(-1, 4)
