"""From the options of a run to the task that the loop trains."""

from __future__ import annotations

from collections.abc import Callable

from train.config import Config
from train.task import Task


def _pose(config: Config) -> Task:
    from train.pose import PoseTask

    return PoseTask(config)


def _detector(config: Config) -> Task:
    from train.detector import DetectorTask

    return DetectorTask(config)


TASKS: dict[str, Callable[[Config], Task]] = {"pose": _pose, "detector": _detector}


def make(config: Config) -> Task:
    """The task of a run, its data opened. Raises InputError, UsageError, ModelError."""
    return TASKS[config.task](config)
