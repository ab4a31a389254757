"""The pose task: crops of people to heatmaps of their 17 joints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from realtime.errors import UsageError
from train import finish
from train.augment import pose_sample
from train.coco import DataSet, Person, open_set
from train.config import Config
from train.finish import Runner, started
from train.hints import Hints, hint_loss, open_hints
from train.images import ImageCache
from train.mixture import Mixture
from train.pose_loss import LOSSES, weighted_mean
from train.pose_net import PoseNet, PoseTrainer
from train.targets import heatmaps
from train.task import Batch, Sample, Validation

LEAST_JOINTS = 3
"""Labelled joints of a person that is learned from."""
CACHE_BYTES = 1 << 30
"""Of decoded pictures kept in memory by each process."""


class PoseTask:
    """See train.task.Task. Raises InputError, UsageError for data that cannot be used."""

    def __init__(self, config: Config) -> None:
        if not config.data:
            raise UsageError("--data: give at least one FILE.json[,IMAGES[,WEIGHT]] to learn from")
        if config.unlabelled and not config.teacher:
            raise UsageError("--unlabelled: needs a --teacher to say where joints are")
        if config.hint_weight and not config.teacher:
            raise UsageError("--hint-weight: needs a --teacher that gives hints")
        self.config = config
        sets = [open_set(text).with_joints(LEAST_JOINTS) for text in config.data]
        sets += [_boxes_only(open_set(text)) for text in config.unlabelled]
        self._people = Mixture([(each.people, each.weight) for each in sets], config.seed)
        self._val = [person for text in config.val for person in open_set(text).people]
        self._images = ImageCache(CACHE_BYTES)
        self._teacher: Any = None
        self._hints: Hints | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For processes that make samples: without the teacher."""
        return self.__dict__ | {"_teacher": None, "_hints": None}

    def network(self) -> nn.Module:
        pose = PoseNet(self.config.depth)
        nn.init.normal_(pose.net.final.weight, std=0.001)
        nn.init.zeros_(pose.net.final.bias)  # type: ignore[arg-type]
        net = PoseTrainer(pose, self._hinter().channels) if self.config.hint_weight else pose
        return started(net, self.config)

    def __len__(self) -> int:
        return len(self._people)

    def sample(self, epoch: int, index: int) -> Sample:
        """crop uint8 (H, W, 3), joints float32 (17, 2) in crop pixels, visible float32 (17,)."""
        person = self._people.item(epoch, index)
        rng = np.random.default_rng((self.config.seed, epoch, index))
        sample = pose_sample(person, self.config, rng, True, self._images)
        return {name: sample[name] for name in ("crop", "joints", "visible")}

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The heatmap loss of labelled joints and, with a teacher, of the others as it sees them.

        The teacher's peaks are as high as it is sure: what it does not see becomes an empty map.
        """
        config, of = self.config, LOSSES[self.config.loss]
        out, hints = net(batch["crop"]) if config.hint_weight else (net(batch["crop"]), [])
        out = out.float()
        visible = batch["visible"]
        target = heatmaps(batch["joints"], config.input_wh, config.sigma, visible)
        labels = weighted_mean(of(out, target, config.peak_weight), visible)
        if not config.teacher:
            return labels, {"labels": labels}
        joints, scores = self._ask(batch["crop"])
        taught = heatmaps(joints, config.input_wh, config.sigma) * scores[..., None, None]
        teacher = weighted_mean(of(out, taught, config.peak_weight), 1 - visible)
        loss, parts = (
            labels + config.teacher_weight * teacher,
            {"labels": labels, "teacher": teacher},
        )
        if hints:
            parts["hints"] = hint_loss(hints, self._hinter()(batch["crop"]))
            loss = loss + config.hint_weight * parts["hints"]
        return loss, parts

    def validate(self, net: nn.Module) -> Validation:
        """The numbers of train.eval_pose.pose_numbers on all validation people."""
        from train.eval_pose import pose_numbers
        from train.sheet import pose_sheet

        def run(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            return runner(crops)[0]

        runner = Runner(pose_of(net))
        grid = {"input_wh": self.config.input_wh, "sigma": self.config.sigma}
        numbers = pose_numbers(run, self._val, **grid)  # type: ignore[arg-type]
        best_by = "AP" if "AP" in numbers else "oks"
        return Validation(numbers, best_by, pose_sheet(run, self._val, self.config))

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        finish.write(pose_of(net), self.config, Path(path), "heatmaps", trained)

    def _hinter(self) -> Hints:
        self._hints = self._hints or open_hints(self.config)
        return self._hints

    def _ask(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        if self._teacher is None:
            from train.teacher import Teacher

            self._teacher = Teacher(Path(self.config.teacher), self.config.input_wh)
        joints, scores = self._teacher(crops)
        return joints, scores


def pose_of(net: nn.Module) -> nn.Module:
    """What stays of a PoseTrainer; a PoseNet as it is."""
    return net.pose if isinstance(net, PoseTrainer) else net


def _boxes_only(data: DataSet) -> DataSet:
    """The people of a set without labelled joints, crowds and the very small left out."""
    pictures = []
    for picture in data.pictures:
        people = tuple(p for p in picture.people if _for_teacher(p))
        if people:
            pictures.append(replace(picture, people=people))
    return replace(data, pictures=tuple(pictures))


def _for_teacher(person: Person) -> bool:
    size = person.box_xyxy[2:] - person.box_xyxy[:2]
    return not person.crowd and person.labelled < LEAST_JOINTS and bool((size >= (12, 24)).all())
