"""What is measured: pictures of a data set, and anything that runs like a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Format, Grid, ModelSpec, Task, check_batch
from realtime.geometry import CROP_PADDING
from realtime.progress import Progress
from realtime.records import Frame, Image
from train.coco import Person, Picture
from train.degrade import Change
from train.images import check_size, read_image

Item = TypeVar("Item")
Run = Callable[[Image], "NDArray[np.float32] | Sequence[NDArray[np.float32]]"]


class Running:
    """A function on a batch as a Network (see engines.base), for networks that are in training.

    run: uint8 (B, H, W, 3) BGR to the output, or the outputs in the order of the format.
    """

    engine = "function"
    precision = "f32"
    device = ""
    why = ""

    def __init__(
        self,
        run: Run,
        task: Task,
        input_wh: tuple[int, int],
        grid: Grid = "pixel_centre",
        sigma: float = 2.0,
        padding: float = CROP_PADDING,
        narrow: bool = False,
    ) -> None:
        style: Format = "heatmaps" if task == "pose" else "centers"
        self.spec = ModelSpec(
            "in training", task, style, input_wh, Path(), "",
            grid=grid, sigma=sigma, padding=padding, narrow=narrow,
        )  # fmt: skip
        self.narrow = narrow
        self._run = run

    def __call__(self, batch: NDArray[np.uint8]) -> Arrays:
        """See engines.base.Network."""
        check_batch(self.spec, batch, narrow=self.narrow)
        outputs = self._run(batch)
        return [outputs] if isinstance(outputs, np.ndarray) else list(outputs)

    def close(self) -> None:
        """Nothing is held."""


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """At most limit items, evenly over all of them, in their order."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[n * len(items) // limit] for n in range(limit)]


def as_pictures(people: Sequence[Person]) -> list[Picture]:
    """The pictures of some people, with nobody else in them."""
    pictures: dict[Path, Picture] = {}
    for person in people:
        had = pictures.get(person.image)
        if had is None:
            had = Picture(person.image, person.image_id, person.size_wh, (), False)
        pictures[person.image] = replace(had, people=(*had.people, person))
    return list(pictures.values())


def open_frame(picture: Picture, index: int = 0, change: Change | None = None) -> Frame:
    """The picture as a frame. change: see train.degrade, seeded by the image id.

    Raises InputError where it cannot be read or has another size than its data set says.
    """
    image = read_image(picture.path)
    check_size(picture.path, image, picture.size_wh)
    if change:
        image = change(image, abs(picture.image_id))
    return Frame(index, 0.0, image, picture.path.name)


@contextmanager
def progress(pictures: int) -> Iterator[Callable[[int], None]]:
    """What is to be told how many pictures are done, and shows it on standard error."""
    bar = Progress(pictures, True)
    try:
        yield bar.update
    finally:
        bar.close()
