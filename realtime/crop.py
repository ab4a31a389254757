"""People to network inputs: every person of every frame, cut out and brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Crops, Detections, Float, Frame, Image

SLIM = 0.5
"""Width of a person box as a share of its height, up to which a narrow crop shows the person with
some room at the sides."""
ROOM = 2
"""Pixels around what a crop shows that its interpolation may look at."""
MOST = 8
"""Times the pixels of a crop: of a larger part of the picture a fourth channel is not worth it."""
LINEAR = (cv2.INTER_LINEAR, cv2.BORDER_CONSTANT, 0)


@dataclass(frozen=True, slots=True)
class Cuts:
    """What is to be cut out of some frames; see to_cut().

    pictures: (H, W, 3) uint8 BGR, of each of the M people the frame.
    crop_wh: size of the crops in pixels. to_crop: (M, 2, 3), frame to crop.
    crop_to_frame, frame_of, slim: see realtime.records.Crops.
    """

    pictures: Sequence[Image]
    crop_wh: tuple[int, int]
    to_crop: Float
    crop_to_frame: Float
    frame_of: NDArray[np.int64]
    slim: NDArray[np.bool_]

    def crops(self, which: NDArray[np.int64], narrow: bool = False) -> Image:
        """The crops (B, H, W, 3) of these people (B,), or their middle columns alone."""
        width, height = self.crop_wh
        to_crop, back = self.to_crop[which], self.crop_to_frame[which]
        if narrow:
            columns = geometry.narrow_columns(self.crop_wh)
            width = columns.stop - columns.start
            to_crop[:, 0, 2] -= columns.start
            back[:, :, 2] += columns.start * back[:, :, 0]
        pictures = [self.pictures[n] for n in which.tolist()]
        return warped(pictures, to_crop, back, (width, height))


def to_cut(
    frames: Sequence[Frame],
    detections: Sequence[Detections],
    crop_wh: tuple[int, int],
    padding: float,
) -> Cuts:
    """One crop of crop_wh pixels for each person, frame after frame, in the given order.

    The box grows to the crop's aspect ratio and by padding (engines.base.ModelSpec); what lies
    outside the frame is black. Bilinear without smoothing, as in the training of the pose networks.
    """
    to_crop, frame_of = places(detections, crop_wh, padding)
    slim = np.concatenate([np.zeros(0, bool), *(is_slim(d.search_xyxy) for d in detections)])
    pictures = [frames[n].image for n in frame_of.tolist()]
    return Cuts(pictures, crop_wh, to_crop, geometry.invert(to_crop), frame_of, slim)


def cut(
    frames: Sequence[Frame],
    detections: Sequence[Detections],
    crop_wh: tuple[int, int],
    padding: float,
) -> Crops:
    """All that to_cut() says, at once."""
    found = to_cut(frames, detections, crop_wh, padding)
    pixels = found.crops(np.arange(len(found.slim)))
    return Crops(pixels, found.crop_to_frame, found.frame_of, found.slim)


def warped(
    pictures: Sequence[Image], to_crop: Float, back: Float, crop_wh: tuple[int, int]
) -> Image:
    """What affines (M, 2, 3) make of M pictures, uint8 (M, H, W, 3), by bilinear interpolation,
    black beside the pictures. back: their inverses."""
    width, height = crop_wh
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32) - 0.5
    shown = geometry.apply(back, np.broadcast_to(corners, (len(back), 4, 2)))
    low, high = np.floor(shown.min(1)) - ROOM, np.ceil(shown.max(1)) + ROOM
    four = np.empty((height, width, 4), np.uint8)
    crops = np.empty((len(to_crop), height, width, 3), np.uint8)
    for n, picture in enumerate(pictures):
        _warp(picture, to_crop[n], (low[n], high[n]), crops[n], four)
    return crops


def _warp(
    image: Image, to_crop: Float, ends: tuple[Float, Float], crop: Image, four: Image
) -> None:
    """Fill crop from what lies between these ends (x, y) of image; four: as large, to work in.

    OpenCV warps four channels nearly three times as fast as three, with the same results, so what
    is shown is given a fourth one on the way, where that is not too much.
    """
    size, crop_wh = np.array(image.shape[1::-1]), crop.shape[1::-1]
    x0, y0 = np.clip(ends[0], 0, size).astype(int).tolist()
    x1, y1 = np.clip(ends[1], 0, size).astype(int).tolist()
    if 0 < (x1 - x0) * (y1 - y0) <= MOST * crop_wh[0] * crop_wh[1]:
        part = cv2.cvtColor(image[y0:y1, x0:x1], cv2.COLOR_BGR2BGRA)
        affine = to_crop.astype(np.float64)
        affine[:, 2] += affine[:, :2] @ (x0, y0)
        cv2.cvtColor(cv2.warpAffine(part, affine, crop_wh, four, *LINEAR), cv2.COLOR_BGRA2BGR, crop)
    else:
        cv2.warpAffine(image, to_crop, crop_wh, crop, *LINEAR)


def is_slim(boxes_xyxy: Float) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4) are of people whom narrow crops show, see SLIM."""
    width, height = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).T
    slim: NDArray[np.bool_] = width <= SLIM * height
    return slim


def places(
    detections: Sequence[Detections], crop_wh: tuple[int, int], padding: float
) -> tuple[Float, NDArray[np.int64]]:
    """The affines (M, 2, 3), frame to crop, of what to_cut() finds, and the frame (M,) of each."""
    frame_of = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(d.search_xyxy for d in detections)])
    to_crop = geometry.boxes_to_crop(geometry.crop_boxes(boxes, crop_wh, padding), crop_wh)
    return to_crop, frame_of.astype(np.int64)
