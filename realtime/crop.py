"""People to network inputs: every person of every frame cut, turned to one size, in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Crops, Detections, Float, Frame

SLIM = 0.5
"""Width of a person box as a share of its height, up to which a narrow crop shows the person with
some room at the sides."""


def cut(
    frames: Sequence[Frame],
    detections: Sequence[Detections],
    crop_wh: tuple[int, int],
    padding: float,
) -> Crops:
    """One crop of crop_wh pixels for each person, frame after frame, in the given order.

    The box grows to the crop's aspect ratio and by padding (engines.base.ModelSpec); what lies
    outside the frame is black. Bilinear without smoothing, as in the training of the pose networks.
    """
    to_crop, frame_of = places(detections, crop_wh, padding)
    slim = np.concatenate([np.zeros(0, bool), *(is_slim(d.boxes_xyxy) for d in detections)])
    pixels = np.empty((len(to_crop), crop_wh[1], crop_wh[0], 3), np.uint8)
    for picture, affine, n in zip(pixels, to_crop, frame_of.tolist()):
        cv2.warpAffine(
            frames[n].image, affine, crop_wh, picture, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, 0
        )
    return Crops(pixels, geometry.invert(to_crop), frame_of, slim)


def is_slim(boxes_xyxy: Float) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4) are of people whom narrow crops show, see SLIM."""
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    slim: NDArray[np.bool_] = width <= SLIM * height
    return slim


def places(
    detections: Sequence[Detections], crop_wh: tuple[int, int], padding: float
) -> tuple[Float, NDArray[np.int64]]:
    """The affines (M, 2, 3), frame to crop, of what cut makes, and the frame (M,) of each."""
    frame_of = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(d.boxes_xyxy for d in detections)])
    to_crop = geometry.boxes_to_crop(geometry.crop_boxes(boxes, crop_wh, padding), crop_wh)
    return to_crop, frame_of.astype(np.int64)
