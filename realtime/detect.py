"""Frames to people: letterbox, network, decoding, boxes back in frame pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Arrays, Network, size_step_of
from realtime import geometry
from realtime.defaults import DETECTOR_SCORE
from realtime.records import Detections, Float, Frame, Image

GREY = 114
"""Padding of the letterbox, the value the public detectors are trained with."""
CANDIDATES = 300
"""Boxes of one picture, best first, that go into the suppression of doubles."""
MAX_IOU = 0.65
"""Two boxes that overlap more than this are one person."""
STRIDES = (8, 16, 32)
"""Pixels of a cell in the three grids of YOLOX and NanoDet."""
NANODET_CLASSES, NANODET_BINS = 80, 8
_NEIGHBOURS = np.ones((3, 3), np.uint8)


class Detector:
    """Finds people with one network. Not thread-safe, as the network is not.

    min_score: people below it are left out. max_people: of one frame, the best first; crowded says
    whether there were more in one of the last call.
    """

    def __init__(
        self, network: Network, min_score: float = DETECTOR_SCORE, max_people: int = 100
    ) -> None:
        self.network = network
        self.min_score = min_score
        self.max_people = max_people
        self.crowded = False
        self._decode = DECODERS[network.spec.format]

    def __call__(self, frames: Sequence[Frame], share: float = 1.0) -> list[Detections]:
        """The people of each frame, boxes in its pixels, sorted by descending score; those of at
        least this share of min_score.

        All frames of one size run as one batch. Raises ModelError.
        """
        self.crowded = False
        sizes = [self._canvas_wh(frame) for frame in frames]
        found = [Detections.empty()] * len(frames)
        for canvas_wh in dict.fromkeys(sizes):
            numbers = [n for n, size in enumerate(sizes) if size == canvas_wh]
            people = self._find([frames[n] for n in numbers], canvas_wh, share * self.min_score)
            for n, one in zip(numbers, people, strict=True):
                found[n] = one
        return found

    def _canvas_wh(self, frame: Frame) -> tuple[int, int]:
        """How much of the network's input a frame needs: no more, where the network takes less,
        since it would only see grey there."""
        full_wh, step = self.network.spec.input_wh, size_step_of(self.network)
        if not step:
            return full_wh
        width, height = geometry.letterbox_wh(frame.size_wh, full_wh)
        return -(-width // step) * step, -(-height // step) * step

    def _find(
        self, frames: Sequence[Frame], canvas_wh: tuple[int, int], least: float
    ) -> list[Detections]:
        batch = letterboxed(frames, self.network.spec.input_wh, canvas_wh)
        outputs = self.network(batch)
        found = []
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped
            for n, frame in enumerate(frames):
                one = [array[n] for array in outputs]
                boxes, scores = self._decode(one, canvas_wh, least)
                found.append(self._in_frame(frame, boxes, scores, least))
        return found

    def _in_frame(self, frame: Frame, boxes_xyxy: Float, scores: Float, least: float) -> Detections:
        """Boxes (N, 4) of the network's input as people of the frame; unusable ones dropped."""
        usable = np.isfinite(boxes_xyxy).all(1) & np.isfinite(scores) & (scores >= least)
        to_frame = geometry.invert(geometry.letterbox(frame.size_wh, self.network.spec.input_wh))
        corners = geometry.apply(to_frame, boxes_xyxy[usable].reshape(-1, 2))
        boxes = geometry.clip_boxes(corners.reshape(-1, 4), frame.size_wh)
        scores = np.clip(scores[usable], 0, 1).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        order = order[(boxes[order, 2:] > boxes[order, :2]).all(1)]
        return self._best(Detections(boxes[order], scores[order]))

    def _best(self, people: Detections) -> Detections:
        """As many of the people, the best first, as one frame may have."""
        self.crowded |= len(people) > self.max_people
        return people[: self.max_people]


def letterboxed(
    frames: Sequence[Frame], input_wh: tuple[int, int], canvas_wh: tuple[int, int] | None = None
) -> Image:
    """Network input uint8 (B, H, W, 3): each frame scaled by geometry.letterbox on grey.
    canvas_wh: W and H, where less than input_wh holds all of them.

    Bilinear without smoothing, as in the training of the public detectors.
    """
    width, height = canvas_wh or input_wh
    batch = np.full((len(frames), height, width, 3), GREY, np.uint8)
    for frame, picture in zip(frames, batch):
        small_wh = geometry.letterbox_wh(frame.size_wh, input_wh)
        part = picture[: small_wh[1], : small_wh[0]]
        part[:] = cv2.resize(frame.image, small_wh, interpolation=cv2.INTER_LINEAR)
    return batch


def decode_rtmdet(
    outputs: Arrays, input_wh: tuple[int, int], min_score: float
) -> tuple[Float, Float]:
    """RTMDet with its suppression inside (Lyu et al. 2022, exported by MMDeploy).

    outputs: ``dets`` (N, 5), x0 y0 x1 y1 score, counting from the corner of the first pixel.
    Returns boxes (M, 4) in input pixels (pixel centres) and scores (M,).
    """
    dets = outputs[0]
    return dets[:, :4] - np.float32(0.5), dets[:, 4]


def decode_yolox(
    outputs: Arrays, input_wh: tuple[int, int], min_score: float
) -> tuple[Float, Float]:
    """YOLOX (Ge et al. 2021, Megvii-BaseDetection/YOLOX demo_postprocess), class person only.

    outputs: (N, 5 + classes), for each cell of the grids of strides 8, 16 and 32 the centre
    relative to the cell and the logarithm of the size, in cells, objectness, class scores.
    Returns boxes (M, 4) in input pixels (pixel centres) and scores (M,).
    """
    raw = outputs[0]
    scores = raw[:, 4] * raw[:, 5]
    cells, strides = _grid_cells(input_wh)
    keep = np.flatnonzero(scores >= min_score)
    raw, cells, strides = raw[keep], cells[keep], strides[keep]
    centre = (raw[:, :2] + cells) * strides - np.float32(0.5)
    half = np.exp(np.minimum(raw[:, 2:4], 20)) * strides / 2
    return suppressed(np.concatenate([centre - half, centre + half], 1), scores[keep])


def _grid_cells(input_wh: tuple[int, int]) -> tuple[Float, Float]:
    """Column and row (N, 2) of every cell, and its stride (N, 1)."""
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = np.meshgrid(*(np.arange(n // stride) for n in input_wh))
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full((columns.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_nanodet(
    outputs: Arrays, input_wh: tuple[int, int], min_score: float
) -> tuple[Float, Float]:
    """NanoDet (RangiLyu/nanodet, NanoDetHead as exported), class person only.

    outputs: for each grid of stride 8, 16 and 32, in any order, class scores (N, 80) in 0..1 and
    sides (N, 32): for left, top, right and bottom a distribution over 0 to 7 strides, whose mean
    is the distance from the cell's centre (j + 0.5) * stride - 0.5 (generalised focal loss, Li
    et al. 2020). Returns boxes (M, 4) in input pixels (pixel centres) and scores (M,).
    """
    scores, sides = (
        sorted((a for a in outputs if a.shape[1] == columns), key=len, reverse=True)
        for columns in (NANODET_CLASSES, 4 * NANODET_BINS)
    )
    people = np.concatenate([score[:, 0] for score in scores])
    keep = np.flatnonzero(people >= min_score)
    cells, strides = (a[keep] for a in _grid_cells(input_wh))
    logits = np.concatenate(sides)[keep].reshape(-1, 4, NANODET_BINS)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    bins = np.arange(NANODET_BINS, dtype=np.float32)
    distances = weights @ bins / weights.sum(2) * strides
    centre = (cells + np.float32(0.5)) * strides - np.float32(0.5)
    boxes = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], 1)
    return suppressed(boxes, people[keep])


def decode_centers(
    outputs: Arrays, input_wh: tuple[int, int], min_score: float
) -> tuple[Float, Float]:
    """Peaks of a centre map (Zhou et al., Objects as Points, 2019).

    outputs: ``centers`` (1, h, w) in 0..1; ``sizes`` (4, h, w), distances in input pixels from
    the cell's centre (j + 0.5) * stride - 0.5 to the left, top, right and bottom of the box.
    Returns boxes (M, 4) in input pixels (pixel centres) and scores (M,).
    """
    (centers,), sizes = outputs[0], outputs[1]
    rows, columns = np.nonzero(peaks(centers) & (centers >= min_score))
    stride = np.float32(input_wh[0] / centers.shape[1]), np.float32(input_wh[1] / centers.shape[0])
    x, y = (columns + 0.5) * stride[0] - 0.5, (rows + 0.5) * stride[1] - 0.5
    left, top, right, bottom = sizes[:, rows, columns]
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).astype(np.float32)
    return suppressed(boxes, centers[rows, columns])


def peaks(scores: Float) -> NDArray[np.bool_]:
    """The cells of (h, w) that none of their eight neighbours exceeds."""
    highest = cv2.dilate(scores, _NEIGHBOURS)  # beyond the border there is nothing
    result: NDArray[np.bool_] = scores >= np.asarray(highest)
    return result


def suppressed(boxes_xyxy: Float, scores: Float) -> tuple[Float, Float]:
    """The boxes (N, 4) that overlap no better one by more than MAX_IOU, best first."""
    order = np.argsort(-scores, kind="stable")[:CANDIDATES]
    boxes, scores = boxes_xyxy[order].astype(np.float32), scores[order].astype(np.float32)
    doubles = geometry.iou(boxes, boxes) > MAX_IOU
    keep = np.ones(len(boxes), bool)
    for n in range(len(boxes)):
        if keep[n]:
            keep[n + 1 :] &= ~doubles[n, n + 1 :]
    return boxes[keep], scores[keep]


Decoder = Callable[[Arrays, tuple[int, int], float], tuple[Float, Float]]
DECODERS: dict[str, Decoder] = {
    "rtmdet": decode_rtmdet,
    "yolox": decode_yolox,
    "nanodet": decode_nanodet,
    "centers": decode_centers,
}
"""From the outputs of one picture to boxes (N, 4) in input pixels and scores (N,)."""
