"""The pose task: crops of people to heatmaps of their 17 joints."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.torch_nets import WIDTHS, Widths, widths_of
from realtime.errors import InputError, UsageError
from realtime.geometry import may_be_narrow
from train import finish, narrow
from train.augment import pose_sample
from train.coco import DataSet, Person, open_set
from train.config import Config
from train.finish import Runner
from train.hints import Hints, hint_loss, open_hints
from train.images import ImageCache, check_there
from train.mixture import Mixture
from train.pose_loss import LOSSES, weighted_mean
from train.pose_net import PoseNet, PoseTrainer
from train.targets import heatmaps
from train.task import Batch, Sample, Validation
from train.teacher import Teacher
from train.weights import Start, bare, begin_from, open_start

log = logging.getLogger("train")

LEAST_JOINTS = 3
"""Labelled joints of a person that is learned from."""
SHARPENED = 4
"""Power of a label's Gaussian within which a teacher's peak agrees: half as wide."""


class PoseTask:
    """See train.task.Task. Raises InputError, UsageError for data that cannot be used."""

    def __init__(self, config: Config) -> None:
        if not config.data:
            raise UsageError("--data: give at least one FILE.json[,IMAGES[,WEIGHT]] to learn from")
        if config.unlabelled and not config.teacher:
            raise UsageError("--unlabelled: needs a --teacher to say where joints are")
        if config.freeze and not config.start:
            raise UsageError("--freeze: needs weights to keep; give --start")
        if config.distil and not config.teacher:
            raise UsageError("--distil: needs a --teacher whose heatmaps are learned")
        if config.hint_weight and not (config.hints or config.teacher):
            raise UsageError("--hint-weight: needs --hints or a --teacher that gives them")
        if config.hints and not config.hint_weight:
            raise UsageError("--hints: needs a --hint-weight")
        if config.narrow and config.hint_weight:
            raise UsageError("--narrow: not together with --hint-weight")
        if config.narrow and not may_be_narrow(config.input_wh):  # and sizes are multiples of 32
            raise UsageError("--narrow: needs an --input-wh whose width is a multiple of 96")
        self.config = config
        sets = [_with_joints(text) for text in config.data]
        sets += [_boxes_only(text) for text in config.unlabelled]
        self._people = Mixture([(each.people, each.weight) for each in sets], config.seed)
        self._val = [person for text in config.val for person in open_set(text).people]
        if config.val and not any(person.asked_for for person in self._val):
            given = " ".join(config.val)
            raise UsageError(f"--val {given}: nobody in it has labelled joints to measure on")
        learned = [picture.path for each in sets for picture in each.pictures]
        check_there(learned + [person.image for person in self._val if person.asked_for])
        self._images = ImageCache(0)
        self._place = torch.device("cpu")
        self._teacher: Teacher | None = None
        self._hints: Hints | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For processes that make samples: without the teacher."""
        return self.__dict__ | {"_teacher": None, "_hints": None}

    def work_on(self, place: torch.device) -> None:
        self._place = place

    def network(self, there: Mapping[str, Tensor] | None = None) -> nn.Module:
        if there:
            return self._untrained(widths_of({bare(name): there[name] for name in there}))
        if not self.config.start:
            return self._untrained(WIDTHS)
        start = open_start(self.config.start, "pose", self.config.depth)
        self._warn_of(start)
        net = self._untrained(widths_of(start.weights))
        begin_from(net, start)
        return net

    def _warn_of(self, start: Start) -> None:
        """Say what of the start these options would undo."""
        mine, theirs = self.config.padding, start.about.get("padding")
        if theirs not in (None, mine):
            told = "start %s: learned from crops of %g times the box, not %g; go on by --padding %g"
            log.warning(told, start.text, theirs, mine, theirs)
        if start.about.get("narrow") and not self.config.narrow:
            log.warning("start %s: has learned narrow crops; --narrow 0.5 keeps them", start.text)

    def _untrained(self, widths: Widths) -> nn.Module:
        pose = PoseNet(self.config.depth, widths=widths)
        nn.init.normal_(pose.net.final.weight, std=0.001)
        nn.init.zeros_(pose.net.final.bias)  # type: ignore[arg-type]
        pose.freeze(self.config.freeze)
        if self.config.teacher and (self.config.teacher_weight or self.config.distil):
            self._asked()  # one that cannot be used is told now, not at the first step
        if not self.config.hint_weight:
            return pose
        hints = self._hinter()
        return PoseTrainer(pose, hints.strides, hints.channels)

    def __len__(self) -> int:
        return len(self._people)

    def keep_pictures(self, limit_bytes: int) -> None:
        self._images.limit_bytes = limit_bytes

    def sample(self, epoch: int, index: int) -> Sample:
        """crop uint8 (H, W, 3), joints float32 (17, 2) in crop pixels, visible float32 (17,); with
        a teacher the crop it is asked about as well, see train.augment.pose_sample; with narrow
        crops whether it is learned from in one, see train.narrow."""
        person = self._people.item(epoch, index)
        rng = np.random.default_rng((self.config.seed, epoch, index))
        sample = pose_sample(person, self.config, rng, True, self._images)
        clean = ["clean"] if self.config.teacher or self.config.hints else []
        kept = {name: sample[name] for name in ("crop", "joints", "visible", *clean)}
        if self.config.narrow:
            kept["narrow"] = narrow.chosen(sample, self.config, epoch, index)
        return kept

    def loss(self, net: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The heatmap loss of labelled joints and, with a teacher, of what it sees.

        Its joints stand in for those without a label, with peaks as high as it is sure: what it
        does not see becomes an empty map. Its maps as they are (Hinton et al., Distilling the
        Knowledge in a Neural Network, 2015) count as far as no label contradicts them. It is asked
        about the crop before light, blur and covering, under which it would be worse.
        """
        config = self.config
        columns = slice(None)
        if config.narrow and batch["narrow"].any():
            batch, columns = narrow.narrowed(batch, config.input_wh)
        out, hints = net(batch["crop"]) if config.hint_weight else (net(batch["crop"]), [])
        target = self._heatmaps(batch["joints"], batch["visible"])[..., columns]
        parts = {"labels": weighted_mean(self._each(out, target), batch["visible"])}
        loss = parts["labels"]
        if config.teacher and config.teacher_weight:
            parts["teacher"] = self._unlabelled(out, batch, columns)
            loss = loss + config.teacher_weight * parts["teacher"]
        if config.distil:
            taught = self._asked().maps(batch["clean"])[..., columns]
            each = self._each(out, taught) * agreed(taught, target, batch["visible"])
            parts["distil"] = each.mean()
            loss = loss + config.distil * parts["distil"]
        if hints:
            parts["hints"] = hint_loss(hints, self._hinter()(batch["clean"]))
            loss = loss + config.hint_weight * parts["hints"]
        return loss, parts

    def _each(self, out: Tensor, target: Tensor) -> Tensor:
        """The loss (B, K) of each joint."""
        return LOSSES[self.config.loss](out.float(), target, self.config.peak_weight)

    def _heatmaps(self, joints: Tensor, visible: Tensor | None = None) -> Tensor:
        """See train.targets.heatmaps."""
        return heatmaps(joints, self.config.input_wh, self.config.sigma, visible)

    def _unlabelled(self, out: Tensor, batch: Batch, columns: slice) -> Tensor:
        """The loss of joints without a label against where the teacher sees them."""
        joints, scores = self._asked()(batch["clean"])
        taught = self._heatmaps(joints)[..., columns]
        return weighted_mean(
            self._each(out, taught * scores[..., None, None]), 1 - batch["visible"]
        )

    def validate(self, net: nn.Module) -> Validation:
        """The numbers of train.eval_pose.pose_numbers on all validation people."""
        from train.eval_pose import pose_numbers
        from train.sheet import pose_sheet

        def run(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            return runner(crops)[0]

        runner = Runner(pose_of(net))
        config = self.config
        numbers = pose_numbers(
            run, self._val,
            input_wh=config.input_wh, sigma=config.sigma, padding=config.padding,
            narrow=config.narrow > 0,
        )  # fmt: skip
        best_by = "AP" if "AP" in numbers else "oks"
        return Validation(numbers, best_by, pose_sheet(run, self._val, self.config))

    def write(self, net: nn.Module, path: str, trained: str) -> None:
        finish.write(pose_of(net), self.config, Path(path), "heatmaps", trained)

    def _hinter(self) -> Hints:
        self._hints = self._hints or open_hints(self.config)
        return self._hints

    def _asked(self) -> Teacher:
        if self._teacher is None:
            path = Path(self.config.teacher)
            self._teacher = Teacher(path, self.config.input_wh, str(self._place))
        return self._teacher


def agreed(taught: Tensor, target: Tensor, visible: Tensor) -> Tensor:
    """How far a teacher's maps (B, K, h, w) agree with labels, (B, K) in 0..1: as high as the map
    is at the label, of its peak; 1 for joints without a label."""
    at_label = (taught * target**SHARPENED).amax((2, 3))
    share = at_label / taught.amax((2, 3)).clamp(min=1e-3)
    return torch.where(visible > 0, share.clamp(0, 1), 1.0)


def pose_of(net: nn.Module) -> nn.Module:
    """What stays of a PoseTrainer; a PoseNet as it is."""
    return net.pose if isinstance(net, PoseTrainer) else net


def _with_joints(text: str) -> DataSet:
    """The people of a set who can be learned from. Raises InputError where there are none."""
    data = open_set(text).with_joints(LEAST_JOINTS)
    if not data.pictures:
        raise InputError(
            f"--data {text}: nobody in it has {LEAST_JOINTS} labelled joints to learn from; label "
            "them (train label --pose) or leave it out"
        )
    return data


def _boxes_only(text: str) -> DataSet:
    """The people of a set without labelled joints, crowds and the very small left out. Raises
    InputError where there are none."""
    data = open_set(text)
    pictures = []
    for picture in data.pictures:
        people = tuple(p for p in picture.people if _for_teacher(p))
        if people:
            pictures.append(replace(picture, people=people))
    if not pictures:
        raise InputError(
            f"--unlabelled {text}: nobody in it who is not small has a box without joints; leave "
            "it out"
        )
    return replace(data, pictures=tuple(pictures))


def _for_teacher(person: Person) -> bool:
    size = person.box_xyxy[2:] - person.box_xyxy[:2]
    return not person.crowd and person.labelled < LEAST_JOINTS and bool((size >= (12, 24)).all())
