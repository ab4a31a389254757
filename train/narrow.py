"""Slim people learned from crops of two thirds of the width, in which they have all their joints.

A network that knows such crops does a third less for people who stand or walk. They are the middle
columns of ordinary crops, so that a person has the same size in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime.geometry import narrow_columns
from train.config import Config
from train.targets import STRIDE
from train.task import Batch, Sample

MARGIN = 2
"""Pixels between a joint and the sides of a narrow crop, at least."""


def chosen(sample: Sample, config: Config, epoch: int, index: int) -> NDArray[np.float32]:
    """1 where a sample (train.augment.pose_sample) is learned from in a narrow crop, else 0; ().

    That is so in a share of the steps of an epoch, the same in all processes, for people with
    labelled joints, all of which lie in the middle.
    """
    step = np.random.default_rng((config.seed, epoch, index // config.batch, 1))
    middle = narrow_columns(config.input_wh)
    x = sample["joints"][sample["visible"] > 0, 0]
    inside = (x >= middle.start + MARGIN) & (x < middle.stop - MARGIN)
    slim = len(x) > 0 and inside.all()
    return np.array(slim and step.random() < config.narrow, np.float32)


def narrowed(batch: Batch, input_wh: tuple[int, int]) -> tuple[Batch, slice]:
    """The chosen samples of a batch with the middle columns of their crops, and which columns of
    heatmaps those are. joints, and the crops that a teacher is asked about, stay as they are."""
    middle = narrow_columns(input_wh)
    kept = {name: part[batch["narrow"] > 0] for name, part in batch.items()}
    kept["crop"] = kept["crop"][:, :, middle].contiguous()
    return kept, slice(middle.start // STRIDE, middle.stop // STRIDE)
