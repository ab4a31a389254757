"""The detector task: whole pictures to the boxes of people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from realtime.errors import InputError, UsageError
from realtime.records import Image
from train import finish
from train.centres import moved
from train.coco import Picture, open_set
from train.config import Config, flag
from train.detector_data import detector_sample
from train.detector_loss import detector_loss
from train.detector_net import DetectorTrainer, PersonDetector
from train.eval_detector import detector_numbers, find_people, measurable
from train.finish import Runner
from train.hints import Hints, open_hints
from train.images import ImageCache, check_there
from train.measured import Run, Running, open_frame, spread
from train.mixture import Mixture
from train.task import Batch, Sample, Validation
from train.weights import begin_from, open_start

SHOWN = 12
"""Pictures on the sheet."""
DRAWN_SCORE = 0.3


OF_POSE = (
    "depth", "scale", "rotate", "shift", "half_body", "occlude", "loss", "peak_weight", "sigma",
    "padding", "teacher_weight", "narrow",
)  # fmt: skip
"""Options that would change nothing."""


class DetectorTask:
    """See train.task.Task. Raises InputError, UsageError for data that cannot be used."""

    def __init__(self, config: Config) -> None:
        if not config.data:
            raise UsageError("--data: give at least one FILE.json[,IMAGES[,WEIGHT]] to learn from")
        if config.unlabelled:
            raise UsageError("--unlabelled: not for the detector; label boxes with train label")
        if bool(config.teacher or config.hints) != bool(config.hint_weight):
            raise UsageError("--teacher, --hint-weight: one needs the other for a detector")
        if config.freeze:
            raise UsageError("--freeze: for the backbone of a pose network")
        if config.distil:
            raise UsageError("--distil: for a pose network; a detector learns by --hint-weight")
        for name in OF_POSE:
            if getattr(config, name) != getattr(Config("detector"), name):
                raise UsageError(f"{flag(name)}: for a pose network")
        self.config = config
        sets = [open_set(text) for text in config.data]
        self._pictures = Mixture([(each.pictures, each.weight) for each in sets], config.seed)
        self._val = [picture for text in config.val for picture in open_set(text).pictures]
        if config.val:
            measurable(self._val, None, f"--val {' '.join(config.val)}")
        pictures = [picture for each in sets for picture in each.pictures]
        if not any(p.has_size and not p.crowd for picture in pictures for p in picture.people):
            given = " ".join(config.data)
            raise InputError(f"--data {given}: nobody in it has a box to learn from")
        check_there(picture.path for picture in pictures + self._val)
        self._images = ImageCache(0)
        self._hints: Hints | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For processes that make samples: without the teacher."""
        return self.__dict__ | {"_hints": None}

    def work_on(self, place: torch.device) -> None:
        """Hints come from the CPU, wherever the network is."""

    def network(self, there: Mapping[str, Tensor] | None = None) -> nn.Module:
        channels = self._hinter().channels if self.config.hint_weight else ()
        net = DetectorTrainer(channels)
        if self.config.start and not there:
            begin_from(net, open_start(self.config.start, "detector"))
        return net

    def __len__(self) -> int:
        return len(self._pictures)

    def keep_pictures(self, limit_bytes: int) -> None:
        self._images.limit_bytes = limit_bytes

    def sample(self, epoch: int, index: int) -> Sample:
        """See train.detector_data.detector_sample."""
        picture = self._pictures.item(epoch, index)
        rng = np.random.default_rng((self.config.seed, epoch, index))
        return detector_sample(picture, self.config, rng, self._images)

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        taught = self._hinter()(batch["image"]) if self.config.hint_weight else ()
        return detector_loss(net, batch, taught, self.config.hint_weight)

    def validate(self, net: nn.Module) -> Validation:
        """The numbers of train.eval_detector.detector_numbers on all validation pictures."""
        run, wh = Runner(detector_of(net)), self.config.input_wh
        numbers = detector_numbers(run, self._val, input_wh=wh)
        best_by = "AP50_large" if "AP50_large" in numbers else "f1_large"
        numbers.setdefault(best_by, 0.0)
        return Validation(numbers, best_by, _sheet(run, self._val, wh))

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        finish.write(detector_of(net), self.config, Path(path), "centers", trained)

    def _hinter(self) -> Hints:
        self._hints = self._hints or open_hints(self.config)
        return self._hints


def detector_of(net: nn.Module) -> PersonDetector:
    """What stays of a DetectorTrainer."""
    detector = net.detector
    assert isinstance(detector, PersonDetector)
    return detector


def _sheet(run: Run, pictures: list[Picture], input_wh: tuple[int, int]) -> Image:
    """Letterboxed pictures with the boxes found (score) and labelled (green), each over its map of
    centres."""
    from train import sheet

    shown = spread(pictures, SHOWN)
    if not shown:
        return np.zeros((64, 64, 3), np.uint8)
    found = find_people(Running(run, "detector", input_wh), shown)
    tiles = []
    for picture, people in zip(shown, found):
        small, affine = sheet.letterboxed(open_frame(picture).image, input_wh, 114)
        maps = run(small[None])
        truth = [p.box_xyxy for p in picture.people if not p.crowd]
        heat = sheet.glow(small, np.asarray(maps[0])[0, 0])
        sheet.boxes(small, moved(np.asarray(truth, np.float32).reshape(-1, 4), affine), None)
        sure = people.scores >= DRAWN_SCORE
        sheet.boxes(small, moved(people.boxes_xyxy[sure], affine), people.scores[sure])
        tiles.append(np.asarray(cv2.vconcat([small, heat]), np.uint8))
    return sheet.grid(tiles, 6)
