"""Which pixels of the demo scene show a head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime.records import Image
from realtime.scene import Scene
from realtime.scene.easel import Easel

Mask = NDArray[np.bool_]


def head_pixels(
    seed: int, numbers: range, size_wh: tuple[int, int], rate: float
) -> tuple[Scene, list[tuple[Image, Mask]]]:
    """The scene, and for each of these frames its picture (H, W, 3) and its head pixels (H, W):
    those that change when heads are not painted."""
    last = numbers[-1] + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Easel, "head", lambda *_: None)
        headless = Scene(seed, last, size_wh, rate)
        without = [headless.image(n).astype(int) for n in numbers]
    scene = Scene(seed, last, size_wh, rate)
    found = []
    for n, bare in zip(numbers, without, strict=True):
        image = scene.image(n)
        found.append((image, np.abs(image.astype(int) - bare).max(2) > 16))
    return scene, found


def owned(head: Mask, joints_xy: NDArray[np.float32], boxes: NDArray[np.float32]) -> list[Mask]:
    """Of the pixels of head (H, W), those of each person (N, 17, 2): nearest to their face."""
    faces, tall = joints_xy[:, :5].mean(1), boxes[:, 3] - boxes[:, 1]
    rows, columns = np.nonzero(head)
    apart = np.hypot(columns[:, None] - faces[:, 0], rows[:, None] - faces[:, 1])
    nearest = apart.argmin(1)
    near = apart[np.arange(len(rows)), nearest] < 0.15 * tall[nearest]
    masks = []
    for n in range(len(faces)):
        mask = np.zeros(head.shape, bool)
        mine = near & (nearest == n)
        mask[rows[mine], columns[mine]] = True
        masks.append(mask)
    return masks


def heads_of_frame(seed: int, number: int) -> tuple[Image, dict[int, Mask]]:
    """A frame of the demo source and the head pixels of everybody half seen or more, by id."""
    scene, (found,) = head_pixels(seed, range(number, number + 1), (1280, 720), 30.0)
    image, head = found
    truth = scene.truth(number)
    masks = owned(head, truth.joints_xy, truth.boxes_xyxy)
    people = zip(truth.ids.tolist(), masks, truth.visible_share.tolist(), strict=True)
    return image, {i: mask for i, mask, share in people if share >= 0.7 and mask.sum() > 200}
